"""The benchmark of WAN links runs from end to end; no times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.bench import report
from tests.support.daemons import require
from tests.support.namespaces import require_root

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.daemon
def test_every_case_gives_a_figure(tmp_path: Path) -> None:
    require_root()
    require("iperf3", "ping")
    out = tmp_path / "wan.json"
    done = subprocess.run(
        [sys.executable, "-m", "lab.bench.wan", "--quick", "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["case"]: row for row in json.loads(out.read_text())}
    assert all(row["figure"] is not None for row in rows.values())
    asked = "465 Mb/s/13.5 ms"
    assert rows[f"round trip, median, idle/{asked}"]["figure"] >= 27
    # No more than was allowed passes, but for the bucket's octets and the last look at a clock.
    for how in ("udp", "tcp"):
        assert 0 < rows[f"rate, {how}/{asked}"]["figure"] < 465 * 1.2
    (lost,) = [row["figure"] for case, row in rows.items() if case.startswith("lost of")]
    assert 0 <= lost < 5
    assert asked in report.render([out])
