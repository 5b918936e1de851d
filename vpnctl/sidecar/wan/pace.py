"""How large segments are, and how much may wait to be sent, at the speed the link has."""

from __future__ import annotations

import math

from vpnctl.sidecar.wan.records import HEADER, MAX_SEGMENT

#: What one TLS record carries.
_TLS_RECORD = 16 * 1024
#: A segment takes the link so long at most, unless it fits one TLS record: what is urgent waits
#: behind it.
_SEGMENT_S = 0.002
#: What each segment costs beside its octets: the headers of a record and of a TLS record.
_OVERHEAD = HEADER.size + 22
_SMALLEST_SEGMENT = 1024
#: What waits is sent within so many seconds: it adds to the guest's pause.
_QUEUE_S = 0.02
_SMALLEST_QUEUE = 4 * _TLS_RECORD
#: The rate is measured over intervals of this length.
_INTERVAL_S = 0.05


class Pace:
    """Measures what a sender gets rid of; time is of any clock that does not go backwards."""

    def __init__(self) -> None:
        #: Octets per second over the last interval in which something was sent.
        self.rate = 0.0
        #: Octets that were sent, and seconds in which link or limit took no more of them.
        self.octets = 0
        self.held_s = 0.0
        self._since: float | None = None
        self._sent = 0
        self._most = MAX_SEGMENT

    def began(self, between_cuts: float | None) -> None:
        """A connection begins: measure anew, from small segments on.

        ``between_cuts``: octets that were sent between two cuts so far, None before the first.
        """
        self.rate, self._since, self._sent = 0.0, None, 0
        self._most = MAX_SEGMENT
        if between_cuts is not None:
            # A cut loses half a segment, small segments cost headers: here both cost the same.
            best = math.isqrt(int(2 * _OVERHEAD * between_cuts))
            self._most = min(max(best, _SMALLEST_SEGMENT), MAX_SEGMENT)

    def paused(self) -> None:
        """There is nothing to send: the time until there is tells nothing of the link."""
        self._since, self._sent = None, 0

    def sending(self, now: float) -> None:
        """A segment is about to be sent."""
        if self._since is None:
            self._since = now

    def sent(self, octets: int, now: float, held_s: float = 0.0) -> None:
        """It was sent, after the link or the limit had not taken it for ``held_s``."""
        if self._since is None:
            return
        self.octets += octets
        self.held_s += held_s
        self._sent += octets
        elapsed = now - self._since
        if elapsed >= _INTERVAL_S:
            self.rate = self._sent / elapsed
            self._since, self._sent = now, 0

    @property
    def segment(self) -> int:
        """Octets of the next segment, at most."""
        whole = int(self.rate * _SEGMENT_S) // _TLS_RECORD
        return min(max(1, whole) * _TLS_RECORD - HEADER.size, self._most)

    def queue(self, limit: int) -> int:
        """Octets that may wait; ``limit`` at most."""
        return min(limit, max(_SMALLEST_QUEUE, int(self.rate * _QUEUE_S)))
