"""The demo: it shows what PEs received, fails when that is not the policy, and leaves nothing."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.support.daemons import wait_until
from vpnctl.demo import play, stage
from vpnctl.demo.pes import Held
from vpnctl.demo.stay import changes
from vpnctl.demo.story import AFTER

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Where everything that the demo starts or leaves can be found: processes by their TMPDIR."""
    # A unix socket's path is short, and that of a test is not always.
    scratch = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("VPNCTL_SOCKET", str(scratch / "c.sock"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    yield {**os.environ, "PYTHONPATH": str(ROOT)}
    left = {path.name for path in scratch.iterdir()}
    shutil.rmtree(scratch)
    # The lock beside a controller's socket stays, so that two can never hold it.
    assert left <= {"c.sock.lock"}
    assert processes_with(f"TMPDIR={scratch}") == []


def processes_with(variable: str) -> list[str]:
    """Command lines of the other running processes that have a variable in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            if variable.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def vpnctl(environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vpnctl", *words],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.daemon
def test_the_demo_shows_a_rewritten_route(environment: dict[str, str]) -> None:
    done = vpnctl(environment, "demo")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    before, after = done.stdout.split("$ vpnctl extend E1 --site cloud2")
    assert "65000:101 is refused: no endpoint at pe-c2 exports it" in before
    assert "10.3.0.0/24 │" not in before
    assert "sites: [e1-hq, cloud1] -> [e1-hq, cloud1, cloud2]" in after
    assert "+  pe-c1  vpnv4  127.0.0.13:2:10.3.0.0/24  from pe-c2  65000:201" in after
    assert "last peer's last UPDATE out" in after
    assert "│ + 10.3.0.0/24 │ 127.0.0.13:2 │ 65000:201 │ E1" in after
    assert "Every PE received exactly what the policy says" in after


@pytest.mark.daemon
@pytest.mark.parametrize("wrong", ["peers", "story"])
def test_it_fails_when_the_peers_hold_something_else(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """Nothing is sent that the story tells of, and the story tells of what is not sent."""
    del environment
    command, wait_for = stage.Daemon.command, stage.Stage.wait_for

    def unheard(daemon: stage.Daemon, *words: str) -> None:
        if words[0] != "extend":
            command(daemon, *words)

    def impatient(running: stage.Stage, wanted: Any, what: str) -> None:
        if what == "the routes of the new policy":
            monkeypatch.setattr(stage, "PATIENCE_S", 2.0)
        wait_for(running, wanted, what)

    monkeypatch.setattr(stage.Stage, "wait_for", impatient)
    if wrong == "peers":
        monkeypatch.setattr(stage.Daemon, "command", unheard)
    else:
        invented = Held("10.9.0.0/16", "127.0.0.13:2", "65000:201")
        monkeypatch.setattr(play, "AFTER", {**AFTER, "pe-c1": {*AFTER["pe-c1"], invented}})
    screen = io.StringIO()
    assert play.run(Console(file=screen, width=120)) == 1
    assert "FAILED the demo waited 2 s in vain for the routes of the new policy" in (
        screen.getvalue()
    )
    assert "What the PEs hold" in screen.getvalue()
    assert "exactly what the policy says" not in screen.getvalue()


@pytest.mark.daemon
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_the_network_stays_shows_what_comes_and_goes_in_the_end(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    policies, shown = tmp_path / "my-network", tmp_path / "shown"
    with shown.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "vpnctl", "demo", "--stay", str(policies)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "Ctrl-C ends" in shown.read_text() or process.poll() is not None, "it")
        assert process.poll() is None, shown.read_text()
        done = vpnctl(environment, "extend", "E1", "--site", "cloud2", "--yes")
        assert done.returncode == 0, done.stderr
        line = "pe-c1  + 10.3.0.0/24  RD 127.0.0.13:2  target 65000:201  imported by E1"
        wait_until(lambda: line in shown.read_text(), "the route at pe-c1")
        assert "[e1-hq, cloud1, cloud2]" in (policies / "e1.yaml").read_text()

        second = vpnctl(environment, "demo", "--stay", str(policies))
        assert second.returncode == 6
        assert "a controller is already running" in second.stderr
    finally:
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == code
    assert vpnctl(environment, "check", str(policies)).returncode == 0


def test_a_change_of_what_is_held_is_told_route_by_route() -> None:
    same, old, new = (Held("10.1.0.0/24", f"65000:{rd}", "65000:201") for rd in (1, 2, 3))
    moved = Held("10.1.0.0/24", "65000:2", "65000:202")
    assert changes({"pe": {same}}, {"pe": {same}}) == []
    told = "imported by E1"
    assert changes({"pe": {same, old}}, {"pe": {same, new}}) == [
        f"pe  [red]-[/] 10.1.0.0/24  RD 65000:2  target 65000:201  {told}",
        f"pe  [green]+[/] 10.1.0.0/24  RD 65000:3  target 65000:201  {told}",
    ]
    assert changes({"pe": {old}}, {"pe": {moved}}) == [
        "pe  [yellow]~[/] 10.1.0.0/24  RD 65000:2  target 65000:202  imported by E2",
    ]


def test_a_directory_that_cannot_be_written_is_named(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = vpnctl(environment, "demo", "--stay", str(tmp_path / "file" / "policies"))
    assert done.returncode == 2
    assert f"{tmp_path}/file" in done.stderr
    assert "choose another directory" in done.stderr
