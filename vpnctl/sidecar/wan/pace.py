"""How large segments are, and how much may wait to be sent, at the speed the link has."""

from __future__ import annotations

import math

from vpnctl.sidecar.wan.records import HEADER, MAX_SEGMENT

#: What one TLS record carries.
_TLS_RECORD = 16 * 1024
#: A segment takes the link so long at most, unless it fits one TLS record: what is urgent waits
#: behind it.
_SEGMENT_S = 0.002
#: It is as long as any may be where that takes no longer than that: what belongs together arrives
#: together, and nobody has to put it together.
_WHOLE_S = 0.008
#: What each segment costs beside its octets: the headers of a record and of a TLS record.
_OVERHEAD = HEADER.size + 22
_SMALLEST_SEGMENT = 1024
#: What waits is sent within so many seconds: it adds to the guest's pause.
_QUEUE_S = 0.02
_SMALLEST_QUEUE = 4 * _TLS_RECORD
#: The kernel may hold octets that it has not sent for so many seconds, in whole steps, and so many
#: of them at most: on a fast link, who sends would be woken up for each segment otherwise.
_UNSENT_S = 0.004
_UNSENT_STEP, _MOST_UNSENT = 128 * 1024, 1024 * 1024
#: The rate is measured over intervals of this length.
_INTERVAL_S = 0.05
#: The first one ends when so much was sent, which is more than buffers on the way take at once: a
#: fast link is not to be fed in small segments for long.
_TELLING = 1024 * 1024
#: With nothing to send for less time than that, sending goes on: who makes what is sent takes his
#: time for each piece.
_BREATH_S = 0.002
#: What a clock can tell apart.
_CLOCK_S = 1e-6


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
        # When there was something to send last, if there is nothing now.
        self._then = 0.0
        self._pausing = False
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
        self._pausing = True

    def sending(self, now: float) -> None:
        """A segment is about to be sent."""
        if self._pausing and self._since is not None:
            breath = now - self._then
            if breath < _BREATH_S:
                self._since += breath
            else:
                self._since, self._sent = None, 0
        self._pausing = False
        if self._since is None:
            self._since = now

    def sent(self, octets: int, now: float, held_s: float = 0.0) -> None:
        """It was sent, after the link or the limit had not taken it for ``held_s``."""
        if self._since is None:
            return
        self.octets += octets
        self.held_s += held_s
        self._sent += octets
        self._then = now
        elapsed = now - self._since
        if elapsed >= (_INTERVAL_S if self.rate or self._sent < _TELLING else _CLOCK_S):
            self.rate = self._sent / elapsed
            self._since, self._sent = now, 0

    def segment(self, limit: float | None) -> int:
        """Octets of the next segment, at most; ``limit``: octets per second that may be sent.

        A limit may have become lower than what was measured: a long segment would be silence.
        """
        rate = self.rate if limit is None else min(self.rate, limit)
        if rate * _WHOLE_S >= self._most:
            return self._most
        whole = int(rate * _SEGMENT_S) // _TLS_RECORD
        return min(max(1, whole) * _TLS_RECORD - HEADER.size, self._most)

    @property
    def unsent(self) -> int:
        """Octets that the kernel may hold and not have sent."""
        steps = int(self.rate * _UNSENT_S) // _UNSENT_STEP
        return min(max(1, steps) * _UNSENT_STEP, _MOST_UNSENT)

    def queue(self, limit: int) -> int:
        """Octets that may wait; ``limit`` at most."""
        return min(limit, max(_SMALLEST_QUEUE, int(self.rate * _QUEUE_S)))
