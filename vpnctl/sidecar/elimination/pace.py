"""How much to do for a stream: as much as the link makes worth while, and no more.

What leaves a sidecar is bounded twice: by the processor, which looks at so many octets of the
stream in a second, and by the link, which carries so many octets in a second, each of which stands
for several of the stream.  The better effort is the one whose lower bound is higher.  On a slow
link that is everything; on a link faster than the processor it is nothing at all.

Nothing here has a clock: who measures passes times in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


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
#: More effort is made where it costs at most this part of the throughput: it spares the link.
PREFERENCE = 0.05
#: Another effort must promise this much more than the present one.
INERTIA = 0.10
#: Weight of the newest observation of an effort.
_NEWEST = 0.1
#: A share is no smaller: something is always sent.
_LEAST = 1e-6
#: A batch of each effort not in use is tried once in so many octets of the stream.
PROBE_EVERY = 256 << 20


def choose(link: float, measures: Mapping[Effort, Measure], present: Effort) -> Effort:
    """The effort that moves most of the stream over ``link`` octets a second.

    Efforts within `PREFERENCE` of the best are equal, and the greatest of them is taken; the
    present one stays unless the other is better by `INERTIA`.
    """
    moved = {effort: measure.throughput(link) for effort, measure in measures.items()}
    best = max(moved.values())
    wanted = max(effort for effort, rate in moved.items() if rate >= (1 - PREFERENCE) * best)
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
        self._speeds = {effort: measure.speed for effort, measure in beliefs.items()}
        #: Octets after elimination for each of the stream, and after compression for each of those.
        self._eliminated = beliefs[Effort.ELIMINATE].ratio
        self._compressed = beliefs[Effort.ALL].ratio / self._eliminated
        self.link: float | None = None
        self.present = Effort.ALL
        self._measured: set[Effort] = set()
        #: Octets of the stream since each effort was last made.
        self._idle = dict.fromkeys(Effort, 0)

    @property
    def measures(self) -> Mapping[Effort, Measure]:
        """What each effort costs and brings, as far as is known."""
        ratios = {
            Effort.NONE: 1.0,
            Effort.ELIMINATE: self._eliminated,
            Effort.ALL: self._eliminated * self._compressed,
        }
        return {effort: Measure(self._speeds[effort], ratios[effort]) for effort in Effort}

    def worked(
        self, effort: Effort, stream: int, eliminated: int, wire: int, seconds: float
    ) -> None:
        """A batch of ``stream`` octets was dealt with in ``seconds`` of the slowest stage.

        ``eliminated``: octets that elimination left of it; ``wire``: octets to send.  With stages
        in a pipeline, ``seconds`` is the time of the one that took longest.
        """
        for other in self._idle:
            self._idle[other] += stream
        self._idle[effort] = 0
        if not stream or seconds <= 0:
            return
        weight = _NEWEST if effort in self._measured else 1.0
        self._measured.add(effort)
        # Times add up, rates do not: means are of seconds per octet.
        took = weight * seconds / stream + (1 - weight) / self._speeds[effort]
        self._speeds[effort] = 1 / took
        if effort >= Effort.ELIMINATE:
            self._eliminated = _mean(self._eliminated, eliminated / stream, weight)
        if effort is Effort.ALL and eliminated:
            self._compressed = _mean(self._compressed, wire / eliminated, weight)

    def carried(self, octets: int, seconds: float) -> None:
        """The link took ``octets`` in ``seconds`` while there was always something to send."""
        if octets and seconds > 0:
            rate = octets / seconds
            self.link = rate if self.link is None else 1 / (0.7 / self.link + 0.3 / rate)

    def unhindered(self, octets: int, seconds: float) -> None:
        """The link took ``octets`` in ``seconds`` and could have taken more."""
        if seconds > 0:
            self.link = max(self.link or 0.0, octets / seconds)

    def next(self) -> Effort:
        """What to do with the next batch."""
        if self.link is None:
            return self.present
        self.present = choose(self.link, self.measures, self.present)
        longest = max(self._idle, key=self._idle.__getitem__)
        return longest if self._idle[longest] >= PROBE_EVERY else self.present


def _mean(old: float, new: float, weight: float) -> float:
    """A share, updated; above 0, and 1 at most."""
    return min(max((1 - weight) * old + weight * new, _LEAST), 1.0)
