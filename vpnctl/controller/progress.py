"""How far a change has come: its timeline, and which peers have not taken their UPDATEs yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from vpnctl.controller.views import Step
from vpnctl.errors import UnverifiedError
from vpnctl.provisioning.participants import Witness
from vpnctl.routing.engine import Engine
from vpnctl.routing.session import Session


class Timeline:
    """Steps of one change, measured by ``clock`` (CLOCK_MONOTONIC in nanoseconds)."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._begin = clock()
        self._steps: list[Step] = []

    def ms(self, at_ns: int) -> float:
        """Milliseconds from the beginning of the change to ``at_ns``."""
        return round((at_ns - self._begin) / 1e6, 3)

    @contextmanager
    def step(self, name: str, detail: str = "") -> Iterator[None]:
        """Measure what happens in the block, if it succeeds."""
        begun = self._clock()
        yield
        self.add(name, begun, self._clock(), detail)

    def add(
        self, name: str, begin_ns: int, end_ns: int, detail: str = "", router: str = ""
    ) -> None:
        """Record a step that was measured elsewhere."""
        self._steps.append(Step(name, self.ms(begin_ns), self.ms(end_ns), detail, router))

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, by when they began."""
        return tuple(sorted(self._steps, key=lambda step: step.start_ms))


class Delivery:
    """Waits until every peer concerned has taken what a change told it.

    A peer is done when its socket took all octets that were meant for it; one whose routes wait
    in the backlog is done when the backlog is empty and that was taken, too.
    """

    def __init__(self, sessions: Iterable[Session], begun_ns: int) -> None:
        self._begun = begun_ns
        self._names: dict[int, str] = {}
        self._before: dict[int, int] = {}
        self._marks: dict[int, int | None] = {}
        for session in sessions:
            number = session.opened.number
            self._names[number] = session.opened.peer
            self._before[number] = session.written_octets
            mark = None if session.waiting else session.sent_octets
            if mark is None or mark > session.written_octets:
                self._marks[number] = mark
        self._done = asyncio.Event()
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        if not self._marks:
            self._done.set()

    @property
    def waiting(self) -> tuple[str, ...]:
        """Names of the peers that are not done."""
        return tuple(sorted(self._names[number] for number in self._marks))

    def written(self, session: Session, total: int, at_ns: int) -> None:
        """A peer's socket took ``total`` octets so far."""
        number = session.opened.number
        if number not in self._marks:
            return
        if total > self._before[number] and self.first_ns is None:
            self.first_ns = at_ns
        mark = self._marks[number]
        if mark is None and not session.waiting:
            mark = self._marks[number] = session.sent_octets
        if mark is not None and total >= mark:
            self.last_ns = at_ns
            self._finish(number)

    def lost(self, number: int) -> None:
        """A session ended; its peer gets the full table when it comes back."""
        if number in self._marks:
            self._finish(number)

    def _finish(self, number: int) -> None:
        del self._marks[number]
        if not self._marks:
            self._done.set()

    async def wait(self, seconds: float) -> bool:
        """Whether all peers were done within ``seconds``."""
        if self._done.is_set():
            return True  # which wait_for does not look at when there is no time
        try:
            await asyncio.wait_for(self._done.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def record(self, timeline: Timeline) -> None:
        """Add what was measured to a timeline."""
        if self.first_ns is not None:
            timeline.add("first UPDATE out", self._begun, self.first_ns)
        if self.last_ns is not None:
            timeline.add("last peer's last UPDATE out", self._begun, self.last_ns)


#: The step of a timeline at which a PE's new endpoints are heard.
ROUTE_RECEIVED = "route received"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a PE announces of a new endpoint: a route with one of these targets (8 octets each).

    ``endpoint``: in words, ``E1 at cloud2``.
    """

    endpoint: str
    targets: tuple[bytes, ...]


class Heard:
    """Waits until PEs announce the routes of their new endpoints; ``announcements``: by PE."""

    def __init__(
        self, announcements: Mapping[str, Iterable[Announcement]], clock: Callable[[], int]
    ) -> None:
        self._waiting = {peer: list(those) for peer, those in announcements.items()}
        self._clock = clock
        self._arrived = {peer: asyncio.Event() for peer in self._waiting}
        self._done = asyncio.Event()
        self._begun = clock()
        #: When the last route of each PE that is done came.
        self._at_ns: dict[str, int] = {}
        #: The PEs without which nothing is kept; who waits for them tells how long it took.
        self._deciding: set[str] = set()

    @property
    def waiting(self) -> tuple[str, ...]:
        """Names of the PEs that are not done."""
        return tuple(sorted(self._waiting))

    def look(self, engine: Engine) -> None:
        """See what is there by now."""
        for peer, endpoints in list(self._waiting.items()):
            missing = [
                one
                for one in endpoints
                if not any(engine.hears(peer, target) for target in one.targets)
            ]
            if missing:
                self._waiting[peer] = missing
            else:
                del self._waiting[peer]
                self._at_ns[peer] = self._clock()
                self._arrived[peer].set()
        if not self._waiting:
            self._done.set()

    def committed(self) -> None:
        """The routers have their endpoints: from now on routes may come."""
        self._begun = self._clock()

    def witness(self, peer: str, seconds: float) -> Witness:
        """Lets a change be kept only if all of a PE is heard within ``seconds`` of being asked."""
        self._deciding.add(peer)

        async def see() -> None:
            try:
                await asyncio.wait_for(self._arrived[peer].wait(), seconds)
            except TimeoutError:
                raise self._silence(peer, seconds) from None

        return Witness(ROUTE_RECEIVED, see)

    def _silence(self, peer: str, seconds: float) -> UnverifiedError:
        missing = self._waiting[peer]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return UnverifiedError(
            f"{peer} has its configuration, and in {seconds:g} s no route of {missing[0].endpoint}"
            f"{more} has come from it",
            router=peer,
            hint=f"'vpnctl show peers' tells of its session; a router that announces only later is "
            f"not waited for with `timeouts: {{route: 0}}` at {peer} in network.yaml",
        )

    async def wait(self, seconds: float, up: Iterable[str]) -> None:
        """Wait for those PEs whose session is ``up``, at most ``seconds``."""
        if self._waiting.keys() & set(up):
            try:
                await asyncio.wait_for(self._done.wait(), seconds)
            except TimeoutError:
                return

    def record(self, timeline: Timeline) -> None:
        """Add what came to a timeline, without the PEs for which a `witness` has waited."""
        for peer, at in self._at_ns.items():
            if peer not in self._deciding:
                timeline.add(ROUTE_RECEIVED, min(self._begun, at), at, router=peer)
