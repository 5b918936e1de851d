"""The paper's testbed on this machine: how fast it is there, how fast gone, and its memory.

``python -m lab.bench.testbed [--quick] [--out FILE]``; takes root and FRR.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from vpnctl.cli.lab.signals import end_in_order
from vpnctl.errors import VpnctlError
from vpnctl.lab import lifecycle, sessions
from vpnctl.lab.build import Source, up
from vpnctl.lab.copying import copy_bound
from vpnctl.lab.inspect import view
from vpnctl.lab.reading import read_topology

TOPOLOGY = Path(__file__).parent.parent / "cloudnet.clab.yml"
#: Seconds and MB.
UP_MARK, MEMORY_MARK = 20.0, 1000.0


def measure(runs: int) -> list[Row]:
    """The testbed so many times up and down."""
    ups, downs, memory = [], [], []
    for run in range(runs):
        print(f"run {run + 1} of {runs} ...", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="vl-") as scratch:
            os.environ["VPNCTL_LAB_DIR"] = f"{scratch}/labs"
            text = TOPOLOGY.read_text()
            copy_bound(read_topology(TOPOLOGY.name, text.encode()), TOPOLOGY.parent, Path(scratch))
            begun = time.monotonic()
            lab = up(Source(TOPOLOGY.name, text, Path(scratch)), lambda *_: None)
            ups.append(time.monotonic() - begun)
            try:
                sessions.wait_routes(lab)
                memory.append(sum(node.memory_kib for node in view(lab).nodes) * 1024 / 1e6)
            finally:
                begun = time.monotonic()
                lifecycle.down(lab.name)
                downs.append(time.monotonic() - begun)
    return [
        _row("up, until every session is established", ups, "s", UP_MARK),
        _row("down", downs, "s"),
        _row("memory of all nodes", memory, "MB", MEMORY_MARK),
    ]


def _row(case: str, runs: list[float], unit: str, mark: float | None = None) -> Row:
    """The median; the mark is for the worst."""
    return Row(
        case, "vpnctl", statistics.median(runs), unit,
        f"worst at most {mark:g}" if mark is not None else "",
        max(runs) <= mark if mark is not None else None,
        note=f"worst of {len(runs)}: {number(max(runs))} {unit}", runs=runs,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 whatever was found, 2 where it cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.testbed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run; not written")
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    options = parser.parse_args(arguments)
    end_in_order()
    began_at = commit()
    try:
        rows = measure(1 if options.quick else 5)
    except VpnctlError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    command = shlex.join(["python", "-m", "lab.bench.testbed", *(arguments or sys.argv[1:])])
    if options.out or not options.quick:
        write(options.out or RESULTS / "testbed.json", rows, command, began_at)
    told = {True: "ok", False: "MISSED", None: ""}
    print(
        grid(
            ["case", "median", "unit", "mark", ""],
            [[row.case, number(row.figure), row.unit, row.mark, told[row.holds]] for row in rows],
        )
    )
    print(f"\n{len(missing(rows))} rows miss their mark")
    return 0


if __name__ == "__main__":
    sys.exit(main())
