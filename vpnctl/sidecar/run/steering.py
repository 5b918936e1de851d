"""How much is done to the stream, from what that takes and from what the link carries."""

from __future__ import annotations

from typing import NamedTuple

from vpnctl.sidecar.elimination import Effort, Pace
from vpnctl.sidecar.run.encoding import Encoded
from vpnctl.sidecar.run.yields import Yields

#: Seconds between two looks at the link.
_LOOK_S = 0.25
#: Seconds that one piece takes, at the rate at which QEMU gets rid of its stream.
_PIECE_S = 0.008
SMALLEST_PIECE = 128 * 1024
LARGEST_PIECE = 1024 * 1024
#: A link that held the stream up for this part of the time is what limits it.
_HELD = 0.5
#: One that held it up for more than this part of the time is not faster than it was known to be:
#: processors that are busy hide how much of the time it was.
_FREE = 0.1
#: So many octets tell how fast a link is that held nothing up; fewer fit into its buffers.
_TELLING = 2 * 1024 * 1024
#: A link that held nothing up is believed to be so many times as fast as what it carried.
_AT_MOST = 50


class Look(NamedTuple):
    """What was seen since the look before: ``elapsed`` seconds, ``stream`` octets that QEMU wrote,
    ``carried`` octets that the link took, ``held_s`` seconds for which it held the stream up."""

    elapsed: float
    stream: int
    carried: int
    held_s: float

    @property
    def link_limits(self) -> bool:
        """Whether the link is what holds the stream up, and not a processor."""
        return self.held_s >= _HELD * self.elapsed


class Looks:
    """Counters that only rise, to a `Look` now and then; time is passed in.

    What is sent has to wait for the link, but also for a destination that does not get its work
    done.  The link was it while the destination had nothing to do.
    """

    def __init__(self, now: float) -> None:
        self._then = now
        self._before = (0, 0, 0.0, 0.0)
        self._first = True

    def look(
        self, stream: int, carried: int, held_s: float, starved_s: float, now: float
    ) -> Look | None:
        """``held_s``: seconds in which nothing more could be sent; ``starved_s``: in which the
        destination had nothing to do.  None when it is too early."""
        elapsed, before = now - self._then, self._before
        # A link that is fast tells so early, and each moment spent on making less of the stream
        # counts.
        telling = self._first and carried >= _TELLING
        if elapsed < _LOOK_S and not telling:
            return None
        self._first = self._first and not telling
        self._then, self._before = now, (stream, carried, held_s, starved_s)
        link_s = min(held_s - before[2], starved_s - before[3], elapsed)
        return Look(elapsed, stream - before[0], carried - before[1], link_s)


class Pieces:
    """How large the pieces are that a stream is worked on in.

    Several are under way at any time, and QEMU believes that all of them have arrived: what they
    take to be sent is added to the guest's pause.  Large pieces cost the processor less, so they
    are small only where the link is what holds the stream up.
    """

    def __init__(self) -> None:
        #: Octets of the next piece.
        self.size = 2 * SMALLEST_PIECE

    def seen(self, look: Look) -> None:
        """Some time has gone by."""
        if not look.link_limits:
            self.size = LARGEST_PIECE
        elif look.stream:
            fitting = int(look.stream / look.elapsed * _PIECE_S)
            self.size = min(max(fitting, SMALLEST_PIECE), LARGEST_PIECE)


class Steering:
    """Turns stages off while the processor is what holds the stream up.

    ``adaptive`` False: everything that was agreed on is always done.
    """

    def __init__(self, adaptive: bool) -> None:
        self._pace = Pace() if adaptive else None
        self._yields = Yields()

    def encoded(self, encoded: Encoded) -> None:
        """A piece of work is done."""
        if self._pace is not None and encoded.work.stream:
            work = encoded.work
            slowest = max(work.seconds, encoded.seconds)
            eliminated = sum(batch.size for batch in work.batches)
            self._pace.worked(work.effort, work.stream, eliminated, encoded.wire, slowest)

    def given(self, octets: int, now: float) -> None:
        """The other QEMU was given so many octets of the stream in all."""
        if self._pace is not None:
            self._yields.given(octets, now)

    def seen(self, look: Look, now: float) -> None:
        """Some time has gone by."""
        if self._pace is None:
            return
        # What the far end was given while the link was the limit says nothing of processors.
        self._pace.given = {} if look.link_limits else self._yields.rates(now)
        if look.link_limits:
            self._pace.carried(look.carried, look.held_s)
        elif look.carried >= _TELLING and (
            self._pace.link is None or look.held_s <= _FREE * look.elapsed
        ):
            least_s = max(look.held_s, look.elapsed / _AT_MOST)
            self._pace.unhindered(look.carried, least_s, look.elapsed)

    def effort(self, octets: int, most: Effort = Effort.ALL) -> Effort:
        """What to do with the next ``octets``; no more than ``most``."""
        if self._pace is None:
            return Effort.ALL
        # To choose takes as long as to pass octets on: not where there is no choice.
        effort = min(self._pace.next(), most) if most else Effort.NONE
        self._yields.made(octets, effort)
        return effort
