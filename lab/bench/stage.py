"""One daemon with its sender and sinks: load, change, new peer, memory."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from lab.bench.actors import Arrival, Expect, Place, Sender, Sink
from lab.bench.subjects import Setup, Subject
from lab.bench.subjects.base import LISTEN, SENDER
from lab.bench.workload import Workload

#: Silence (s) after which a table, or the effect of a rule change, counts as final.
LOAD_SETTLE, CHANGE_SETTLE, JOIN_SETTLE = 0.3, 0.2, 0.03


@dataclass(frozen=True)
class Outcome:
    """``seconds`` from the start to the last sink; ``None``: not within the bound.

    ``resent``: NLRI sent to each sink meanwhile (most to least); ``fault``: what a sink held
    that it should not have, or what was withdrawn; empty when the content was exactly right.
    """

    seconds: float | None
    resent: tuple[int, ...]
    fault: str


@dataclass(frozen=True)
class Memory:
    """Sums over a daemon's processes in megabytes (10^6); ``peak`` is that of the RSS."""

    rss: float
    pss: float
    uss: float
    peak: float
    processes: int


class Stage:
    """Context manager; everything started inside ends with it.

    ``spare``: sinks that the daemon is configured for but that connect later (`join`).
    Raises `UnsupportedError` or `SessionLostError` on entering.
    """

    def __init__(
        self,
        subject: Subject,
        workload: Workload,
        sinks: int,
        *,
        spare: int = 0,
        hold_time: int = 90,
    ) -> None:
        self.subject = subject
        self.workload = replace(workload, companions=subject.keeps_companions)
        self._count, self._spare, self._hold_time = sinks, spare, hold_time
        self._closing = contextlib.ExitStack()
        self._versions: dict[int, int] = {}
        self.sinks: list[Sink] = []

    def __enter__(self) -> Stage:
        with contextlib.ExitStack() as stack:
            where = stack.enter_context(tempfile.TemporaryDirectory(prefix="vpnctl-bench-"))
            self.setup = Setup(
                self.workload,
                self._count + self._spare,
                free_port(),
                Path(where),
                self._hold_time,
            )
            self.sender = Sender(self._place(SENDER), self.workload)
            stack.callback(self.sender.stop)
            self.daemon = self.subject.start(self.setup)
            stack.callback(self.daemon.stop)
            for number in range(self._count):
                sink = Sink(self._place(self.setup.sink(number)), self.workload)
                stack.callback(sink.stop)
                self.sinks.append(sink)
            for sink in self.sinks:
                sink.wait_up(70)
            self.sender.wait_up(120)
            self.sender.connect(70)
            time.sleep(self.daemon.settle)
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def _place(self, source: str) -> Place:
        return Place(source, (LISTEN, self.setup.port), self._hold_time)

    def load(self, bound: float) -> Outcome:
        """First byte of the table sent -> last sink has all of it, rewritten."""
        for sink in self.sinks:
            sink.expect(Expect({}, bound, LOAD_SETTLE, whole=True))
        self.sender.start()
        arrivals = [sink.arrival(bound + 60) for sink in self.sinks]
        if any(arrival.complete_at is None for arrival in arrivals):
            return _outcome(0, arrivals)
        return _outcome(self.sender.sent(5).first_byte, arrivals)

    def change(self, customer: int, bound: float, settle: float = CHANGE_SETTLE) -> Outcome:
        """One customer's rule changed -> last sink has the customer's routes."""
        self._versions[customer] = self._versions.get(customer, 0) + 1
        version = self._versions[customer]
        self.daemon.prepare(customer, version)
        for sink in self.sinks:
            sink.expect(Expect({customer: version}, bound, settle))
        started = time.monotonic_ns()
        self.daemon.change()
        return _outcome(started, [sink.arrival(bound + 60) for sink in self.sinks])

    def join(self, bound: float) -> Sink:
        """Connect the first spare sink, armed for the whole table; the caller stops it."""
        address = self.setup.sink(self._count)
        expect = Expect(dict(self._versions), bound, JOIN_SETTLE, whole=True)
        return Sink(self._place(address), self.workload, expect)

    def verify(self, sink: Sink, bound: float) -> str:
        """What a sink holds that it should not, or lacks, after ``bound`` seconds at most; empty
        when it is exactly right."""
        sink.expect(Expect(dict(self._versions), bound, 0.1, whole=True))
        return _fault(sink.arrival(bound + 60))

    def memory(self) -> Memory:
        """Of all the daemon's processes, now."""
        return memory_of(self.daemon.pids())


def memory_of(pids: Sequence[int]) -> Memory:
    """Of some processes, now."""
    sums = {"Rss": 0, "Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    peak = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        peak += int(status.partition("VmHWM:")[2].split()[0]) * 1024
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            key, value = line.split(":")
            if key in sums:
                sums[key] += int(value.split()[0]) * 1024
    private = sums["Private_Clean"] + sums["Private_Dirty"]
    return Memory(sums["Rss"] / 1e6, sums["Pss"] / 1e6, private / 1e6, peak / 1e6, len(pids))


def _outcome(started: int, arrivals: Sequence[Arrival]) -> Outcome:
    faults = [fault for fault in map(_fault, arrivals) if fault]
    ends = [arrival.complete_at for arrival in arrivals]
    seconds = None
    if all(end is not None for end in ends):
        seconds = (max(end for end in ends if end is not None) - started) / 1e9
    resent = tuple(sorted((arrival.announced for arrival in arrivals), reverse=True))
    return Outcome(seconds, resent, faults[0] if faults else "")


def _fault(arrival: Arrival) -> str:
    faults = []
    if arrival.wrong:
        faults.append(f"{arrival.wrong} routes missing or wrong")
    if arrival.withdrawn:
        faults.append(f"{arrival.withdrawn} withdrawn")
    if arrival.difference:
        faults.append(arrival.difference)
    return ", ".join(faults)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LISTEN, 0))
        port: int = probe.getsockname()[1]
        return port
