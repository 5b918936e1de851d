"""Somebody who talks with a test guest over two TCP connections while it moves."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from tests.support import visitor_program
from tests.support.visitor_program import ANSWER, BEACON, HEARD, TICK

#: Seconds between two requests.
INTERVAL = 0.02
#: Seconds that a guest has to boot and to answer, on a machine that does much else.
PATIENCE = 90.0
_LOOK = 0.05


class Place(Protocol):
    """Where programs are started, for example a lab's node."""

    def popen(
        self, command: tuple[str, ...], *, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]: ...


class VisitError(Exception):
    """What the visitor did not get, or what broke."""


@dataclass(frozen=True, slots=True)
class Heard:
    """``written``: the record that the guest's disk had by then; ``behind``: the backend's, or the
    boot's nonce in a beacon; ``asked`` and ``at``: seconds since the epoch."""

    kind: int
    number: int
    written: int
    behind: int
    asked: float
    at: float


class Visitor:
    """Two connections, and the beacon; what was heard is in the log of its program."""

    def __init__(self, program: subprocess.Popen[bytes], log: Path) -> None:
        self._program = program
        self._log = log

    def alive(self) -> None:
        """Raise `VisitError` unless both connections are those of the beginning, in order."""
        if self._program.poll() is not None:
            assert self._program.stderr is not None
            said = self._program.stderr.read().decode(errors="replace").strip()
            raise VisitError(f"a connection broke: {said.splitlines()[-1] if said else 'killed'}")

    def heard(self, *kinds: int) -> list[Heard]:
        """Everything of these kinds so far, in its order; all kinds unless named."""
        octets = self._log.read_bytes()
        whole = octets[: len(octets) // HEARD.size * HEARD.size]
        return [Heard(*one) for one in HEARD.iter_unpack(whole) if not kinds or one[0] in kinds]

    def goes_on(self, after: float) -> float:
        """Wait until both connections brought something after that moment; when they had."""

        def both() -> bool:
            return all(
                any(one.at > after for one in self.heard(kind)[-200:]) for kind in (TICK, ANSWER)
            )

        self._wait(both, "the connections to go on")
        return max(
            next(one.at for one in self.heard(kind) if one.at > after) for kind in (TICK, ANSWER)
        )

    def longest_gap(self, kind: int, begin: float, end: float) -> float:
        """Seconds of the longest time in which nothing of a kind was heard."""
        inside = [one.at for one in self.heard(kind) if begin < one.at < end]
        return max(later - earlier for earlier, later in pairwise((begin, *inside, end)))

    def responses(self, begin: float, end: float) -> list[float]:
        """Seconds that each request within took to be answered."""
        return [one.at - one.asked for one in self.heard(ANSWER) if begin <= one.asked < end]

    def written(self) -> int:
        """The highest record that the guest said was on its disk."""
        return max((one.written for one in self.heard(TICK, ANSWER)), default=0)

    def wait_written(self, more: int) -> None:
        """Wait until the guest has written so many more records."""
        goal = self.written() + more
        self._wait(lambda: self.written() >= goal, f"{more} more records")

    def boot(self) -> int:
        """The nonce of the boot that the beacon tells of."""
        self._wait(lambda: bool(self.heard(BEACON)), "a beacon")
        return self.heard(BEACON)[-1].behind

    def doubles(self) -> int:
        """Beacons that were heard twice: a guest that runs once sends each number once."""
        seen = [(one.behind, one.number) for one in self.heard(BEACON)]
        return len(seen) - len(set(seen))

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.alive()
            if time.monotonic() > deadline:
                raise VisitError(f"waited for {what} in vain")
            time.sleep(_LOOK)


@contextmanager
def visiting(
    place: Place, address: str, log: Path, interval: float = INTERVAL
) -> Iterator[Visitor]:
    """Connect from a place, as soon as the guest answers there; both connections are in use.

    Raises `VisitError` when it never does.
    """
    command = (sys.executable, "-IS", visitor_program.__file__, address, str(interval))
    deadline = time.monotonic() + PATIENCE
    while True:
        with log.open("wb") as out:
            program = place.popen(command, stdout=out.fileno(), stderr=subprocess.PIPE)
        visitor = Visitor(program, log)
        try:
            visitor.goes_on(0.0)
            break
        except VisitError as error:
            program.kill()
            program.communicate()
            if time.monotonic() > deadline:
                raise VisitError(f"{address} does not answer: {error}") from None
            time.sleep(_LOOK)
    try:
        yield visitor
    finally:
        program.kill()
        program.communicate()
