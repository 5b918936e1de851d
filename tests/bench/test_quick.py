"""The benchmarks run from end to end on small tables and find the right content; no times."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.bench import report
from lab.bench.subjects import SUBJECTS

ROOT = Path(__file__).parent.parent.parent
PROGRAM = {"vpnctl": sys.executable, "bird": "bird", "frr": "/usr/lib/frr/bgpd", "gobgp": "gobgpd"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.mark.daemon
@pytest.mark.parametrize("subject", PROGRAM)
def test_every_case_runs_and_finds_the_right_content(subject: str, tmp_path: Path) -> None:
    if shutil.which(PROGRAM[subject], path=_PATH) is None:
        pytest.skip(f"{PROGRAM[subject]} is not installed")
    out = tmp_path / "rows.json"
    done = _run("lab.bench.routes", "--quick", "--subjects", subject, "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    # What a rival cannot do has no content, and its note says why.
    assert not [row for row in rows if row.get("content") == "wrong" or row.get("failed")], rows
    verified = {row["case"].split("/")[0] for row in rows if row.get("content") == "verified"}
    assert {"load", "change", "own attributes", "new peer"} <= verified
    if subject == "vpnctl":
        assert {row["case"].split("/")[1] for row in rows if row["case"].startswith("load")} == {
            "vpnv4", "vpls", "evpn",
        }  # fmt: skip
        resent = [row["figure"] for row in rows if row["case"].startswith("re-sent")]
        assert resent == [100]
    page = report.render([out])
    assert "vpnv4/1k" in page
    assert SUBJECTS[subject].configuration in page


@pytest.mark.daemon
def test_a_crowd_of_peers_gets_the_right_content(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    done = _run("lab.bench.peers", "--quick", "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = {row["case"].split("/")[0]: row for row in json.loads(out.read_text())}
    assert {"convergence", "memory", "one rule", "one customer anew"} <= rows.keys()
    # One of them was hostile, and nobody else has noticed.
    assert rows["routes that others saw of it"]["figure"] == 0


@pytest.mark.daemon
def test_managed_routers_get_their_endpoint(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    done = _run("lab.bench.provision", "--quick", "--only", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    cases = {row["case"].split("/")[0] for row in json.loads(out.read_text())}
    assert "extend, command to routes" in cases
    assert "prepare, commit, confirm" in cases


def test_hostile_updates_are_judged(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    done = _run("lab.bench.hostile", "--updates", "4000", "--sent", "0", "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = {row["case"]: row for row in json.loads(out.read_text())}
    assert rows["engine/leaks, defects, wrong resets"]["figure"] == 0
    assert "told on" in rows["engine/UPDATEs taken"]["note"]


def test_the_engine_alone_gives_the_right_content() -> None:
    done = _run("lab.bench.engine", "--routes", "300", "--sinks", "2", "--only", "in order")
    assert done.returncode == 0, done.stderr
    assert "routes/s" in done.stdout
