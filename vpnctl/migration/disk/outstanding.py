"""What was promised to QEMU before the other site had it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from vpnctl.errors import MigrationError

#: Octets that may be promised: what a stopped guest may have to wait for.
MOST = 1 << 20


class Outstanding:
    """Pieces of work that are under way; `lost` is set when one of them failed."""

    def __init__(self) -> None:
        self.lost = False
        self._octets = 0
        self._open: set[asyncio.Task[None]] = set()
        self._copies: dict[int, asyncio.Task[None]] = {}

    def add(
        self, work: Coroutine[Any, Any, bool], octets: int, copied: int | None = None
    ) -> asyncio.Task[None]:
        """Do ``work``, which says whether it is well; ``copied``: the block that it copies."""

        async def done() -> None:
            try:
                if not await work:
                    self.lost = True
            except MigrationError:
                self.lost = True
            finally:
                self._octets -= octets
                if copied is not None:
                    del self._copies[copied]

        self._octets += octets
        task = asyncio.create_task(done())
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        if copied is not None:
            self._copies[copied] = task
        return task

    @property
    def too_much(self) -> bool:
        """Whether no more may be promised."""
        return self._octets > MOST

    async def copied(self, first: int, last: int) -> None:
        """Return when no block from ``first`` to ``last`` is being copied.

        A copy that fails is written instead, and that must not come after what is written next.
        """
        while waiting := [task for block, task in self._copies.items() if first <= block <= last]:
            await asyncio.wait(waiting)

    async def settled(self) -> None:
        """Return when everything that is under way now has ended."""
        if self._open:
            await asyncio.wait(set(self._open))
