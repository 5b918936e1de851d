"""What happens, told to whoever watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime

from vpnctl.controller.views import Event

#: Events kept for a watcher that reads slowly; older ones are dropped and the gap is told.
_MOST_KEPT = 1000


def utc_text(at: datetime) -> str:
    """UTC ISO 8601 with milliseconds and ``Z``."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class EventHub:
    """Hands every event to every watcher and never waits for any of them."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._watchers: set[asyncio.Queue[Event]] = set()

    def tell(self, kind: str, subject: str, message: str) -> None:
        """Something happened just now."""
        event = Event(utc_text(self._clock()), kind, subject, message)
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
                queue.get_nowait()
                gap = "events were dropped because this watcher reads too slowly"
                queue.put_nowait(Event(event.at, "error", "watch", gap))
            queue.put_nowait(event)

    async def watch(self) -> AsyncIterator[Event]:
        """Every event from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue(_MOST_KEPT)
        self._watchers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)
