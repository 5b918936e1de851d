"""The route server beside BIRD, FRR and GoBGP on the same work.

``python -m lab.bench.routes [--quick] [--only CASE] [--subjects LIST] [--runs N] [--out FILE]``
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab.bench.cases import OURS, Bench
from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, times_better, write
from lab.bench.subjects import SUBJECTS

CASES = ("load", "services", "own", "join", "million")
#: Configurations that are not their daemon's best, measured once for comparison.
VARIANTS = {"bird": "bird-export", "frr": "frr-out"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 whatever was found."""
    options = _parser().parse_args(arguments)
    names = options.subjects.split(",")
    bench = Bench(
        subjects=[SUBJECTS[name] for name in names],
        variants=[SUBJECTS[VARIANTS[name]] for name in names if name in VARIANTS],
        runs=1 if options.quick else options.runs,
        quick=options.quick,
        say=lambda text: print(f"[{time.monotonic() - begun:4.0f} s] {text}", file=sys.stderr),
    )
    begun, began_at = time.monotonic(), commit()
    # SIGTERM ends daemons and temporary directories as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for case in options.only or CASES:
            getattr(bench, case)()
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    for row in bench.rows:
        subject = SUBJECTS[row.subject]
        row.extra["configuration"] = subject.configuration
        row.extra["change_includes"] = subject.change_includes
    command = shlex.join(["python", "-m", "lab.bench.routes", *(arguments or sys.argv[1:])])
    if options.out or not options.quick:
        write(options.out or RESULTS / "routes.json", bench.rows, command, began_at)
    print(table(bench.rows))
    print(f"\n{time.monotonic() - begun:.0f} s")
    misses = missing(bench.rows)
    print(f"\n{len(misses)} rows miss their mark" + (":" if misses else ""))
    for row in misses:
        print(f"  {row.case}: {number(row.figure)} {row.unit}, mark {row.mark} {row.note}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.bench.routes", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small tables, no marks, < 30 s")
    parser.add_argument("--only", action="append", choices=CASES, help="may be repeated")
    parser.add_argument("--subjects", default="vpnctl,bird,frr,gobgp", help="comma-separated")
    parser.add_argument("--runs", type=int, default=3, help="loads of each 4-sink case")
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    return parser


def table(rows: Sequence[Row]) -> str:
    """One line per case: how many times better ours is, then everybody's figure."""
    cases = list(dict.fromkeys((row.case, row.unit) for row in rows))
    subjects = list(dict.fromkeys(row.subject for row in rows))
    rivals = [name for name in subjects if name != OURS]
    by_key = {(row.case, row.subject): row for row in rows}
    body, notes = [], []
    for case, unit in cases:
        ours = by_key.get((case, OURS))
        ratios, figures = [], []
        for name in subjects:
            row = by_key.get((case, name))
            if row is not None and row.note:
                notes.append(f"{case}, {name}: {row.note}")
            figures.append(_cell(row))
            if name in rivals:
                ratios.append(times_better(unit, ours.figure, row.figure) if ours and row else "")
        mark = f"{ours.mark} {'ok' if ours.holds else 'MISSED'}" if ours and ours.mark else ""
        body.append([case, *ratios, *figures, unit, mark])
    head = ["case", *(f"x {name}" for name in rivals), *subjects, "unit", "mark of ours"]
    text = "x NAME: how many times better ours is (more routes/s, fewer ms, MB, s)\n\n"
    text += grid(head, body)
    text += "\n\nconfigurations\n" + "\n".join(
        f"  {name}: {SUBJECTS[name].configuration}\n    change: {SUBJECTS[name].change_includes}"
        for name in subjects
    )
    if notes:
        text += "\n\nnotes\n" + "\n".join(f"  {note}" for note in notes)
    return text


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.figure is None:
        return "> bound" if row.extra.get("over_bound") else "none"
    return number(row.figure)


if __name__ == "__main__":
    sys.exit(main())
