"""The site's cache of blocks, as the way of one disk uses it: the one that memory has, too.

What both ends have is referred to by number; what is sent is kept by both, in the same order.
"""

from __future__ import annotations

import numpy as np

from vpnctl.errors import MigrationError, SidecarError
from vpnctl.migration.disk.blocks import BLOCK
from vpnctl.sidecar.elimination import Options, SiteCache, kernel
from vpnctl.sidecar.elimination.site import Offer, SiteView
from vpnctl.sidecar.elimination.site.view import SiteIndex

#: Segments that are looked at; an index of them takes some 100 MB.
_MOST_SEGMENTS = 128


def offer_of(cache: SiteCache | None) -> Offer | None:
    """What a site has; None where it keeps nothing."""
    return cache.offer(Options().block_size) if cache is not None else None


def agreed(ours: Offer | None, theirs: object, *, finds: bool) -> DiskCache | None:
    """The cache of both ends, ``theirs`` being the other's names; None unless both have one.

    Raises `SidecarError` when they are no names.
    """
    if ours is None or not isinstance(theirs, list):
        return None
    common = sorted(set(ours.names).intersection(map(str, theirs)))
    return DiskCache(ours.agree(common[:_MOST_SEGMENTS]), finds=finds)


def whole_blocks(offset: int, octets: memoryview) -> memoryview:
    """The part of a write at ``offset`` that consists of whole blocks of the disk."""
    begin = -offset % BLOCK
    return octets[begin : begin + max(len(octets) - begin, 0) // BLOCK * BLOCK]


class DiskCache:
    """``view``: what both sites have; ``finds``: this end asks for it, and needs an index."""

    def __init__(self, view: SiteView, *, finds: bool) -> None:
        self._view = view
        self._index = SiteIndex(view) if finds and view.count else None
        self._lost = ""

    def find(self, block: memoryview) -> bytes | None:
        """Where all of a whole block is, as `fetch` takes it; None if it is not."""
        index = self._index
        if index is None or len(block) != BLOCK:
            return None
        rows = np.frombuffer(block, np.uint8).reshape(-1, self._view.block_size)
        wanted = np.ones(len(rows), np.bool_)
        try:
            numbers = index.find(rows, kernel.fingerprints(rows), wanted)
        except SidecarError:
            # The segment is damaged, and is gone.
            self.lose()
            return None
        return None if (numbers < 0).any() else numbers.astype(">u4").tobytes()

    def lose(self) -> None:
        """Find nothing any more: what is there is not what was agreed on."""
        self._index = None

    def fetch(self, places: bytes) -> bytes:
        """The block that was found there; raises `MigrationError` when there is none."""
        if self._lost:
            raise MigrationError(self._lost)
        numbers = np.frombuffer(places, ">u4").astype(np.int64)
        if len(numbers) != BLOCK // self._view.block_size or numbers.max() >= self._view.count:
            raise MigrationError("the other site names blocks that there are not")
        try:
            return self._view.fetch(numbers).tobytes()
        except SidecarError as error:
            self._lost = error.message
            raise MigrationError(error.message, hint=error.hint) from error

    def store(self, offset: int, octets: memoryview) -> None:
        """Keep what was written at ``offset`` for later, as far as it is whole blocks."""
        blocks = whole_blocks(offset, octets)
        if blocks:
            rows = np.frombuffer(blocks, np.uint8).reshape(-1, self._view.block_size)
            self._view.store(rows)

    def finish(self) -> None:
        """It ended well: what was kept last counts, too."""
        self._view.finish()
        self._view.close()
