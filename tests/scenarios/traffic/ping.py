"""A ping that runs during a story, and what can be said of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.scenarios.traffic import ping_program
from tests.scenarios.traffic.gaps import longest_gap
from tests.scenarios.traffic.ping_program import RECEIVED, RECORD, SENT
from tests.support.daemons import wait_until
from vpnctl.lab.enter import Shell

#: Seconds between requests, unless a story wants others.
INTERVAL = 0.002
#: Seconds without a reply that count as silence.
SILENCE = 0.5


@dataclass(frozen=True)
class Record:
    """What has happened so far: when each request left, when each was answered, by its number."""

    sent: dict[int, float]
    received: dict[int, float]

    @property
    def replies(self) -> list[float]:
        """When replies came, in order."""
        return sorted(self.received.values())


class Ping:
    """Requests from a host at a steady pace; times are seconds since the epoch."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, name: str) -> None:
        self._process = process
        self._log = log
        self._name = name

    def record(self) -> Record:
        """Everything so far."""
        assert self._process.poll() is None, f"{self._name} ended"
        octets = self._log.read_bytes()
        whole = octets[: len(octets) // RECORD.size * RECORD.size]
        sent, received = {}, {}
        for kind, number, at in RECORD.iter_unpack(whole):
            if kind == SENT:
                sent[number] = at
            elif kind == RECEIVED:
                received.setdefault(number, at)
        return Record(sent, received)

    def first(self) -> float:
        """When the first reply came; waits for it."""
        return self.first_after(0.0)

    def first_after(self, moment: float) -> float:
        """When the first reply after ``moment`` came, of those to requests sent after it, too.

        Waits for it.
        """
        found: list[float] = []

        def answered() -> bool:
            record = self.record()
            found[:] = [at for n, at in record.received.items() if record.sent[n] >= moment]
            return bool(found)

        wait_until(answered, f"a reply to {self._name}")
        return min(found)

    def unanswered(self, moment: float = 0.0) -> None:
        """Wait until `SILENCE` worth of requests are sent after ``moment``; none was answered."""

        def asked() -> bool:
            sent = [at for at in self.record().sent.values() if at > moment]
            return bool(sent) and max(sent) - min(sent) > SILENCE

        wait_until(asked, f"{self._name} to ask")
        answered = [at for at in self.record().replies if at > moment]
        assert not answered, f"{len(answered)} replies to {self._name}"

    def last(self) -> float:
        """When the last reply came; waits for `SILENCE`."""
        found: list[float] = []

        def silent() -> bool:
            record = self.record()
            found[:] = record.replies[-1:]
            return bool(found) and max(record.sent.values()) > found[0] + SILENCE

        wait_until(silent, f"{self._name} to get no more replies")
        return found[0]

    def longest_gap(self, begin: float, end: float) -> float:
        """Seconds of the longest time without a reply between two moments."""
        return longest_gap(self.record().replies, begin, end)


@contextmanager
def pinging(
    shell: Shell, address: str, log: Path, *, interval: float = INTERVAL, word: str = "story"
) -> Iterator[Ping]:
    """Ping ``address`` from a node; ``word``: what the requests carry, to know them by."""
    # ARP asks again as often as it may, or it would decide what is measured.
    quick = "net.ipv4.neigh.eth1.retrans_time_ms=10"
    done = shell.run(("sysctl", "-qw", quick))
    assert done.returncode == 0, done.stderr
    with log.open("wb") as file:
        process = shell.popen(
            (sys.executable, "-IS", ping_program.__file__, address, str(interval), word),
            stdout=file,
        )
    try:
        yield Ping(process, log, f"the ping of {address} in {shell.namespace}")
    finally:
        process.kill()
        process.wait()
