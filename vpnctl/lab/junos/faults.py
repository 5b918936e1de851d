"""Faults on demand: what a router shall do wrong, and when."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """What a client asks for.

    ``CONFIRM`` is the commit that confirms one, ``VERIFY`` reads while one waits for that.
    """

    CONNECT = "connect"
    LOCK = "lock"
    LOAD = "load"
    DIFF = "diff"
    CHECK = "check"
    COMMIT = "commit"
    VERIFY = "verify"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    DISCARD = "discard"
    UNLOCK = "unlock"
    ASK = "ask"
    READ = "read"
    CLOSE = "close"


class Wrong(Enum):
    """What goes wrong."""

    SLOW = "slow"  # it is done after a while, whether the client still waits or not
    HANG = "hang"  # no answer, ever
    DROP = "drop"  # the connection is cut
    REFUSE = "refuse"  # an error is answered
    PRETEND = "pretend"  # it answers that a commit is done, which changed nothing


#: What a router with a full disk says.
FULL_DISK = "could not open configuration database: No space left on device"


@dataclass(frozen=True, slots=True)
class Fault:
    """``seconds``: of ``SLOW``; ``message``: of ``REFUSE``; ``done``: the router does, for ``HANG``
    and ``DROP``, what was asked before it falls silent; ``times``: how often, 0 for always.
    """

    wrong: Wrong
    seconds: float = 0.0
    message: str = "the router refuses"
    done: bool = False
    times: int = 1


def slow(seconds: float) -> Fault:
    """Done after ``seconds``: to a client that waits less, a late success."""
    return Fault(Wrong.SLOW, seconds=seconds)


def hang(*, done: bool = False) -> Fault:
    """No answer."""
    return Fault(Wrong.HANG, done=done)


def drop(*, done: bool = False) -> Fault:
    """The connection is cut."""
    return Fault(Wrong.DROP, done=done)


def pretend() -> Fault:
    """A commit is answered as if it were done, and what is in force stays as it is."""
    return Fault(Wrong.PRETEND)


def refuse(message: str, *, times: int = 1) -> Fault:
    """An error is answered, and nothing done."""
    return Fault(Wrong.REFUSE, message=message, times=times)


class Faults:
    """Those of one router, by phase; each is used up by as many requests as it says."""

    def __init__(self) -> None:
        self._waiting: dict[Phase, deque[Fault]] = defaultdict(deque)
        self._used = 0

    def set(self, phase: Phase | str, *faults: Fault) -> None:
        """The next requests of that phase meet these, one each."""
        self._waiting[Phase(phase)].extend(faults)

    def clear(self) -> None:
        """From now on all is well."""
        self._waiting.clear()

    @property
    def met(self) -> int:
        """How many requests have met a fault: 0 tells a test that its fault was never there."""
        return self._used

    def take(self, phase: Phase) -> Fault | None:
        """The fault that this request meets."""
        waiting = self._waiting[phase]
        if not waiting:
            return None
        fault = waiting[0]
        if fault.times == 1:
            waiting.popleft()
        elif fault.times:
            waiting[0] = Fault(
                fault.wrong, fault.seconds, fault.message, fault.done, fault.times - 1
            )
        self._used += 1
        return fault
