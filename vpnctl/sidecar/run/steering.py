"""How much is done to the stream, from what that takes and from what the link carries."""

from __future__ import annotations

from vpnctl.sidecar.elimination import Effort, Pace
from vpnctl.sidecar.run.encoding import Encoded

#: Seconds between two looks at the link.
_LOOK_S = 0.25
#: Seconds that one piece takes, at the rate at which QEMU gets rid of its stream.
_PIECE_S = 0.008
SMALLEST_PIECE = 128 * 1024
LARGEST_PIECE = 1024 * 1024
#: A link that was busy for this part of the time is what holds the stream up.
_BUSY = 0.9
#: So many octets tell how fast a link is that was not always busy; fewer fit into its buffers.
_TELLING = 4 * 1024 * 1024


class Pieces:
    """How large the pieces are that a stream is worked on in; time is passed in.

    Several are under way at any time, and QEMU believes that all of them have arrived: what they
    take to be sent is added to the guest's pause.  Large pieces cost the processor less, so they
    are small only where the link is what holds the stream up.
    """

    def __init__(self, now: float) -> None:
        #: Octets of the next piece.
        self.size = 2 * SMALLEST_PIECE
        self._then = now
        self._octets = 0
        self._busy_s = 0.0

    def taken(self, octets: int, busy_s: float, now: float) -> None:
        """QEMU's stream stands at ``octets``; the link had something to carry for ``busy_s``."""
        elapsed = now - self._then
        if elapsed < _LOOK_S:
            return
        rate, busy = (octets - self._octets) / elapsed, (busy_s - self._busy_s) / elapsed
        if busy < _BUSY:
            self.size = LARGEST_PIECE
        elif rate:
            self.size = min(max(int(rate * _PIECE_S), SMALLEST_PIECE), LARGEST_PIECE)
        self._then, self._octets, self._busy_s = now, octets, busy_s


class Steering:
    """Turns stages off while the processor is what holds the stream up; time is passed in.

    ``adaptive`` False: everything that was agreed on is always done.
    """

    def __init__(self, adaptive: bool, now: float) -> None:
        self._pace = Pace() if adaptive else None
        self._then = now
        self._octets = 0
        self._busy_s = 0.0

    def encoded(self, encoded: Encoded) -> None:
        """A piece of work is done."""
        if self._pace is not None and encoded.work.stream:
            work = encoded.work
            slowest = max(work.seconds, encoded.seconds)
            eliminated = sum(batch.size for batch in work.batches)
            self._pace.worked(work.effort, work.stream, eliminated, encoded.wire, slowest)

    def link(self, octets: int, busy_s: float, now: float) -> None:
        """The link has carried ``octets`` so far, and had something to carry for ``busy_s``."""
        if self._pace is None:
            return
        elapsed = now - self._then
        carried, busy = octets - self._octets, busy_s - self._busy_s
        # A link that is fast tells so early, and each moment spent on making less of the stream
        # counts.
        telling = self._pace.link is None and carried >= _TELLING
        if elapsed < _LOOK_S and not telling:
            return
        if busy >= _BUSY * elapsed:
            self._pace.carried(carried, busy)
        elif carried >= _TELLING:
            self._pace.unhindered(carried, busy)
        self._then, self._octets, self._busy_s = now, octets, busy_s

    def effort(self) -> Effort:
        """What to do with the next octets."""
        return Effort.ALL if self._pace is None else self._pace.next()
