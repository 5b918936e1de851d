"""How much to do for a stream: as much as the link makes worth while, and no more.

What leaves a sidecar is bounded twice: by the processor, which looks at so many octets of the
stream in a second, and by the link, which carries so many octets in a second, each of which stands
for several of the stream.  The better effort is the one whose lower bound is higher.  On a slow
link that is everything; on a link faster than the processor it is nothing at all.

Both bounds are promises.  What the far end was given in a second while an effort was made bounds it
as well: its processor may be the one that is short, or be the same one.  So an effort that keeps
fewer octets off the link has to prove that the stream moves faster for it.

Nothing here has a clock: who measures passes times in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType


class Effort(IntEnum):
    """What is done to a batch, from least to most."""

    NONE = 0  # octets pass as they are, and are not remembered
    ELIMINATE = 1  # delta, site and content, but no compression
    ALL = 2


@dataclass(frozen=True, slots=True)
class Measure:
    """What an effort costs and brings.

    ``speed``: octets of the stream that are dealt with in a second; ``ratio``: octets sent for each
    of the stream.
    """

    speed: float
    ratio: float

    def throughput(self, link: float) -> float:
        """Octets of the stream a second over a link of ``link`` octets a second."""
        return min(self.speed, link / self.ratio)


#: What is believed before it was measured; each effort is tried early, see `Pace`.
BELIEFS: Mapping[Effort, Measure] = {
    Effort.NONE: Measure(speed=1.5e9, ratio=1.0),
    Effort.ELIMINATE: Measure(speed=7e8, ratio=0.7),
    Effort.ALL: Measure(speed=2.5e8, ratio=0.3),
}
#: More effort is made where it costs at most this part of the throughput,
PREFERENCE = 0.05
#: or so much of it for each part of the octets that it keeps off the link: others use that as well,
#: and what is remembered at both sites makes a way back short.
SPARING = 0.6
#: Another effort must promise this much more than the present one.
INERTIA = 0.10
#: What is learned is a mean over the last so many octets.
_SPAN = 8 << 20
#: A belief, and what was learned long ago, weighs as much as so many octets.  The first octets of a
#: migration are few and meet caches and contexts that nobody has used yet: they tell little.
_OLD = 64 << 10
#: What an effort costs is forgotten so many times as fast while it is not made: the next trial
#: tells more of it than what held seconds ago.
_AGES = 4
#: A link that was seen to hold the stream up, and did not at so many looks since, is believed so
#: many times as fast with each look from then on.
FREE_LOOKS, FASTER = 8, 1.2
#: A share is no smaller: something is always sent.
_LEAST = 1e-6
#: Efforts not in use may cost this part of the throughput for being tried.
TRIALS = 0.01
_TRIAL = 1 << 20
#: One is tried after so many octets of the stream at the earliest, and at the latest; a greater one
#: after so many seconds, as it may only have looked expensive while the processor was busy.
TRY_EVERY = (16 << 20, 256 << 20)
TRY_EVERY_S = 4.0


def promises(
    link: float, measures: Mapping[Effort, Measure], given: Mapping[Effort, float]
) -> dict[Effort, float]:
    """Octets of the stream a second that each effort can move over ``link`` octets a second.

    ``given``: what the far end was given in a second, of efforts of which that is known.  Where a
    processor was short then, more effort does not move more; where the link was, at most by what it
    keeps off it.
    """
    moved = {}
    for effort, measure in measures.items():
        seen = [
            given[less] * max(measures[less].ratio / measure.ratio, 1.0)
            for less in given
            if less <= effort
        ]
        moved[effort] = min(measure.throughput(link), *seen, math.inf)
    return moved


def choose(
    link: float,
    measures: Mapping[Effort, Measure],
    present: Effort,
    given: Mapping[Effort, float] = MappingProxyType({}),
) -> Effort:
    """The effort that moves most of the stream, see `promises`.

    Efforts that cost no more than `PREFERENCE` or `SPARING` allow are equal to the best, and the
    greatest of them is taken; the present one stays unless the other is better by `INERTIA`.
    """
    moved = promises(link, measures, given)
    best = max(moved, key=moved.__getitem__)

    def allowed(effort: Effort) -> float:
        return max(PREFERENCE, SPARING * (1 - measures[effort].ratio / measures[best].ratio))

    wanted = max(effort for effort in moved if moved[effort] >= (1 - allowed(effort)) * moved[best])
    if wanted < present and moved[wanted] < (1 + INERTIA) * moved[present]:
        return present
    return wanted


class Pace:
    """Learns what efforts cost and what the link carries, and says what to do next.

    ``link`` is unknown, and everything is done, until `carried` was called.

    An effort that is not made is judged by what is seen of the others, because content changes all
    the time: what one effort made of a guest's text says nothing beside what another one made of
    its random numbers.  So what is learned is what elimination leaves of the stream, and what
    compression leaves of that; a greater effort never sends more.
    """

    def __init__(self, beliefs: Mapping[Effort, Measure] = BELIEFS) -> None:
        #: Seconds for each octet of the stream.
        self._costs = {effort: _Mean(1 / measure.speed) for effort, measure in beliefs.items()}
        #: Octets after elimination for each of the stream, and after compression for each of those.
        eliminated = beliefs[Effort.ELIMINATE].ratio
        self._eliminated = _Mean(eliminated)
        self._compressed = _Mean(beliefs[Effort.ALL].ratio / eliminated)
        self.link: float | None = None
        # Whether it was ever measured, or is what a link was believed to be that held nothing up.
        self._measured = False
        # Looks since then at which it held nothing up.
        self._free_looks = 0
        self.present = Effort.ALL
        #: Octets of the stream a second that the far end was given of each effort, where known.
        self.given: Mapping[Effort, float] = {}
        #: Octets of the stream since each effort was last made.
        self._idle = dict.fromkeys(Effort, 0)

    @property
    def measures(self) -> Mapping[Effort, Measure]:
        """What each effort costs and brings, as far as is known."""
        eliminated = _share(self._eliminated)
        ratios = {
            Effort.NONE: 1.0,
            Effort.ELIMINATE: eliminated,
            Effort.ALL: eliminated * _share(self._compressed),
        }
        return {effort: Measure(1 / self._costs[effort].value, ratios[effort]) for effort in Effort}

    def worked(
        self, effort: Effort, stream: int, eliminated: int, wire: int, seconds: float
    ) -> None:
        """A batch of ``stream`` octets was dealt with in ``seconds`` of the slowest stage.

        ``eliminated``: octets that elimination left of it; ``wire``: octets to send.  With stages
        in a pipeline, ``seconds`` is the time of the one that took longest.
        """
        for other in self._idle:
            self._idle[other] += stream
            self._costs[other].fade(stream if other is effort else _AGES * stream)
        self._idle[effort] = 0
        if not stream or seconds <= 0:
            return
        self._costs[effort].add(seconds, stream)
        if effort >= Effort.ELIMINATE:
            self._eliminated.fade(stream)
            self._eliminated.add(eliminated, stream)
        if effort is Effort.ALL and eliminated:
            self._compressed.fade(eliminated)
            self._compressed.add(wire, eliminated)

    def carried(self, octets: int, seconds: float) -> None:
        """The link took ``octets`` in ``seconds`` while there was always something to send."""
        if octets and seconds > 0:
            rate = octets / seconds
            if self._measured and self.link is not None:
                rate = 1 / (0.7 / self.link + 0.3 / rate)
            self.link, self._measured = rate, True
            self._free_looks = 0

    def unhindered(self, octets: int, seconds: float, elapsed: float) -> None:
        """The link took ``octets`` in ``elapsed`` seconds, perhaps in ``seconds`` of them."""
        if seconds <= 0 or elapsed <= 0:
            return
        rate = octets / seconds
        self._free_looks += 1
        if self._measured and self.link is not None:
            # It is not faster all at once: processors that are busy send less than it would take,
            # and what is on its way may be few octets for a while.
            faster = FASTER if self._free_looks > FREE_LOOKS else 1.0
            rate = min(rate, max(faster * self.link, octets / elapsed))
        if rate > (self.link or 0.0):
            self.link = rate

    def next(self) -> Effort:
        """What to do with the next batch."""
        if self.link is None:
            return self.present
        measures = self.measures
        self.present = choose(self.link, measures, self.present, self.given)
        moved = promises(self.link, measures, self.given)
        now, (earliest, latest) = moved[self.present], TRY_EVERY
        # Or by the far end.
        held_up = now < measures[self.present].speed
        for effort, idle in self._idle.items():
            if effort < self.present and held_up:
                # Less effort would send more: there is nothing to find out.
                continue
            # A trial takes as long as so many octets more take with the present effort.
            longer = max(now / moved[effort] - 1, 0.0) * _TRIAL
            worth = min(longer / TRIALS, latest)
            if effort > self.present:
                worth = min(worth, TRY_EVERY_S * now)
            if idle >= max(worth, earliest):
                return effort
        return self.present


class _Mean:
    """A quotient of two sums of which older parts fade.

    ``believed``: its value before anything was added.
    """

    def __init__(self, believed: float) -> None:
        self._above = believed * _OLD
        self._below = float(_OLD)

    @property
    def value(self) -> float:
        return self._above / self._below

    def fade(self, octets: int) -> None:
        """So many octets have gone by."""
        kept = max(_SPAN / (_SPAN + octets), _OLD / self._below)
        self._above *= min(kept, 1.0)
        self._below *= min(kept, 1.0)

    def add(self, above: float, below: int) -> None:
        self._above += above
        self._below += below


def _share(mean: _Mean) -> float:
    """A share: above 0, and 1 at most."""
    return min(max(mean.value, _LEAST), 1.0)
