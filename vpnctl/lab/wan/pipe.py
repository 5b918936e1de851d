"""One direction of a link: frames in, the same frames out later, or never.

Pure: the time comes in as nanoseconds of any clock that does not run back, chance as a function.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from vpnctl.lab.wan.figures import WanFigures

#: Octets under way in one direction: 1 Gb/s for half a second.
LIMIT = 64 * 1024 * 1024
#: What a waiting frame takes besides its octets.
OVERHEAD = 128


@dataclass(slots=True)
class Counters:
    """Frames (``octets``: of those forwarded) since the link was made.

    ``lost`` by chance, ``cut`` while the link was cut, ``overflowed`` for want of room under way,
    ``refused`` by the far end's interface, which was down.
    """

    forwarded: int = 0
    octets: int = 0
    lost: int = 0
    cut: int = 0
    overflowed: int = 0
    refused: int = 0


class Pipe:
    """A line of frames under way.

    ``chance``: a number evenly spread in [0, 1) each time it is called.  ``limit``: octets that
    can be under way.
    """

    def __init__(
        self, figures: WanFigures, *, chance: Callable[[], float], limit: int = LIMIT
    ) -> None:
        self.counters = Counters()
        self.is_cut = False
        self._chance = chance
        self._limit = limit
        self._under_way: deque[tuple[int, bytes]] = deque()
        self._octets = 0
        self._last_due = 0
        self.change(figures)

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def next_due(self) -> int | None:
        """When the first frame is to come out; ``None`` while nothing is under way."""
        return self._under_way[0][0] if self._under_way else None

    def change(self, figures: WanFigures) -> None:
        """From now on; frames under way keep their times, later ones stay behind them."""
        self._delay = round(figures.delay * 1e9)
        self._jitter = round(figures.jitter * 1e9)
        self._loss = figures.loss

    def cut(self) -> None:
        """Lose what is under way, and all that comes until `heal`."""
        self.is_cut = True
        self.counters.cut += len(self._under_way)
        self._under_way.clear()
        self._octets = 0
        # What comes later has nothing to stay behind.
        self._last_due = 0

    def heal(self) -> None:
        """Let frames pass again."""
        self.is_cut = False

    def put(self, frame: bytes, now: int) -> None:
        """A frame comes in at ``now``."""
        if self.is_cut:
            self.counters.cut += 1
            return
        if self._loss and self._chance() < self._loss:
            self.counters.lost += 1
            return
        size = len(frame) + OVERHEAD
        if self._octets + size > self._limit:
            self.counters.overflowed += 1
            return
        due = now + self._delay
        if self._jitter:
            due += round((2 * self._chance() - 1) * self._jitter)
        # A line does not reorder: who would overtake arrives together with the one before.
        if due < self._last_due:
            due = self._last_due
        self._last_due = due
        self._octets += size
        self._under_way.append((due, frame))

    def take(self, now: int) -> bytes | None:
        """The next frame that is due; ``None`` if there is none yet."""
        if not self._under_way or self._under_way[0][0] > now:
            return None
        frame = self._under_way.popleft()[1]
        self._octets -= len(frame) + OVERHEAD
        return frame
