"""Waiting for something to hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Changes:
    """Who changes anything tells it; who waits goes on once what he waits for holds.

    Nobody is woken up to look: each turn of the loop costs as much as many octets do.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return after something has changed so that ``holds``; look yourself before."""
        done = asyncio.get_running_loop().create_future()
        waiting = holds, done
        self._waiting.append(waiting)
        try:
            await done
        finally:
            self._waiting.remove(waiting)

    def tell(self) -> None:
        """Something has changed."""
        for holds, done in self._waiting:
            if not done.done() and holds():
                done.set_result(None)
