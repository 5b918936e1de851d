"""Every story of ``tests/scenarios`` on this machine, some times over: ``results/stories.json``.

A figure is the median of its runs; it holds when each of them does.  A story that fails ends the
benchmark: a figure of something that went wrong says nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

import pytest

from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from tests.scenarios.figures import Figure, figures_of

_STORIES = Path(__file__).parent.parent.parent / "tests" / "scenarios"


class Collector:
    """A plug-in of pytest that takes the figures of the stories that passed."""

    def __init__(self) -> None:
        self.found: list[Figure] = []
        self.skipped = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.skipped |= report.skipped
        if report.when == "call" and report.passed:
            self.found += figures_of(report)


def run(stories: list[str]) -> list[Figure]:
    """The figures of one run; raises `SystemExit` where a story fails or is skipped."""
    collector = Collector()
    paths = [str(_STORIES / story) for story in stories] or [str(_STORIES)]
    code = pytest.main(
        ["-q", "-x", "-m", "daemon", "-p", "no:cacheprovider", *paths], plugins=[collector]
    )
    if code != pytest.ExitCode.OK or collector.skipped:
        raise SystemExit("error: the stories must pass, all of them, before they are measured")
    return collector.found


def rows(runs: list[list[Figure]]) -> list[Row]:
    """One row for each case, in the order of the first run."""
    found = []
    for first in runs[0]:
        figures = [figure for run in runs for figure in run if figure.case == first.case]
        milliseconds = [figure.seconds * 1000 for figure in figures]
        found.append(
            Row(
                case=first.case,
                subject="vpnctl",
                figure=median(milliseconds),
                unit="ms",
                mark="" if first.at_most is None else f"<= {first.at_most * 1000:.4g} ms",
                holds=None if first.at_most is None else max(milliseconds) <= first.at_most * 1000,
                note=first.note,
                runs=milliseconds,
            )
        )
    return found


def main() -> int:
    """Run, print, write; 1 where a mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stories", nargs="*", metavar="STORY", help="folders; default: all")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "stories.json")
    options = parser.parse_args()
    began_at = commit()
    found = rows([run(options.stories) for _ in range(options.runs)])
    write(options.out, found, " ".join(["python -m lab.bench.stories", *sys.argv[1:]]), began_at)
    marks = {True: "holds", False: "missed", None: ""}
    body = [[row.case, number(row.figure), row.unit, row.mark, marks[row.holds]] for row in found]
    print(grid(["case", "median", "unit", "mark", ""], body))
    print(f"wrote {options.out}", file=sys.stderr)
    return 1 if missing(found) else 0


if __name__ == "__main__":
    sys.exit(main())
