"""What the other QEMU is given in a second, of what each effort makes.

What costs and a link promise is a bound.  Whether it is reached shows only at the far end: the
other site's processor may be the one that is short, or one processor that all share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from vpnctl.sidecar.elimination import Effort

#: A rate is that of the last so many seconds, and known after so many.
_SPAN_S = 1.0
_TELLING_S = 0.15
#: When nothing was given for so long, the link was cut.
_STALL_S = 0.25
#: The first so many seconds tell nothing: TCP finds out how fast the link is.
_BEGIN_S = 0.3
#: Nor does it tell anything when nothing was under way, and then for so long nothing was given: it
#: was QEMU that had nothing to write.
_IDLE_S = 0.02
#: What is known of an effort that is not made is forgotten after so many seconds, at which it may
#: be tried again; each time it is twice as long, up to the longest.  To try less costs octets; to
#: try everything costs little, and it may have been slow because a guest's memory began so.
_LASTS_S = {Effort.NONE: 8.0, Effort.ELIMINATE: 8.0, Effort.ALL: 1.0}
_LONGEST_S = 64.0


@dataclass(slots=True)
class _Run:
    """Octets of the stream, from ``begin`` to ``end``, that one effort made."""

    begin: int
    end: int
    effort: Effort


@dataclass(slots=True)
class _Yield:
    """Octets that were given in ``seconds``, the last ones ``at``; known for ``lasts_s`` more."""

    lasts_s: float
    octets: float = 0.0
    seconds: float = 0.0
    at: float = 0.0

    @property
    def tells(self) -> bool:
        return self.seconds >= _TELLING_S

    def add(self, octets: int, seconds: float, now: float) -> None:
        if self.is_over(now):
            if self.tells:
                self.lasts_s = min(2 * self.lasts_s, _LONGEST_S)
            self.octets = self.seconds = 0.0
        self.octets += octets
        self.seconds += seconds
        self.at = now
        if self.seconds > _SPAN_S:
            self.octets *= _SPAN_S / self.seconds
            self.seconds = _SPAN_S

    def is_over(self, now: float) -> bool:
        return now - self.at > self.lasts_s


class Yields:
    """Octets of one stream, counted from 0; time is of any clock that does not go backwards."""

    def __init__(self) -> None:
        self._made = 0
        self._given = 0
        # When what was given was told first, and last; whether that was all then.
        self._began: float | None = None
        self._at = 0.0
        self._all = True
        # What was made and not given, oldest first.
        self._runs: deque[_Run] = deque()
        self._yields = {effort: _Yield(_LASTS_S[effort]) for effort in Effort}

    def made(self, octets: int, effort: Effort) -> None:
        """The next ``octets`` of the stream are dealt with at ``effort``."""
        begin, self._made = self._made, self._made + octets
        if self._runs and self._runs[-1].effort is effort:
            self._runs[-1].end = self._made
        else:
            self._runs.append(_Run(begin, self._made, effort))

    def given(self, octets: int, now: float) -> None:
        """The other QEMU was given so many octets in all."""
        if self._began is None:
            self._began = now
        begin, since, had_all = self._given, self._at, self._all
        self._given, self._at, self._all = octets, now, octets >= self._made
        while self._runs and self._runs[0].end <= begin:
            self._runs.popleft()
        longest = _IDLE_S if had_all else _STALL_S
        if not self._runs or since < self._began + _BEGIN_S or now - since > longest:
            return
        run = self._runs[0]
        # What came together with octets of another effort tells of neither.
        if run.begin < begin and octets <= run.end:
            self._yields[run.effort].add(octets - begin, now - since, now)

    def rates(self, now: float) -> Mapping[Effort, float]:
        """Octets a second, of efforts of which that is known."""
        return {
            effort: found.octets / found.seconds
            for effort, found in self._yields.items()
            if found.tells and not found.is_over(now)
        }
