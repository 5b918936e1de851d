"""Running machines moved over the paper's lines, beside QEMU alone: ``results/migrate.json``.

``python -m lab.bench.migrate [--quick] [--only CASE] [--out FILE]``; takes root, FRR and QEMU.

Everything happens in the lab of ``lab/migrate.clab.yml``: FRR as PE, an agent at each of two
clouds, guests in software emulation, a client at the customer's head office with open TCP
connections.  ``trips``: there and back over both lines.  ``slow``, ``fast``: a busy guest over that
line by QEMU alone and by vpnctl.  ``app``: two machines, of which one asks the other for each
answer, move together.  What does not end in its time is a row without a figure, and the next case
begins.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from lab.moving.alone import FORCED_S, Alone, move_alone
from lab.moving.machines import Guest
from lab.moving.stage import (
    FAST,
    HOSTS,
    MIB,
    SLOW,
    Clouds,
    MoveError,
    at,
    clouds,
    disk_content,
    octets,
)
from tests.support.guest_image import MissingError
from tests.support.qemu import Shape
from tests.support.records import RecordError
from tests.support.visitor import VisitError, Visitor
from tests.support.visitor_program import ANSWER, TICK
from vpnctl.cli.lab.signals import end_in_order
from vpnctl.errors import VpnctlError
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.migration.agent.messages import MigrationView

OURS, BASELINE = "vpnctl", "QEMU alone"
CASES = ("trips", "slow", "fast", "app")
#: The longest gap of a client, in milliseconds.
LINES = (("100 Mb/s, 20 ms", SLOW, 1000.0), ("465 Mb/s, 27 ms", FAST, 600.0))
#: Of QEMU alone.
MEMORY_MARK, PAUSE_MARK, OCTETS_MARK = 0.35, 0.5, 0.5
RETURN_MARK, RESPONSE_MARK, SKEW_MARK_MS = 5.0, 1.3, 100.0

#: The kernel takes more than half of it.
_RAM = 96 * 1024 - 8
#: A guest that has much and changes little; it writes to its disk all the while.
CALM = Guest(
    "web1",
    "10.1.0.2",
    Shape(
        ram_kib=_RAM,
        text=8,
        updates=4,
        rewrites=0,
        random=16,
        touch_updates=1,
        touch_rewrites=0,
        touch_random=0,
    ),
    writes=10,
)
#: One that changes more than the slow line carries.  Its disk rests for longer than a round trip
#: takes: QEMU's own mirror does not call itself ready while anything is under way.
BUSY = Guest(
    "busy1",
    "10.1.0.3",
    Shape(
        ram_kib=176 * 1024 - 8,
        text=16,
        updates=48,
        rewrites=16,
        random=8,
        touch_updates=110,
        touch_rewrites=10,
        touch_random=1,
    ),
    writes=10,
)
_LIGHT = Shape(ram_kib=_RAM, text=8, updates=4, rewrites=2, random=4,
               touch_updates=2, touch_rewrites=1, touch_random=1)  # fmt: skip
DB = Guest("db1", "10.1.0.5", _LIGHT, writes=10, app="shop")
FRONT = Guest("front1", "10.1.0.4", _LIGHT, writes=10, app="shop", backend=DB.address)
GUESTS = (CALM, BUSY, DB, FRONT)
#: Seconds that guests work before anything is measured, and that an undisturbed one is looked at.
SETTLE_S, UNDISTURBED_S = 3.0, 8.0
#: Moves of the application, of which the median counts.
APP_RUNS = 3
#: What a case ends with when something took too long, or was not as it had to be.
FAILURES = (MoveError, RecordError, VisitError, OSError)


_ALONE = (
    "QEMU's mirror and migration over plain TCP, with its defaults (128 MiB/s, 300 ms downtime);"
    " vpnctl's over TLS"
)
_FORCED = f"; made to end after {FORCED_S:.0f} s, as it did not converge"
_GUEST = (
    "176 MB of memory: 80 of text, 8 of random numbers, and kernel, page cache and zeroes; up to"
    " 12,000 pages changed a second, nine of ten of them in a few words, as far as the processor"
    " lets it; 10 records a second to its disk"
)


@dataclass(frozen=True)
class AppMove:
    """Seconds that each request took ``before`` the move and ``during`` it, until the pause;
    ``skew_s``: between the resumes; ``gap_s``: the longest time without an answer."""

    before: list[float]
    during: list[float]
    skew_s: float
    gap_s: float


class Bench:
    """The cases; ``rows`` is what they found."""

    def __init__(self, stage: Clouds, quick: bool) -> None:
        self.stage, self.quick = stage, quick
        self.rows: list[Row] = []

    def run(self, case: str) -> None:
        """One of `CASES`; what keeps it from its end is a row."""
        try:
            getattr(self, case)()
        except FAILURES as failure:
            self._failed(case, OURS, failure)
            for guest in GUESTS:
                self._remove(guest)

    def _remove(self, guest: Guest) -> None:
        """Stop a guest wherever it is, so that the next case begins as if it were the first."""
        for site in HOSTS:
            with contextlib.suppress(MoveError):
                self.stage.vpnctl("agent", "stop", guest.name, "--at", site)

    def _failed(self, case: str, whose: str, failure: Exception) -> None:
        print(f"  {case}, {whose}: {failure}", file=sys.stderr)
        mark = "" if self.quick or whose != OURS else "to its end"
        holds = False if mark else None
        self.rows.append(Row(f"{case}/not ended", whose, None, "", mark, holds, str(failure)))

    def trips(self) -> None:
        """A guest with a client and a disk writer goes there and back over each line."""
        stage = self.stage
        stage.make_disk("cloud1", CALM.disk, disk_content(96 * MIB), 128 * MIB)
        stage.start(CALM.name, "cloud1")
        stage.verify("cloud1", CALM.name)
        with stage.visiting(CALM.address) as visitor:
            for line, figures, mark in LINES:
                stage.line(figures)
                visitor.wait_written(CALM.writes)
                there = self._trip(visitor, line, ("cloud1", "cloud2"), mark)
                visitor.wait_written(CALM.writes)
                back = self._trip(visitor, line, ("cloud2", "cloud1"), mark)
                if figures is SLOW:
                    self._row(
                        "way back/octets of the first trip's", 100 * octets(back) / octets(there),
                        "%", RETURN_MARK,
                        "disk and memory; the first trip finds nothing at the other site; a guest"
                        " that changes little",
                    )  # fmt: skip
        stage.verify("cloud1", CALM.name)
        stage.vpnctl("agent", "stop", CALM.name, "--at", "cloud1")

    def _trip(
        self, visitor: Visitor, line: str, way: tuple[str, str], mark: float
    ) -> MigrationView:
        stage, (here, there) = self.stage, way
        begun = visitor.goes_on(time.time())
        (end,) = stage.migrate(CALM.name, "--to", there)
        ended = visitor.goes_on(time.time())
        visitor.wait_written(1)
        # Each of these raises where it does not hold.
        visitor.alive()
        stage.check_disks(CALM.disk, there, here, visitor.written())
        case = f"{line}, {here} to {there}"
        held = "its two TCP connections are those of the beginning; no write is lost, the disks are"
        note = (
            f"{held} equal; sent: {end.wire / 1e6:.1f} MB for {end.guest / 1e6:.1f} of memory,"
            f" {end.disk_wire / 1e6:.1f} for {end.disk / 1e6:.1f} of disk"
        )
        self._row(f"{case}/from the command to the end", end.elapsed_s, "s", note=note)
        self._row(f"{case}/stands still", 1000 * _pause(end), "ms")
        self.rows[-1].extra = _course(end)
        for what, kind in (("nothing is heard", TICK), ("no answer to requests", ANSWER)):
            gap = 1000 * visitor.longest_gap(kind, begun, ended)
            self._row(f"{case}/client: longest time that {what}", gap, "ms", mark)
        self._row(f"{case}/beacons of two running copies", visitor.doubles(), "beacons", 0.0)
        return end

    def slow(self) -> None:
        """The busy guest over the slow line."""
        self._beside(*LINES[0][:2])

    def fast(self) -> None:
        """The same one over the fast line."""
        self._beside(*LINES[1][:2])

    def _beside(self, line: str, figures: WanFigures) -> None:
        """The busy guest, first by QEMU alone, then by vpnctl, from the same disk."""
        stage = self.stage
        stage.line(figures)
        content = disk_content(48 * MIB)
        stage.make_disk("cloud1", BUSY.disk, content, 64 * MIB)
        alone = None
        try:
            alone = asyncio.run(move_alone(stage, BUSY, SETTLE_S))
        except MoveError as failure:
            self._failed(f"busy guest, {line}", BASELINE, failure)
        stage.make_disk("cloud1", BUSY.disk, content, 64 * MIB)
        stage.disk("cloud2", BUSY.disk).unlink(missing_ok=True)
        stage.forget()
        stage.start(BUSY.name, "cloud1")
        stage.verify("cloud1", BUSY.name)
        # As long as the other one worked.
        time.sleep(SETTLE_S)
        sent = stage.sent("cloud1")
        (end,) = stage.migrate(BUSY.name, "--to", "cloud2")
        sent = stage.sent("cloud1") - sent
        stage.verify("cloud2", BUSY.name)
        self._compare(f"busy guest, {line}", alone, end, sent)
        stage.vpnctl("agent", "stop", BUSY.name, "--at", "cloud2")
        # The next line begins with the same disk at one site, and none at the other.
        stage.disk("cloud2", BUSY.disk).unlink()

    def _compare(self, case: str, alone: Alone | None, end: MigrationView, sent: int) -> None:
        began = at(end, "disks follow")
        assert began is not None
        assert end.resumed_at is not None
        connected = at(end, "sidecars connected") or end.began
        figures = (
            ("disk, until the copy follows", "s", alone and alone.disk_s, began - connected, None),
            ("memory, from its first page to the resume", "s", alone and alone.memory_s,
             end.resumed_at - began, MEMORY_MARK),
            ("stands still", "ms", alone and 1000 * alone.pause_s, 1000 * _pause(end), PAUSE_MARK),
            ("octets on the line, disk and memory", "MB", alone and alone.octets / 1e6, sent / 1e6,
             OCTETS_MARK),
        )  # fmt: skip
        for what, unit, theirs, ours, mark in figures:
            self._row(f"{case}/{what}", ours, unit)
            if theirs is not None:
                forced = _FORCED if alone and alone.forced else ""
                note = _ALONE + forced if mark is MEMORY_MARK else ""
                self.rows.append(Row(f"{case}/{what}", BASELINE, theirs, unit, note=note))
            if theirs is not None and mark is not None:
                self._row(f"{case}/{what}, ratio to {BASELINE}", ours / theirs, "x", mark)
        self.rows[-1].note = _GUEST
        self.rows[-1].extra = _course(end)

    def app(self) -> None:
        """Two machines of an application move together while the client asks the first."""
        self.stage.line(FAST)
        found = [self._move_app() for _ in range(1 if self.quick else APP_RUNS)]
        case = "application of two machines, 465 Mb/s, 27 ms"

        def row(what: str, figures: Sequence[float], unit: str, mark: float | None = None) -> None:
            note = f"median of {len(figures)} first moves" if len(figures) > 1 else ""
            self._row(f"{case}/{what}", statistics.median(figures), unit, mark, note)
            self.rows[-1].runs = list(figures)

        before = [1000 * statistics.mean(one.before) for one in found]
        during = [1000 * statistics.mean(one.during) for one in found]
        row("response, mean, undisturbed", before, "ms")
        row("response, mean, while it moves, until the pause", during, "ms")
        row(
            "response while it moves, ratio to undisturbed",
            [moving / calm for calm, moving in zip(before, during, strict=True)],
            "x",
            RESPONSE_MARK,
        )
        row("between their resumes", [1000 * one.skew_s for one in found], "ms", SKEW_MARK_MS)
        row(
            "client: longest time that no answer to requests",
            [1000 * one.gap_s for one in found],
            "ms",
        )

    def _move_app(self) -> AppMove:
        """From the same two disks, at one site only."""
        stage = self.stage
        stage.forget()
        for guest in (DB, FRONT):
            stage.disk("cloud2", guest.disk).unlink(missing_ok=True)
            stage.make_disk("cloud1", guest.disk, disk_content(8 * MIB), 24 * MIB)
            stage.start(guest.name, "cloud1")
        for guest in (DB, FRONT):
            stage.verify("cloud1", guest.name)
        with stage.visiting(FRONT.address) as visitor:
            visitor.wait_written(FRONT.writes)
            begun = visitor.goes_on(time.time())
            visitor.goes_on(begun + UNDISTURBED_S)
            moving = time.time()
            ends = stage.migrate("--app", "shop", "--to", "cloud2")
            ended = visitor.goes_on(time.time())
            visitor.alive()
            if not all(one.behind for one in visitor.heard(ANSWER)[-10:]):
                raise MoveError("the front does not hear from its database any more")
            paused = min(end.stopped_at or 0.0 for end in ends)
            # What was asked just before the pause is answered after it.
            last = paused - max(visitor.responses(begun, moving), default=0.0)
            ran = [end.resumed_at or 0.0 for end in ends]
            found = AppMove(
                visitor.responses(begun, moving),
                visitor.responses(moving, last),
                max(ran) - min(ran),
                visitor.longest_gap(ANSWER, moving, ended),
            )
        for guest in (DB, FRONT):
            stage.vpnctl("agent", "stop", guest.name, "--at", "cloud2")
        return found

    def _row(
        self, case: str, figure: float, unit: str, mark: float | None = None, note: str = ""
    ) -> None:
        """``mark``: what it may be at most."""
        marked = mark is not None and not self.quick
        self.rows.append(
            Row(
                case, OURS, figure, unit, f"<= {mark:g}" if marked else "",
                figure <= mark if marked and mark is not None else None, note,
            )
        )  # fmt: skip


def _course(end: MigrationView) -> dict[str, object]:
    """For a row's ``extra``: its moments, and what was left at the beginning of each pass."""
    return {
        "timeline": {mark.what: round(mark.at_s, 3) for mark in end.timeline},
        "passes": [(round(one.at_s, 3), one.left) for one in end.passes],
    }


def _pause(end: MigrationView) -> float:
    """Seconds from the source's STOP to the destination's RESUME."""
    assert end.stopped_at is not None
    assert end.resumed_at is not None
    return end.resumed_at - end.stopped_at


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 whatever was found, 2 where it cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.migrate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no marks; not written unless told")
    parser.add_argument("--only", action="append", choices=CASES, help="may be repeated")
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    options = parser.parse_args(arguments)
    end_in_order()
    begun, began_at = time.monotonic(), commit()
    command = shlex.join(["python", "-m", "lab.bench.migrate", *(arguments or sys.argv[1:])])
    path = options.out
    if path is None and not (options.quick or options.only):
        path = RESULTS / "migrate.json"
    try:
        with clouds(machines={guest.name: guest.definition() for guest in GUESTS}) as stage:
            bench = Bench(stage, options.quick)
            for case in options.only or CASES:
                print(f"[{time.monotonic() - begun:4.0f} s] {case}", file=sys.stderr)
                bench.run(case)
                if path is not None:
                    # A case that was measured stays, whatever becomes of the next one.
                    write(path, bench.rows, command, began_at)
    except MissingError as missed:
        print(f"error: {missed}", file=sys.stderr)
        return 2
    except VpnctlError as error:
        print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    told = {True: "ok", False: "MISSED", None: ""}
    print(
        grid(
            ["case", "by", "figure", "unit", "mark", ""],
            [
                [row.case, row.subject, number(row.figure), row.unit, row.mark, told[row.holds]]
                for row in bench.rows
            ],
        )
    )
    print(f"\n{time.monotonic() - begun:.0f} s, {len(missing(bench.rows))} rows miss their mark")
    return 0


if __name__ == "__main__":
    sys.exit(main())
