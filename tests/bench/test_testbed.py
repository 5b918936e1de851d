"""The benchmark of the testbed runs from end to end; no times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.bench import report
from tests.support.lab import ROOT, require_lab


@pytest.mark.daemon
def test_every_case_gives_a_figure(tmp_path: Path) -> None:
    require_lab()
    out = tmp_path / "testbed.json"
    done = subprocess.run(
        [sys.executable, "-m", "lab.bench.testbed", "--quick", "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["case"]: row for row in json.loads(out.read_text())}
    assert len(rows) == 3
    assert all(row["figure"] is not None for row in rows.values())
    assert "memory of all nodes" in report.render([out])
