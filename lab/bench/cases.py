"""What is measured: loading, rule changes, attributes of their own, memory, a new peer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lab.bench.rawbgp import SessionLostError
from lab.bench.rows import Row
from lab.bench.stage import Outcome, Stage
from lab.bench.subjects import Subject, UnsupportedError
from lab.bench.subjects.vpnctl import Vpnctl
from lab.bench.workload import Workload

OURS = Vpnctl.name
#: Seconds after which a daemon that is not done is reported as "> bound".
BOUND = 60
#: Rule changes measured per case, and the seconds after which no further one is begun.
CHANGES, CHANGE_BUDGET = 31, 12
#: A daemon whose 100k routes take longer (s) is loaded once, and not asked for a new peer.
PATIENCE = 10
HOLD_TIME = 3
#: Seconds for the last changes to come to a newcomer.
VERIFY_BOUND = 1

Say = Callable[[str], None]


@dataclass
class Bench:
    """What to measure, and what was measured so far.

    ``variants``: further configurations of a rival, measured in the largest case only;
    ``quick``: small tables that only show that everything works, without marks.
    """

    subjects: list[Subject]
    variants: list[Subject]
    runs: int
    quick: bool
    say: Say
    rows: list[Row] = field(default_factory=list)
    #: Subjects whose 100k took longer than `PATIENCE`.
    slow: set[str] = field(default_factory=set)

    # -- the cases -----------------------------------------------------------------------------

    def load(self) -> None:
        """Convergence of VPNv4 tables; at 4 sinks also rule changes, and memory at the end."""
        sizes = (1_000,) if self.quick else (1_000, 10_000, 20_000, 100_000)
        for routes in sizes:
            for sinks in (2,) if self.quick else (2, 4):
                full = routes == sizes[-1] and sinks == (2 if self.quick else 4)
                for subject in (*self.subjects, *(self.variants if full else ())):
                    self._load(subject, routes, sinks, full=full)
        self._compare_rates()
        self._compare_changes()

    def services(self) -> None:
        """Convergence of VPLS and EVPN tables at 4 sinks."""
        for family in ("vpls", "evpn"):
            for subject in self.subjects:
                workload = Workload(family, 1_000 if self.quick else 100_000)
                case = f"load/{family}/{_size(workload.routes)}/{self._sinks} sinks"
                self._load_once(subject, workload, self._sinks, case)
        self._compare_rates()

    def own(self) -> None:
        """Every route with a MED of its own."""
        workload = Workload("vpnv4", 1_000 if self.quick else 100_000, own_attributes=True)
        for subject in self.subjects:
            case = f"own attributes/vpnv4/{_size(workload.routes)}/{self._sinks} sinks"
            self._load_once(subject, workload, self._sinks, case)
        for row in self.rows:
            if row.case.startswith("own") and row.subject == OURS:
                self._mark(row, ">= 40000", (row.figure or 0) >= 40_000)

    def join(self) -> None:
        """A full table to a new peer while rules change and the others' hold time is 3 s."""
        workload = Workload("vpnv4", 1_000 if self.quick else 100_000)
        for subject in self.subjects:
            if subject.name in self.slow:
                reason = f"not run: loading 100k routes took longer than {PATIENCE} s"
                self.rows.append(Row("new peer/silence", subject.name, None, "s", note=reason))
                continue
            self._guard(
                Row("new peer/silence", subject.name, None, "s"),
                lambda subject=subject: self._join(subject, workload),
            )

    def million(self) -> None:
        """1,000,000 routes of 1,000 customers, 2 sinks; ours alone."""
        workload = Workload("vpnv4", 2_000 if self.quick else 1_000_000, per_customer=1_000)
        for subject in self.subjects:
            if subject.name == OURS:
                row = Row("million/load", OURS, None, "s")
                self._guard(row, lambda subject=subject: self._million(subject, workload))

    # -- how -----------------------------------------------------------------------------------

    @property
    def _sinks(self) -> int:
        return 2 if self.quick else 4

    def _mark(self, row: Row, mark: str, holds: bool) -> None:
        if not self.quick:
            row.mark, row.holds = mark, holds and not row.note

    def _guard(self, row: Row, measure: Callable[[], None]) -> None:
        """Measure; what goes wrong becomes a row with the reason."""
        self.say(f"{row.case}  {row.subject}")
        try:
            measure()
        except (UnsupportedError, SessionLostError, OSError) as error:
            row.note = str(error).replace("\n", " ")[:300]
            row.extra["failed"] = not isinstance(error, UnsupportedError)
            self.rows.append(row)

    def _load_once(self, subject: Subject, workload: Workload, sinks: int, case: str) -> None:
        row = Row(case, subject.name, None, "routes/s")

        def measure() -> None:
            with Stage(subject, workload, sinks) as stage:
                self._loaded(row, [stage.load(BOUND)], workload)

        if self._is_hopeless(row, workload):
            return
        self._guard(row, measure)

    def _is_hopeless(self, row: Row, workload: Workload) -> bool:
        """Whether the subject missed the bound with this many VPNv4 routes already."""
        hopeless = any(
            other.subject == row.subject
            and other.case.startswith("load/vpnv4")
            and other.extra.get("over_bound")
            and other.extra.get("routes", 0) <= workload.routes
            for other in self.rows
        )
        if hopeless:
            row.note = f"not run: > {BOUND} s with VPNv4 already"
            self.rows.append(row)
        return hopeless

    def _loaded(self, row: Row, outcomes: list[Outcome], workload: Workload) -> None:
        seconds = [outcome.seconds for outcome in outcomes if outcome.seconds]
        row.extra["routes"] = workload.routes
        row.runs = [workload.routes / each for each in seconds]
        row.extra["seconds"] = statistics.median(seconds) if seconds else None
        row.extra["sent_to_each_sink"] = outcomes[0].resent
        faults = [outcome.fault for outcome in outcomes if outcome.fault]
        if len(seconds) < len(outcomes):
            got = min(outcomes[0].resent)
            row.note = f"> {BOUND} s ({got} of {workload.routes} routes had come): " + "".join(
                faults[:1]
            )
            row.extra["over_bound"] = True
        else:
            row.figure = statistics.median(row.runs)
            row.note = "".join(faults[:1])
        row.extra["content"] = "wrong" if faults else "verified"
        self.rows.append(row)

    def _load(self, subject: Subject, routes: int, sinks: int, *, full: bool) -> None:
        workload = Workload("vpnv4", routes)
        size = f"vpnv4/{_size(routes)}/{sinks} sinks"
        row = Row(f"load/{size}", subject.name, None, "routes/s")
        if self._is_hopeless(row, workload):
            return

        def measure() -> None:
            outcomes = []
            for _ in range(self.runs if sinks == self._sinks else 1):
                begun = time.monotonic()
                with Stage(subject, workload, sinks) as stage:
                    outcomes.append(stage.load(BOUND))
                    if len(outcomes) == 1 and outcomes[0].seconds and sinks == self._sinks:
                        if full:
                            self._memory(stage, f"memory/{size}")
                        self._changes(stage, f"change/{size}")
                took = outcomes[-1].seconds
                if not took or took > PATIENCE:
                    self.slow.add(subject.name)
                if subject.name in self.slow or time.monotonic() - begun > 6 * PATIENCE:
                    break
            self._loaded(row, outcomes, workload)

        self._guard(row, measure)

    def _memory(self, stage: Stage, case: str) -> None:
        memory = stage.memory()
        row = Row(case, stage.subject.name, memory.rss, "MB RSS", extra=vars(memory).copy())
        if row.subject == OURS:
            self._mark(row, "< 300", memory.rss < 300)
        self.rows.append(row)

    def _changes(self, stage: Stage, case: str) -> None:
        name, customers = stage.subject.name, stage.workload.customers
        outcomes: list[Outcome] = []
        begun = time.monotonic()
        count = 3 if self.quick else CHANGES
        for number in range(count):
            if outcomes and time.monotonic() - begun > CHANGE_BUDGET:
                break
            outcomes.append(stage.change(1 + number * customers // count, BOUND))
            if outcomes[-1].seconds is None:
                break
        milliseconds = [outcome.seconds * 1e3 for outcome in outcomes if outcome.seconds]
        faults = [outcome.fault for outcome in outcomes if outcome.fault]
        row = Row(case, name, None, "ms")
        row.runs = milliseconds
        row.note = "".join(faults[:1])
        row.extra = {
            "includes": stage.subject.change_includes,
            "content": "wrong" if faults else "verified",
        }
        if milliseconds:
            row.figure = statistics.median(milliseconds)
            row.extra |= {"min": min(milliseconds), "max": max(milliseconds)}
        else:
            row.note = f"> {BOUND} s {row.note}"
        resent = max(max(outcome.resent) for outcome in outcomes)
        resends = Row(f"re-sent per {case}", name, resent, "routes")
        if name == OURS:
            self._mark(row, "< 5", row.figure is not None and row.figure < 5)
            exactly = {sent for outcome in outcomes for sent in outcome.resent} == {100}
            self._mark(resends, "exactly 100", exactly)
        self.rows += [row, resends]
        self.rows += _controller_rows(stage, case, self)

    def _join(self, subject: Subject, workload: Workload) -> None:
        # Where nothing is marked, nothing shall fail because this machine has no time for it.
        hold_time, verify_bound = (90, 30) if self.quick else (HOLD_TIME, VERIFY_BOUND)
        with Stage(subject, workload, self._sinks, spare=1, hold_time=hold_time) as stage:
            loaded = stage.load(BOUND)
            if loaded.seconds is None:
                raise SessionLostError(f"no table within {BOUND} s: {loaded.fault}")
            quiet = stage.change(1, BOUND)
            for sink in stage.sinks:
                sink.longest_silence()
            full_tables, changes = [], []
            faults = [quiet.fault]
            customer = 1
            for _ in range(1 if self.quick else 3):
                newcomer = stage.join(BOUND)
                try:
                    up = newcomer.wait_up(70)
                    while not newcomer.has_arrived() and len(changes) < 200:
                        customer = 1 + customer % workload.customers
                        changes.append(stage.change(customer, BOUND, 0.03))
                    arrival = newcomer.arrival(BOUND + 60)
                    if arrival.complete_at is None:
                        raise SessionLostError(f"new peer: no full table in {BOUND} s")
                    full_tables.append((arrival.complete_at - up) / 1e9)
                    faults.append(stage.verify(newcomer, verify_bound))
                finally:
                    newcomer.stop()
            silence = max(sink.longest_silence() for sink in stage.sinks)
            faults += [change.fault for change in changes]
        note = next((fault for fault in faults if fault), "")
        row = Row("new peer/silence", subject.name, silence, "s", note=note)
        row.extra = {
            "content": "wrong" if note else "verified",
            "meaning": "longest time that another sink heard nothing; none lost its session",
        }
        table = statistics.median(full_tables)
        times = [change.seconds * 1e3 for change in changes if change.seconds]
        if subject.name == OURS:
            self._mark(row, f"< {HOLD_TIME}, no session lost", silence < HOLD_TIME)
        self.rows.append(row)
        self.rows.append(Row("new peer/full table", subject.name, table, "s", runs=full_tables))
        if times:
            extra = {"max": max(times), "count": len(times)}
            median = statistics.median(times)
            self.rows.append(
                Row("new peer/change", subject.name, median, "ms", runs=times, extra=extra)
            )

    def _million(self, subject: Subject, workload: Workload) -> None:
        begun = time.monotonic()
        with Stage(subject, workload, 2) as stage:
            started = time.monotonic() - begun
            outcome = stage.load(BOUND)
            memory = stage.memory()
        row = Row("million/load", OURS, outcome.seconds, "s", note=outcome.fault)
        row.extra = {
            "start_seconds": started,
            "content": "wrong" if outcome.fault else "verified",
            "sent_to_each_sink": outcome.resent,
        }
        held = Row("million/memory", OURS, memory.rss, "MB RSS", extra=vars(memory).copy())
        self._mark(row, "<= 40", outcome.seconds is not None and outcome.seconds <= 40)
        self._mark(held, "<= 2000", memory.rss <= 2000)
        self.rows += [row, held]

    # -- marks that need more than one row -----------------------------------------------------

    def _compare_rates(self) -> None:
        for row in self.rows:
            family, size, sinks = (*row.case.split("/"), "", "", "")[1:4]
            headline = row.case.startswith("load/") and size == "100k" and sinks == "4 sinks"
            if headline and row.subject == OURS:
                rivals = [
                    other.figure
                    for other in self.rows
                    if other.case == row.case and other.subject != OURS and other.figure
                ]
                figure = row.figure or 0
                holds = figure >= 150_000 and all(figure > rival for rival in rivals)
                self._mark(row, ">= 150000, above every rival", holds)
                row.extra["family"] = family

    def _compare_changes(self) -> None:
        def median(size: str) -> float | None:
            case = f"change/vpnv4/{size}/4 sinks"
            return next(
                (row.figure for row in self.rows if (row.case, row.subject) == (case, OURS)), None
            )

        small, large = median("1k"), median("100k")
        if small and large:
            row = Row("change/100k : 1k", OURS, large / small, "ratio")
            self._mark(row, "<= 2", large / small <= 2)
            self.rows.append(row)


def _controller_rows(stage: Stage, case: str, bench: Bench) -> Iterator[Row]:
    """Ours, by the controller's own clock: decided -> last UPDATE out."""
    timelines = getattr(stage.daemon, "timelines", [])
    last = "last peer's last UPDATE out"
    spans = [steps[last][1] - steps[last][0] for steps in timelines if last in steps]
    if spans:
        row = Row(f"decided to last UPDATE, {case}", OURS, statistics.median(spans), "ms")
        row.runs = spans
        row.extra = {
            "min": min(spans),
            "max": max(spans),
            "includes": "the controller's timeline, after the revision is stored",
            "steps": {name: timelines[-1][name] for name in timelines[-1]},
        }
        bench._mark(row, "< 5", statistics.median(spans) < 5)
        yield row


def _size(routes: int) -> str:
    return f"{routes // 1000}k"
