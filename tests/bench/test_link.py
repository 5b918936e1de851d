"""The benchmark of the connection runs from end to end; no times."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sidecar.stream.samples import SAMPLES, sample
from tests.support.guest_image import MissingError, kernel
from tests.support.qemu import find_qemu

ROOT = Path(__file__).parent.parent.parent


def rows_of(tmp_path: Path, *cases: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What ``--quick`` finds of ``cases``."""
    for name in ("first", "second"):
        (tmp_path / f"{name}.stream").write_bytes(sample(SAMPLES[0]))
    out = tmp_path / "rows.json"
    only = [word for case in cases for word in ("--only", case)]
    words = ("--captures", str(tmp_path), "--quick", "--out", str(out), *only)
    done = subprocess.run(
        [sys.executable, "-m", "lab.bench.link", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {(row["case"], row["subject"]): row for row in json.loads(out.read_text())}


@pytest.mark.daemon
def test_streams_and_cuts_end_in_the_right_octets(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "speed", "cuts")
    assert [case for case, _ in rows] == [
        "chain/all",
        "chain/zstd",
        "chain/none",
        "20 random cuts in 80 MB/growth of what was sent",
    ]
    assert {row["content"] for row in rows.values()} == {"verified"}


@pytest.mark.daemon
def test_a_guest_survives_cuts_and_both_links(tmp_path: Path) -> None:
    try:
        kernel()
        find_qemu()
    except MissingError as missing:
        pytest.skip(str(missing))
    if os.geteuid() != 0 or shutil.which("ping") is None:
        pytest.skip("an emulated link takes root and ping")
    rows = rows_of(tmp_path, "guest_cuts", "slow", "fast")
    assert rows["cuts that a guest's memory survived in one migration", "vpnctl"]["figure"] == 20
    for case in ("busy guest, 100 Mb/s, 20 ms", "busy guest, 10 Gb/s"):
        total, pause = (rows[f"{case}/{what}", "vpnctl"]["figure"] for what in ("total", "pause"))
        assert 0 < pause / 1000 < total
    for alone in ("QEMU", "QEMU, TLS", "two relays, TLS"):
        assert rows["busy guest, 10 Gb/s/total", alone]["figure"] > 0
        assert rows[f"busy guest, 10 Gb/s/total, ratio to {alone}", "vpnctl"]["figure"] > 0
    assert rows["busy guest, 100 Mb/s, 20 ms/sent", "zstd-long"]["figure"] > 0
    assert {row["content"] for row in rows.values()} == {"verified"}
