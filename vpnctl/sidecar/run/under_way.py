"""How much of the stream may be under way: octets that QEMU counts as arrived, and are not.

A guest that is paused waits for all of them.  Octets on the wire say little of that: where a site's
cache is warm, one of them stands for hundreds of the guest, which the other site has still to
rebuild and its QEMU to load.  So the destination tells what its QEMU was given, and what is under
way is bounded by the rate of that.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from vpnctl.errors import SidecarProtocolError

#: Seconds that octets may be under way beyond what the quickest ones were.  More would not only be
#: added to the pause: QEMU takes a burst that fits in for the link's speed, and pauses a guest of
#: which more is left.
SLACK_S = 0.03
#: The same while a bound is of no use: up to so many octets they may be under way whatever the rate
#: is, as it may be low because little may be under way.
FAR_SLACK_S, FAR_MOST = 0.5, 16 * 1024 * 1024
#: So few octets keep all steps at both ends busy.
LEAST = 2 * 1024 * 1024
#: The rate is the highest of so many spans of so many seconds in which something was under way: a
#: slow moment must not make what may be under way less, and with it the rate less again.
_SPANS = 10
_SPAN_S = 0.1


class Pause(Enum):
    """Where the guest's pause is."""

    NEAR = "near"
    #: Later than what is under way now can take.
    FAR = "far"
    #: The guest stands still: all that QEMU has left has to go, and nothing but that comes.
    BEGUN = "begun"


class UnderWay:
    """Octets of one stream, counted from 0; time is of any clock that does not go backwards."""

    def __init__(self) -> None:
        #: Octets that were taken from QEMU, and of these, those that the other QEMU was given.
        self.taken = 0
        self.given = 0
        #: Octets that may be under way.
        self.most = 4 * LEAST
        self.pause = Pause.NEAR
        # Where the stream stood, and when.
        self._marks: deque[tuple[int, float]] = deque()
        self._quickest: float | None = None
        self._rates: deque[float] = deque(maxlen=_SPANS)
        # The present span: when it began, None while nothing is under way, and where.
        self._since: float | None = None
        self._from = 0

    def has_room(self, now: float) -> bool:
        """Whether more may be taken from QEMU."""
        under_way = self.taken - self.given
        # What is costly to send may come last, behind much that is not: let it begin.  Memory is
        # bounded by what each step holds.
        if under_way < self.most or self.pause is Pause.BEGUN:
            return True
        # Before anything has arrived, nobody knows how quickly it can.
        if self.pause is Pause.NEAR or self._quickest is None or under_way >= FAR_MOST:
            return False
        return now - self._marks[0][1] < self._quickest + FAR_SLACK_S

    def age(self, now: float) -> float:
        """Seconds for which the oldest octets are under way; 0 when none are."""
        return now - self._marks[0][1] if self._marks else 0.0

    def take(self, octets: int, now: float) -> None:
        """``octets`` more were taken from QEMU."""
        if self._since is None:
            self._since, self._from = now, self.given
        self.taken += octets
        self._marks.append((self.taken, now))

    def give(self, given: int, now: float) -> None:
        """The other QEMU was given ``given`` octets in all.

        Raises `SidecarProtocolError` when that is less than before, or more than there was.
        """
        if not self.given <= given <= self.taken:
            raise SidecarProtocolError(
                f"the peer says that its QEMU was given {given} octets; {self.given} were given"
                f" before, and {self.taken} sent"
            )
        self.given = given
        while self._marks and self._marks[0][0] <= given:
            age = now - self._marks.popleft()[1]
            self._quickest = age if self._quickest is None else min(age, self._quickest)
        if self._since is None:
            return
        if now - self._since >= _SPAN_S:
            self._rates.append((given - self._from) / (now - self._since))
            self._since, self._from = now, given
            self.most = max(LEAST, int(max(self._rates) * ((self._quickest or 0.0) + SLACK_S)))
        if given == self.taken:
            # The time until there is something again tells nothing.
            self._since = None
