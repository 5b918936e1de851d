"""How much of a page changes between two times that it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.analysis.source import Passed, Source
from vpnctl.sidecar.elimination.kernel import delta_encode
from vpnctl.sidecar.elimination.references import BlockNumbers, References
from vpnctl.sidecar.stream.events import Pages
from vpnctl.sidecar.stream.format import PAGE_SIZE

#: Upper ends of the histogram's buckets, in octets of a delta; what is larger goes whole.
BOUNDS = (0, 64, 128, 256, 512, 1024, 2048, 3072, PAGE_SIZE)


@dataclass(frozen=True)
class Histogram:
    """Sizes of the deltas of pages that were sent before and whose last version is remembered.

    ``counts``: pages by size, for each of `BOUNDS` those up to it and above the one before, and
    last those whose delta would be larger than the page.
    """

    counts: tuple[int, ...]

    @property
    def pages(self) -> int:
        return sum(self.counts)


def histogram(source: Source, cache_size: int, passed: Passed) -> Histogram:
    """The deltas in a file; ``cache_size``: octets of pages that are remembered."""
    references, numbers = References(cache_size), BlockNumbers()
    counts = np.zeros(len(BOUNDS) + 1, np.int64)
    for event in source.events(passed):
        if not isinstance(event, Pages) or not len(event.contents):
            continue
        contents = np.ascontiguousarray(event.contents)
        keys = numbers.keys(event.block, event.full_addresses)
        for rows in _once_each(keys):
            versions = references.find(keys[rows])
            sizes = _sizes(contents[rows], references.pages, versions)
            counts += np.bincount(np.searchsorted(BOUNDS, sizes), minlength=len(counts))
            references.remember(keys[rows], versions, contents[rows])
    return Histogram(tuple(counts.tolist()))


def _once_each(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Rows of ``keys`` in groups in which none is there twice; all first ones, all second ones."""
    rows = np.arange(len(keys))
    while len(rows):
        _, first = np.unique(keys[rows], return_index=True)
        first.sort()
        yield rows[first]
        rows = np.delete(rows, first)


def _sizes(
    contents: NDArray[np.uint8], old: NDArray[np.uint8], versions: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Octets of each delta, above the page's own size where it is not worth it.

    Only of pages that have an earlier version.
    """
    runs_of, runs, _ = delta_encode(contents, old, versions, PAGE_SIZE)
    known = runs_of[versions >= 0].astype(np.int64)
    sizes = np.full(len(known), PAGE_SIZE + 1)
    small = known >= 0
    ends = np.cumsum(known[small])
    changed = np.concatenate(([0], np.cumsum(runs[:, 1], dtype=np.int64)))
    sizes[small] = 4 * known[small] + changed[ends] - changed[ends - known[small]]
    return sizes
