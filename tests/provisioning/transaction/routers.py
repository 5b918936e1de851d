"""Routers in memory, which do what a script of faults says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from vpnctl.errors import (
    ConnectError,
    DirtyCandidateError,
    LockedError,
    OutcomeUnknownError,
    RejectedError,
    UnverifiedError,
)
from vpnctl.provisioning.driver import CommitState, Probe
from vpnctl.provisioning.journal import Note, Phase, RouterChange
from vpnctl.provisioning.rendered import Rendered

BEFORE, AFTER = "before", "after"


def rendered(router: str, content: str) -> Rendered:
    return Rendered(router, "memory", "text", content, ("/ours",), ())


def change(router: str) -> RouterChange:
    return RouterChange(router, rendered(router, AFTER), rendered(router, BEFORE))


@dataclass
class Router:
    """What is in force at a router, and who holds its candidate.

    ``faults``: what happens at the next call of a method, one after the other:

    - ``refuse``: the router says no;
    - ``lost``: the session ends before the router did it;
    - ``late``: the router does it, but the session ends before it says so;
    - ``slow``: as late, and the router is at it until two others have asked for the lock;
    - ``gone``: the router cannot be reached any more, until `come_back`;
    - ``lie``: the router says that it has committed, and has not;
    - ``bug``: the driver raises what no driver should.
    """

    name: str
    running: str = BEFORE
    candidate: str | None = None
    foreign: bool = False
    holder: object | None = None
    pending: tuple[str, str] | None = None
    reachable: bool = True
    busy: int = 0
    tells: bool = True
    faults: dict[str, list[str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    sessions: int = 0

    def timer(self) -> None:
        """The time to confirm has run out."""
        if self.pending is not None:
            self.running, self.pending = self.pending[1], None

    def come_back(self) -> None:
        self.reachable, self.busy = True, 0
        self.faults.clear()

    @property
    def clean(self) -> bool:
        """Whether nothing of ours is left but the configuration."""
        return self.holder is None and self.candidate is None and self.sessions == 0


class MemoryDriver:
    """One session with a `Router`."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.connected = False
        self.committed: str | None = None

    def _meet(self, call: str) -> str:
        """The fault of a call; those that come before anything is done are raised here."""
        router = self.router
        router.calls.append(call)
        faults = router.faults.get(call)
        fault = faults.pop(0) if faults else ""
        if fault == "gone":
            router.reachable = False
        if not router.reachable or fault == "lost":
            self._end()
            kind = OutcomeUnknownError if call in ("commit", "confirm", "cancel") else ConnectError
            raise kind(f"{router.name}: lost at {call}", router=router.name)
        if call != "connect":
            assert self.connected, f"{call} without a session"
        if fault == "refuse":
            kind = {"lock": LockedError, "connect": ConnectError}.get(call, RejectedError)
            raise kind(f"{router.name}: refused {call}", router=router.name)
        if fault == "bug":
            raise ZeroDivisionError("a mistake")
        return fault

    def _answer(self, call: str, fault: str) -> None:
        if fault in ("late", "slow"):
            self._end(busy=2 if fault == "slow" else 0)
            raise OutcomeUnknownError(
                f"{self.router.name}: no answer to {call}", router=self.router.name
            )

    def _end(self, busy: int = 0) -> None:
        if self.connected:
            self.connected = False
            self.router.sessions -= 1
            self.router.busy = busy
            if self.router.holder is self:
                self.router.holder = None
                if not self.router.foreign:
                    self.router.candidate = None

    async def connect(self) -> None:
        fault = self._meet("connect")
        self.connected = True
        self.router.sessions += 1
        self._answer("connect", fault)

    async def lock(self) -> None:
        fault = self._meet("lock")
        if self.router.busy:
            self.router.busy -= 1
            raise LockedError(f"{self.router.name}: still committing", router=self.router.name)
        if self.router.holder not in (None, self):
            raise LockedError(f"{self.router.name}: locked by ada", router=self.router.name)
        self.router.holder = self
        self._answer("lock", fault)

    async def load(self, shall: Rendered) -> None:
        fault = self._meet("load")
        assert self.router.holder is self
        if self.router.foreign:
            raise DirtyCandidateError(f"{self.router.name}: dirty", router=self.router.name)
        self.router.candidate = shall.content
        self._answer("load", fault)

    async def diff(self) -> str:
        fault = self._meet("diff")
        router = self.router
        self._answer("diff", fault)
        if router.candidate in (None, router.running):
            return ""
        return f"- {router.running}\n+ {router.candidate}"

    async def check(self) -> None:
        self._answer("check", self._meet("check"))

    async def commit_confirmed(self, persist: str, timeout_s: int) -> None:
        assert timeout_s > 0
        fault = self._meet("commit")
        router = self.router
        assert router.holder is self
        assert router.candidate is not None
        router.pending = (persist, router.running)
        self.committed = router.candidate
        if fault != "lie":
            router.running = router.candidate
        router.candidate = None
        self._answer("commit", fault)

    async def verify(self) -> None:
        fault = self._meet("verify")
        if self.router.running != self.committed:
            raise UnverifiedError(f"{self.router.name}: not in force", router=self.router.name)
        self._answer("verify", fault)

    async def confirm(self, persist: str) -> None:
        fault = self._meet("confirm")
        if self.router.pending is None or self.router.pending[0] != persist:
            raise RejectedError(f"{self.router.name}: nothing waits", router=self.router.name)
        self.router.pending = None
        self._answer("confirm", fault)

    async def cancel(self, persist: str) -> None:
        fault = self._meet("cancel")
        if self.router.pending is not None and self.router.pending[0] == persist:
            self.router.timer()
        self._answer("cancel", fault)

    async def discard(self) -> None:
        self._meet("discard")
        if self.router.holder is self and not self.router.foreign:
            self.router.candidate = None

    async def unlock(self) -> None:
        self._meet("unlock")
        if self.router.holder is self:
            self.router.holder = None

    async def pending(self, persist: str) -> CommitState:
        self._meet("pending")
        if not self.router.tells:
            return CommitState.UNKNOWN
        waits = self.router.pending is not None and self.router.pending[0] == persist
        return CommitState.PENDING if waits else CommitState.NONE

    async def running(self, owned: tuple[str, ...]) -> str:
        return self.router.running if owned else ""

    async def configuration(self) -> str:
        return self.router.running

    async def probe(self) -> Probe:
        return Probe("", "memory", (), rights=True)

    async def close(self) -> None:
        self._end()


class MemoryJournal:
    """The phases and notes that were written."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self.notes: list[Note] = []
        self.fails: set[Phase] = set()

    async def enter(self, phase: Phase, notes: Iterable[Note]) -> None:
        from vpnctl.errors import StoreError

        if phase in self.fails:
            raise StoreError("the disk is full")
        self.phases.append(phase)
        self.notes += notes
