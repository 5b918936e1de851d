"""What the sidecar's benchmarks share: rows with marks, the command line, the table in the end."""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from lab.bench.capture import captures
from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write

OURS = "vpnctl"


class Rows:
    """Rows as they are found."""

    def __init__(self) -> None:
        self.found: list[Row] = []

    def add(
        self,
        case: str,
        subject: str,
        figure: float | Sequence[float],
        unit: str,
        mark: str = "",
        note: str = "",
        **extra: Any,
    ) -> None:
        """Add a row; ``figure``: of several the median counts; ``mark``: "<= x" or ">= x"."""
        runs = [] if isinstance(figure, float | int) else list(figure)
        one = statistics.median(runs) if runs else figure
        assert isinstance(one, float | int)
        holds = None
        if mark:
            relation, limit = mark.split()
            holds = one <= float(limit) if relation == "<=" else one >= float(limit)
        self.found.append(Row(case, subject, one, unit, mark, holds, note, runs, dict(extra)))


class Bench(Protocol):
    """What `run` needs of a benchmark; its cases are methods of their names."""

    @property
    def rows(self) -> Rows: ...


def run(
    name: str,
    about: str | None,
    cases: Sequence[str],
    quick: Sequence[str],
    make: Callable[[tuple[Path, Path], argparse.Namespace, Callable[[str], None]], Bench],
    arguments: Sequence[str] | None,
    configure: Callable[[argparse.ArgumentParser], object] = lambda _: None,
) -> int:
    """Measure, write, print; 0 whatever was found.

    ``quick``: the cases of a quick look, which is written only where it is told to; ``make``: the
    benchmark, of both captured streams, the command line and who is told what happens.
    """
    parser = argparse.ArgumentParser(prog=f"python -m lab.bench.{name}", description=about)
    parser.add_argument("--captures", type=Path, help="where the streams are, or will be")
    parser.add_argument("--quick", action="store_true", help="a first look; writes no results")
    parser.add_argument("--only", action="append", choices=cases, help="may be repeated")
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    configure(parser)
    options = parser.parse_args(arguments)
    begun, began_at = time.monotonic(), commit()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:4.0f} s] {text}", file=sys.stderr, flush=True)

    bench = make(captures(options.captures), options, say)
    rows = bench.rows.found
    command = shlex.join(["python", "-m", f"lab.bench.{name}", *(arguments or sys.argv[1:])])
    for case in options.only or (quick if options.quick else cases):
        getattr(bench, case)()
        # After each case: what a later one stumbles over leaves those before it.
        if options.out or not (options.quick or options.only):
            write(options.out or RESULTS / f"{name}.json", rows, command, began_at)
    print(
        grid(
            ["case", "subject", "figure", "unit", "mark"],
            [
                [
                    row.case,
                    row.subject,
                    number(row.figure),
                    row.unit,
                    f"{row.mark} {'ok' if row.holds else 'MISSED'}" if row.mark else "",
                ]
                for row in rows
            ],
        )
    )
    print(f"\n{time.monotonic() - begun:.0f} s, {len(missing(rows))} rows miss their mark")
    return 0
