"""Blocks that are there more than once, within a file and across files.

What could be saved at most, by a cache that forgets nothing and costs nothing: the share of
octets in blocks whose content was there before.  Pages that QEMU itself sends as a mark are not
counted, neither as found nor as looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.analysis.sampling import Sampling
from vpnctl.sidecar.analysis.source import Passed, Source
from vpnctl.sidecar.elimination.kernel import fingerprints
from vpnctl.sidecar.stream.events import Pages
from vpnctl.sidecar.stream.format import PAGE_SIZE

#: Blocks per page that are tried.
PER_PAGE = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Prints:
    """Fingerprints of one file's blocks of one size.

    ``blocks``: how many blocks were kept by the `Sampling`; ``distinct``: sorted fingerprints of
    different ones.
    """

    per_page: int
    blocks: int
    distinct: NDArray[np.uint64]

    @property
    def repeated(self) -> float:
        """Share of blocks that were there before in this file, 0 to 1."""
        return 1 - len(self.distinct) / self.blocks if self.blocks else 0.0


def prints_of(
    source: Source, per_page: Sequence[int], sampling: Sampling, passed: Passed
) -> tuple[Prints, ...]:
    """A file's fingerprints for each number of blocks per page."""
    found: dict[int, list[NDArray[np.uint64]]] = {count: [] for count in per_page}
    for event in source.events(passed):
        if isinstance(event, Pages) and len(event.contents):
            contents = np.ascontiguousarray(event.contents)
            for count, kept in found.items():
                prints = fingerprints(contents.reshape(-1, PAGE_SIZE // count))
                kept.append(prints[sampling.kept(prints)])
    return tuple(
        Prints(count, sum(map(len, kept)), _distinct(kept)) for count, kept in found.items()
    )


def _distinct(prints: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.unique(np.concatenate(prints)) if prints else np.empty(0, np.uint64)


@dataclass(frozen=True)
class Across:
    """What a cache that files share finds, against one cache for each.

    ``apart`` and ``together``: shares of all files' octets, 0 to 1.
    """

    per_page: int
    apart: float
    together: float


def across(files: Sequence[Sequence[Prints]]) -> tuple[Across, ...]:
    """For each number of blocks per page; ``files``: what `prints_of` found in each."""
    rows = []
    for same in zip(*files, strict=True):
        blocks = sum(prints.blocks for prints in same)
        alone = sum(len(prints.distinct) for prints in same)
        union = len(_distinct([prints.distinct for prints in same]))
        if blocks:
            rows.append(Across(same[0].per_page, 1 - alone / blocks, 1 - union / blocks))
    return tuple(rows)
