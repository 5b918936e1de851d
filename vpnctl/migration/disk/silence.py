"""Whether the other site is silent, or nobody here has listened."""

from __future__ import annotations

#: Seconds without an answer after which a guest is not made to wait for the link any longer.
STALLED_S = 3.0
#: Seconds after a first look that found no answer until a second one counts.
_AGAIN_S = 0.5


class Silence:
    """Looks at how long an answer has been owed; time is of any clock that does not go backwards.

    Who was stopped for a while, or had no processor, finds old questions and the answers unread:
    at the next look they are read.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def seen(self, owed_s: float, now: float) -> bool:
        """An answer has been owed for ``owed_s``; whether the link stalls."""
        if owed_s <= STALLED_S:
            self._since = None
        elif self._since is None:
            self._since = now
        return self._since is not None and now - self._since >= _AGAIN_S
