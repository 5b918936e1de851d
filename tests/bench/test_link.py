"""The benchmark of the connection runs from end to end; no times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sidecar.stream.samples import SAMPLES, sample

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.daemon
def test_streams_and_cuts_end_in_the_right_octets(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.stream").write_bytes(sample(SAMPLES[0]))
    out = tmp_path / "rows.json"
    words = ("--captures", str(tmp_path), "--quick", "--out", str(out))
    done = subprocess.run(
        [sys.executable, "-m", "lab.bench.link", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    assert [row["case"] for row in rows] == [
        "chain/all",
        "chain/zstd",
        "chain/none",
        "20 random cuts in 80 MB/growth of what was sent",
    ]
    assert {row["content"] for row in rows} == {"verified"}
