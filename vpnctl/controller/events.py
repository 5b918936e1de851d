"""What happens, told to whoever watches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime

from vpnctl.controller.views import Event
from vpnctl.routing.macs import macs_in

#: Events kept for a watcher that reads slowly; older ones are dropped and the gap is told.
_MOST_KEPT = 1000


def utc_text(at: datetime) -> str:
    """UTC ISO 8601 with milliseconds and ``Z``."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class EventHub:
    """Hands every event to every watcher and never waits for any of them.

    ``macs``: the MAC addresses, 6 octets each, whose EVPN routes somebody watches.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.macs: Counter[bytes] = Counter()
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

    def routes(self, peer: str, messages: bytes, *, sent: bool) -> None:
        """A PE's UPDATEs, or ours to it: tell of the MAC addresses that are watched."""
        if not any(mac in messages for mac in self.macs):
            return
        for announced, mac in macs_in(messages, self.macs):
            what = "announced" if announced else "withdrawn"
            self.tell("route", peer, f"{mac.hex(':')} {what} {'to' if sent else 'by'} {peer}")

    async def watch(self, macs: Iterable[bytes] = ()) -> AsyncIterator[Event]:
        """Every event from now on, routes of these MAC addresses among them."""
        queue: asyncio.Queue[Event] = asyncio.Queue(_MOST_KEPT)
        wanted = Counter(macs)
        self._watchers.add(queue)
        self.macs.update(wanted)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)
            self.macs -= wanted
