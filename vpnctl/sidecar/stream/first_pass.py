"""How far QEMU's first pass over a guest's memory is: its pause comes later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vpnctl.sidecar.stream.events import Event, Pages
from vpnctl.sidecar.stream.format import PAGE_SIZE

#: The end of the pass is far until this part of the memory has gone by,
_EARLY = 0.75
#: and while this part of the last pages had contents: filled ones take nothing to send, however
#: many are left.
_CONTENTS = 0.5
_LAST = 512


class FirstPass:
    """Counts the pages that go by.

    The first pass sends each page once, and those of a block in the order of their addresses
    (``ram_find_and_save_block`` in QEMU's ``migration/ram.c``).  Where a guest told QEMU of pages
    that it does not use, these are left out, and the pass is over earlier.
    """

    def __init__(self) -> None:
        #: Whether the end of the pass, and so the guest's pause, is still far.
        self.early = False
        self._pages = 0
        self._over = False
        self._behind: dict[bytes, int] = {}
        # Of the last pages, fading: all, and those with contents.
        self._last = self._full = 0.0

    def seen(self, events: Iterable[Event], blocks: Mapping[bytes, int]) -> None:
        """The next ``events`` of a stream whose RAM blocks are ``blocks``, octets by name."""
        if self._over:
            return
        for event in events:
            if isinstance(event, Pages):
                self._count(event)
        share = self._pages * PAGE_SIZE / (sum(blocks.values()) or 1)
        self._over = self._over or share >= _EARLY
        mostly_full = self._full >= _CONTENTS * self._last
        self.early = bool(self._pages) and not self._over and mostly_full

    def _count(self, pages: Pages) -> None:
        first, last = int(pages.addresses[0]), int(pages.addresses[-1])
        if first < self._behind.get(pages.block, 0):
            self._over = True
        self._behind[pages.block] = last + PAGE_SIZE
        count = len(pages.headers)
        self._pages += count
        kept = max(1 - count / _LAST, 0.0)
        self._last = kept * self._last + count
        self._full = kept * self._full + len(pages.contents)
