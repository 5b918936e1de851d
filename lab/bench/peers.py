"""A hundred PEs at once: convergence, one rule change to all, slow, flapping and hostile ones.

``python -m lab.bench.peers [--peers N] [--routes N] [--changes N] [--quick] [--out FILE]``

See `lab.bench.crowd` for who has which routes.  ``--quick``: 12 PEs of 300 routes, no marks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.bench.crowd import CELL, PER_CUSTOMER, Crowd, Heard, Workload
from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from lab.bench.stage import Memory, free_port, memory_of
from lab.bench.subjects.base import LISTEN, end
from lab.bench.subjects.vpnctl import Changes, children, start_vpnctl

#: Silence (s) after which a load, or a change, counts as complete.
_LOAD_SETTLE, _CHANGE_SETTLE = 1.0, 0.05
#: Milliseconds to the last PE, and by how much the others may suffer from two bad ones.
_CHANGE_MARK, _SUFFER_MARK = 10.0, 10.0
#: Seconds of an assault before what others notice of it is timed: it goes on for good.
_LEAD_IN = 10.0
#: Convergence must end within (s).
_BOUND = 300.0


class Bench:
    """One controller and its crowd; `rows` are what was found."""

    def __init__(self, workload: Workload, changes: int, *, marks: bool) -> None:
        self._workload, self._changes, self._marks = workload, changes, marks
        self._version = 0
        self._open = False
        self.rows: list[Row] = []
        #: Routes that came or went at a PE and had nothing to do with a change.
        self.strays = 0
        #: The controller's own account of the changes: step -> milliseconds of each.
        self.steps: dict[str, list[float]] = {}

    def run(self) -> None:
        """Measure everything.  Raises `SessionLostError` or `UnsupportedError`."""
        with contextlib.ExitStack() as stack:
            where = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vpnctl-bench-")))
            policies = where / "policies"
            policies.mkdir()
            port = free_port()
            for name, text in self._workload.files(f"{LISTEN}:{port}").items():
                (policies / name).write_text(text)
            # Forked while this process is small and has no threads.
            self._crowd = Crowd(self._workload, port)
            stack.callback(self._crowd.stop)
            self._crowd.ask("prepare")
            process = start_vpnctl(where, policies)
            stack.callback(end, process)
            self._api = Changes(where / "api.sock")
            self._policies = policies
            self._crowd.ask("connect")
            self._load()
            self._memory(memory_of((process.pid, *children(process.pid))))
            everybody = set(range(1, self._workload.peers))
            calm = self._rules(everybody)
            row = self._row("one rule/all peers", calm, "ms", f"< {_CHANGE_MARK:.0f} ms")
            row.note = f"one line opens or closes an extranet of {PER_CUSTOMER} routes to all PEs"
            row.extra = {"steps": self._steps()}
            files = self._change_often(everybody, self._other_targets)
            row = self._row("one customer anew/all peers", files, "ms")
            row.note = "another import target for each of its sites, in one file"
            # Two PEs of the last cell; the other two of it suffer from the routes that come and
            # go, as they must, and the rest of the world must not.
            last = self._workload.peers - CELL
            slow, flapping = last, last + 1
            self._crowd.ask("pause", slow)
            self._crowd.ask("flap", flapping)
            others = everybody - set(range(last, self._workload.peers))
            troubled = self._rules(others)
            flaps = int(self._crowd.ask("flaps"))
            self._crowd.ask("calm")
            time.sleep(2.0)
            calm_again = self._rules(others)
            row = self._row("one rule/others, one slow and one flapping", troubled, "ms")
            row.note = f"{flaps} flaps of {self._workload.routes} routes meanwhile"
            self._row("one rule/others, calm", calm_again, "ms")
            reference = statistics.median(calm + calm_again)
            worse = (statistics.median(troubled) / reference - 1) * 100
            row = self._row("one rule/others, worse by", [worse], "%", f"< {_SUFFER_MARK:.0f} %")
            row.note = "median, against that of all calm changes before and after"
            self._attacked(others, calm_again)

    def _attacked(self, others: set[int], calm: list[float]) -> None:
        """The same changes while a PE of the last cell is hostile; nobody else may notice."""
        self._crowd.ask("assault", self._workload.hostile)
        begun = time.monotonic()
        time.sleep(_LEAD_IN if self._marks else 0.5)
        self.strays = 0
        attacked = self._rules(others)
        strays, seconds, steps = self.strays, time.monotonic() - begun, self._steps()
        sent = int(self._crowd.ask("assaults"))
        self._crowd.ask("calm")
        time.sleep(2.0)
        calm_again = self._rules(others)
        row = self._row("one rule/others, one hostile", attacked, "ms")
        row.note = f"which sent {sent / seconds / 1e6:.1f} MB/s meanwhile"
        if self._marks:
            row.note += f"; timed after {_LEAD_IN:.0f} s of it"
        row.extra = {"steps": steps}
        row = self._row("one rule/others, calm after it", calm_again, "ms")
        row.extra = {"steps": self._steps()}
        worse = (statistics.median(attacked) / statistics.median(calm + calm_again) - 1) * 100
        row = self._row(
            "one rule/others, worse by a hostile one", [worse], "%", f"< {_SUFFER_MARK:.0f} %"
        )
        row.note = "median, against that of the calm changes before and after"
        row = self._row("routes that others saw of it", [strays], "routes")
        row.mark, row.holds = "none", strays == 0

    def _steps(self) -> dict[str, float]:
        """Median milliseconds of each step of the last changes, by the controller's account."""
        return {name: statistics.median(ms) for name, ms in self.steps.items()}

    def _load(self) -> None:
        workload = self._workload
        routes = {peer: workload.heard(peer) for peer in range(workload.peers)}
        self._crowd.ask("expect", routes, self._version, _LOAD_SETTLE, _BOUND, False)
        self._crowd.tell("announce")
        begun = self._crowd.answer()
        heard: Heard = self._crowd.answer(_BOUND + 120)
        _refuse(heard)
        seconds = (max(heard.complete_at.values()) - begun) / 1e9
        self._row("convergence", [seconds], "s")
        delivered = sum(routes.values())
        row = self._row("routes delivered", [delivered / seconds], "routes/s")
        row.note = (
            f"{workload.peers * workload.routes:,} routes in, one per UPDATE; {delivered:,} out"
        )

    def _memory(self, memory: Memory) -> None:
        self._row("memory", [memory.rss], "MB")
        self.rows[-1].extra = {"peak": memory.peak, "pss": memory.pss}

    def _rules(self, peers: set[int]) -> list[float]:
        return self._change_often(peers, self._toggle_annex)

    def _toggle_annex(self) -> tuple[str, str]:
        self._open = not self._open
        return "annex.yaml", self._workload.annex_file(is_open=self._open)

    def _other_targets(self) -> tuple[str, str]:
        self._version += 1
        return "wide.yaml", self._workload.wide_file(self._version)

    def _change_often(self, peers: set[int], edit: Callable[[], tuple[str, str]]) -> list[float]:
        """Milliseconds from the operator's request to the last PE, of each change.

        ``edit`` gives the name and the new text of the one file that changes.
        """
        found = []
        self.steps = {}
        for _ in range(self._changes):
            was_open = self._open
            name, text = edit()
            self._api.prepare(self._policies / name, text)
            # What is open is sent again with the other targets.
            closing = was_open and not self._open
            count = PER_CUSTOMER * (2 if was_open and self._open else 1)
            routes = dict.fromkeys(peers, count)
            self._crowd.ask("expect", routes, self._version, _CHANGE_SETTLE, 30.0, closing)
            time.sleep(_CHANGE_SETTLE)
            begun = time.monotonic_ns()
            steps = self._api.change()
            heard: Heard = self._crowd.answer(120)
            if heard.missing:
                raise SystemExit(f"error: a change did not arrive: {heard}")
            self.strays += heard.wrong + abs(heard.withdrawn - closing * count * len(peers))
            found.append((max(heard.complete_at.values()) - begun) / 1e6)
            for step, (start, stop) in steps.items():
                self.steps.setdefault(step, []).append(stop - start)
        return found

    def _row(self, case: str, figures: list[float], unit: str, mark: str = "") -> Row:
        figure = statistics.median(figures)
        name = f"{case}/{self._workload.peers} peers x {self._workload.routes}"
        row = Row(name, "vpnctl", figure, unit, runs=figures if len(figures) > 1 else [])
        if mark and self._marks:
            row.mark, row.holds = mark, figure < float(mark.split()[1])
        self.rows.append(row)
        return row


def _refuse(heard: Heard) -> None:
    if heard.missing or heard.wrong or heard.withdrawn:
        raise SystemExit(f"error: the tables are not right: {json.dumps(heard.missing)}, {heard}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.peers", description=__doc__)
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--routes", type=int, default=10_000, help="of each PE")
    parser.add_argument("--changes", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help="12 PEs of 300 routes, no marks")
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    options = parser.parse_args(arguments)
    workload = Workload(12, 300) if options.quick else Workload(options.peers, options.routes)
    began_at, begun = commit(), time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bench = Bench(workload, 5 if options.quick else options.changes, marks=not options.quick)
    bench.run()
    command = shlex.join(["python", "-m", "lab.bench.peers", *(arguments or sys.argv[1:])])
    if options.out or not options.quick:
        write(options.out or RESULTS / "peers.json", bench.rows, command, began_at)
    print(
        grid(
            ["case", "figure", "unit", "mark"],
            [[row.case, number(row.figure), row.unit, _told(row)] for row in bench.rows],
        )
    )
    print(f"\n{time.monotonic() - begun:.0f} s; {len(missing(bench.rows))} rows miss their mark")
    return 0


def _told(row: Row) -> str:
    return f"{row.mark} {'ok' if row.holds else 'MISSED'}" if row.mark else ""


if __name__ == "__main__":
    sys.exit(main())
