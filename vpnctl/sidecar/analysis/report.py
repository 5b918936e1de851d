"""Everything that is to be known of some files, as frozen values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from vpnctl.sidecar.analysis.chunks import Chunking, chunkings
from vpnctl.sidecar.analysis.deltas import Histogram, histogram
from vpnctl.sidecar.analysis.parts import Part
from vpnctl.sidecar.analysis.redundancy import PER_PAGE, Across, Prints, across, prints_of
from vpnctl.sidecar.analysis.sampling import Sampling
from vpnctl.sidecar.analysis.schemes import schemes
from vpnctl.sidecar.analysis.source import Kind, Passed, Source


@dataclass(frozen=True)
class SchemeSize:
    """Octets under one of `schemes.schemes`; ``share``: of the default's, 0 to about 1."""

    name: str
    what: str
    octets: int
    share: float


@dataclass(frozen=True)
class Repeated:
    """Share of octets in blocks that were there before, 0 to 1."""

    per_page: int
    share: float


@dataclass(frozen=True)
class FileReport:
    """One file; what was not asked for is empty, and ``deltas`` is None for a disk as well."""

    name: str
    kind: Kind
    octets: int
    schemes: tuple[SchemeSize, ...] = ()
    blocks: tuple[Repeated, ...] = ()
    deltas: Histogram | None = None
    chunks: tuple[Chunking, ...] = ()


@dataclass(frozen=True)
class Report:
    """``across`` is empty for a single file.

    ``one_in``: of the contents of blocks and chunks, one in so many was looked at, see `Sampling`.
    """

    files: tuple[FileReport, ...]
    across: tuple[Across, ...]
    one_in: int


#: Told what is being done to which file; says whom to tell of the octets passed.
Begun = Callable[[Source, str], Passed]


def analyze(
    sources: Sequence[Source], parts: Collection[Part], cache_size: int, begun: Begun
) -> Report:
    """Ask ``parts`` of every file.

    ``cache_size``: octets that caches of pages and of blocks each hold.
    Raises `UsageError` and `StreamRefusedError` as `Source` does.
    """
    sampling = Sampling.for_octets(sum(source.size for source in sources))
    files: list[FileReport] = []
    prints: list[tuple[Prints, ...]] = []
    for source in sources:
        if Part.BLOCKS in parts:
            prints.append(prints_of(source, PER_PAGE, sampling, begun(source, "blocks")))
        files.append(
            FileReport(
                name=str(source.path),
                kind=source.kind,
                octets=source.size,
                schemes=_schemes(source, cache_size, begun) if Part.SCHEMES in parts else (),
                blocks=tuple(Repeated(each.per_page, each.repeated) for each in prints[-1])
                if Part.BLOCKS in parts
                else (),
                deltas=histogram(source, cache_size, begun(source, "deltas"))
                if Part.DELTAS in parts and source.kind is Kind.STREAM
                else None,
                chunks=chunkings(source, sampling, begun(source, "chunks"))
                if Part.CHUNKS in parts
                else (),
            )
        )
    return Report(tuple(files), across(prints) if len(prints) > 1 else (), sampling.one_in)


def octets_to_read(sources: Sequence[Source], parts: Collection[Part], cache_size: int) -> int:
    """What `analyze` will tell to have passed, all readings together."""
    readings = dict.fromkeys(Part, 1) | {Part.SCHEMES: len(schemes(cache_size))}
    return sum(
        source.size * readings[part]
        for source in sources
        for part in parts
        if part is not Part.DELTAS or source.kind is Kind.STREAM
    )


def _schemes(source: Source, cache_size: int, begun: Begun) -> tuple[SchemeSize, ...]:
    found: list[SchemeSize] = []
    for scheme in schemes(cache_size):
        octets = scheme.measure(source, begun(source, scheme.name))
        default = found[0].octets if found else octets
        found.append(SchemeSize(scheme.name, scheme.what, octets, octets / default))
    return tuple(found)
