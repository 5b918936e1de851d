"""Each peer's UPDATES take a share of the controller's time, however many it sends.

A table that is said for the first time, and all that PEs say that mean well, are handed on as they
come.  A peer that has had `BURST` seconds of work done for it has to wait between its UPDATES, so
that changes of the policy, and the routes of others, come first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from vpnctl.bgp.messages import cut
from vpnctl.bgp.wire import Kind

#: Seconds of work that a peer may cause at once, and its share of the time beyond that.
BURST, SHARE = 5.0, 0.1
#: Octets of UPDATES handed on at once of a peer that has had its burst.
PIECE = 1024

#: kind, session and payload.
Frame = tuple[int, int, bytes]


class Budgets:
    """How much work was done for each peer.

    ``seconds`` of it are the processor's, ``now`` is of any clock that goes on by itself.
    """

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}

    def spend(self, peer: str, seconds: float, now: float) -> float:
        """Work was done for a peer; how long its next is to wait."""
        left, at = self._left.get(peer, (BURST, now))
        left = min(BURST, left + (now - at) * SHARE) - seconds
        self._left[peer] = left, now
        return max(0.0, -left / SHARE)


class Pacing:
    """Frames of sessions whose peers have had their share.

    ``hand_on`` takes one of them, and gives the seconds that the session's next is to wait;
    ``later(seconds, function, session)`` calls back.
    """

    def __init__(
        self,
        hand_on: Callable[[Frame], float],
        later: Callable[[float, Callable[[int], None], int], object],
    ) -> None:
        self._hand_on, self._later = hand_on, later
        self._waiting: dict[int, deque[Frame]] = {}

    def __contains__(self, session: int) -> bool:
        return session in self._waiting

    def wait(self, session: int, seconds: float) -> None:
        """Hold a session's frames back for so long."""
        self._waiting[session] = deque()
        self._later(seconds, self._go_on, session)

    def add(self, frame: Frame) -> None:
        """A frame of a session that waits."""
        kind, session, payload = frame
        pieces = cut(payload, PIECE) if kind == Kind.UPDATES else (payload,)
        self._waiting[session].extend((kind, session, piece) for piece in pieces)

    def forget(self, session: int) -> None:
        """A session has ended: what it still said means nothing any more."""
        self._waiting.pop(session, None)

    def clear(self) -> None:
        """All sessions have."""
        self._waiting.clear()

    def _go_on(self, session: int) -> None:
        frames = self._waiting.get(session)
        while frames and session in self._waiting:
            pause = self._hand_on(frames.popleft())
            if pause:
                self._later(pause, self._go_on, session)
                return
        self._waiting.pop(session, None)
