"""Cuts that the content decides, against cuts at fixed places.

A rolling hash over the last 32 octets says where a chunk ends, so that content which moved by some
octets is still cut at the same places, as with Rabin fingerprints (here with the gear hash of
FastCDC, Xia et al., USENIX ATC 2016, which is computed for a whole piece at once).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xxhash
from numpy.typing import NDArray

from vpnctl.sidecar.analysis.sampling import Sampling
from vpnctl.sidecar.analysis.source import Passed, Source
from vpnctl.sidecar.elimination.kernel import fingerprints
from vpnctl.sidecar.stream.events import Pages

#: Mean octets of a chunk that are tried; powers of two.
SIZES = (1024, 4096)
#: Octets that a rolling hash looks at.
WINDOW = 32

# A random number for each value of an octet; the seed is as good as any other.
_GEAR = np.random.default_rng(2015).integers(0, 1 << 32, 256, np.uint32)


@dataclass(frozen=True)
class Chunking:
    """Shares of octets that were there before, 0 to 1: in fixed blocks, and in chunks.

    ``mean``: octets of a chunk as they came out.
    """

    size: int
    fixed: float
    chunked: float
    mean: float


def rolling_hash(octets: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The gear hash of the `WINDOW` octets up to each octet; of fewer at the beginning."""
    hashes = _GEAR[octets]
    # The hash of 2n octets is that of the last n, and that of the n before them moved n bits.
    reach = 1
    while reach < WINDOW:
        hashes[reach:] += hashes[:-reach] << np.uint32(reach)
        reach *= 2
    return hashes


def cuts(octets: NDArray[np.uint8], size: int) -> list[int]:
    """Where chunks of about ``size`` octets end; the last end is that of ``octets``.

    A chunk has a quarter of ``size`` at least and four times ``size`` at most.
    """
    least, most = size // 4, size * 4
    # The top bits have heard of all octets in the window.
    mask = np.uint32((size - 1) << (32 - size.bit_length() + 1))
    ends = []
    begin = 0
    for place in (np.flatnonzero((rolling_hash(octets) & mask) == 0) + 1).tolist():
        while place - begin > most:
            begin += most
            ends.append(begin)
        if place - begin >= least:
            begin = place
            ends.append(begin)
    while len(octets) - begin > most:
        begin += most
        ends.append(begin)
    if begin < len(octets):
        ends.append(len(octets))
    return ends


def chunkings(source: Source, sampling: Sampling, passed: Passed) -> tuple[Chunking, ...]:
    """For each of `SIZES`, what both ways of cutting find in a file.

    Neighbouring pages of a disk image are one stretch of content, and so are pages that a stream
    sent in one go.
    """
    fixed = {size: _Pieces() for size in SIZES}
    chunked = {size: _Pieces() for size in SIZES}
    for event in source.events(passed):
        if not isinstance(event, Pages) or not len(event.contents):
            continue
        contents = np.ascontiguousarray(event.contents)
        octets, view = contents.reshape(-1), contents.reshape(-1).data
        for size in SIZES:
            prints = fingerprints(contents.reshape(-1, size))
            fixed[size].add(prints, np.full(len(prints), size), sampling)
            bounds = [0, *cuts(octets, size)]
            digests = [xxhash.xxh3_64_intdigest(view[low:high]) for low, high in pairwise(bounds)]
            chunked[size].add(np.array(digests, np.uint64), np.diff(bounds), sampling)
    return tuple(
        Chunking(size, fixed[size].repeated(), chunked[size].repeated(), chunked[size].mean)
        for size in SIZES
        if chunked[size].count
    )


class _Pieces:
    """Pieces of a file, by fingerprint and length."""

    def __init__(self) -> None:
        self.count = 0
        self._octets = 0
        self._prints: list[NDArray[np.uint64]] = []
        self._lengths: list[NDArray[np.int64]] = []

    def add(
        self, prints: NDArray[np.uint64], lengths: NDArray[np.int64], sampling: Sampling
    ) -> None:
        kept = sampling.kept(prints)
        self._prints.append(prints[kept])
        self._lengths.append(lengths[kept])
        self.count += len(prints)
        self._octets += int(lengths.sum())

    @property
    def mean(self) -> float:
        """Octets of a piece."""
        return self._octets / self.count

    def repeated(self) -> float:
        """Share of octets in pieces that were there before, 0 to 1."""
        lengths = np.concatenate(self._lengths)
        _, first = np.unique(np.concatenate(self._prints), return_index=True)
        total = int(lengths.sum())
        return 1 - int(lengths[first].sum()) / total if total else 0.0
