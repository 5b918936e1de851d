"""What is done to a stream before anything is known of its link.

A link over a long way is slow at first, however fast it is later: TCP begins with little and sends
more after each round trip.  So octets that are few are worth all the work.  Over a short way a
link shows at once how fast it is, and to work before it has does nothing but hold the stream up,
the more so as the first octets meet caches and memory that nobody has used yet.
"""

from __future__ import annotations

from vpnctl.sidecar.elimination import Effort
from vpnctl.sidecar.run.steering import Look

#: A round trip is short up to so many seconds.
_SHORT_S = 0.004
#: A link that has held octets up for so many seconds before it was looked at is not fast.
_HELD_S = 0.02
#: Nor is one over which so many octets are under way, the oldest of them for so many seconds: what
#: buffers swallow tells nothing, what the other QEMU was given does.  Where processors are busy,
#: as many octets wait for less time.
_UNDER_WAY, _AGE_S = 2 * 1024 * 1024, 0.1
#: On a link that does not hold the stream up it lasts so many seconds: what would be found out by
#: trying more in less time is worth less than the time.
_LASTS_S = 2.0


class Beginning:
    """From ``now`` on, of any clock that does not go backwards; ``round_trip_s``: of the link."""

    def __init__(self, round_trip_s: float, now: float) -> None:
        self._until = now + _LASTS_S if round_trip_s <= _SHORT_S else now
        self._looked = False

    def seen(self, look: Look) -> None:
        """Some time has gone by."""
        self._looked = True
        if look.link_limits:
            self._until = 0.0

    def held(self, seconds: float) -> None:
        """In all, the link took no more octets for ``seconds``, or its destination did not."""
        # Which of them it was, a look tells.
        if not self._looked and seconds >= _HELD_S:
            self._until = 0.0

    def under_way(self, octets: int, age: float) -> None:
        """So many octets were taken from QEMU here, and not given to QEMU there; the oldest of
        them ``age`` seconds ago."""
        if octets > _UNDER_WAY and age > _AGE_S:
            self._until = 0.0

    def most(self, now: float) -> Effort:
        """No more than that is done to the stream now."""
        return Effort.NONE if now < self._until else Effort.ALL
