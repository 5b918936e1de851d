"""Whether a machine's pause is far, from how quickly a pass over its memory goes.

While it is far, how long octets are under way between the sites does not matter, and many of them
keep both ends busy whatever else their processors do.  In a pause the machine waits for all of
them, so there are to be few by then.
"""

from __future__ import annotations

from collections import deque

#: Seconds that a pass has to go on at least for the pause to be near, and, once it was near, to be
#: far again.
NEAR_S, FAR_S = 0.7, 1.4
#: Seconds from then until no more is under way than a pause may wait for.
DRAINED_S = 0.6
#: Looks that tell how quickly a pass goes.  Pages of zeroes go at once, and many lie together.
_LOOKS = 6


class Approach:
    """``far`` is what `seen` has made of it; time is of any clock that does not go backwards."""

    def __init__(self) -> None:
        self.far = True
        self._looks: deque[tuple[float, int]] = deque(maxlen=_LOOKS)
        self._near_since = 0.0
        # Octets per second of the pass before, None before there was one.
        self._before: float | None = None
        self._began: tuple[float, int] | None = None

    def seen(self, left: int, now: float, new_pass: bool) -> None:
        """``left``: octets to send in this pass; ``new_pass``: it begins."""
        if new_pass:
            if self._began is not None and now > self._began[0]:
                self._before = self._began[1] / (now - self._began[0])
            self._began = now, left
            self._looks.clear()
        self._looks.append((now, left))
        to_go = self._to_go(left)
        if to_go is None:
            return
        if self.far and to_go < NEAR_S:
            self.far, self._near_since = False, now
        elif not self.far and to_go > FAR_S:
            self.far = True

    def may_pause(self, now: float) -> bool:
        """Whether what was under way from afar has arrived."""
        return not self.far and now - self._near_since >= DRAINED_S

    def _to_go(self, left: int) -> float | None:
        """Seconds until the pass is over; None when nobody knows."""
        (then, more), (now, _) = self._looks[0], self._looks[-1]
        if now > then:
            return left * (now - then) / (more - left) if more > left else None
        return left / self._before if self._before else None
