"""``vpnctl serve`` as a process with the real controller, and the command line against it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.daemon

Start = Callable[..., "subprocess.Popen[str]"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def directory(vpnctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The starter network on a free port, and a socket and store of its own."""
    vpnctl("init", str(tmp_path / "policies"))
    network = tmp_path / "policies" / "network.yaml"
    network.write_text(network.read_text().replace(":1790", f":{free_port()}"))
    monkeypatch.setenv("VPNCTL_SOCKET", str(tmp_path / "c.sock"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    """Starts ``vpnctl serve``; whatever still runs in the end is stopped."""
    running: list[subprocess.Popen[str]] = []

    def run(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "vpnctl", "serve", *words],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def ready(process: subprocess.Popen[str]) -> str:
    """Its first line, written when it answers."""
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("listening on "), line + process.stderr.read()
    return line


def test_serves_extends_and_stops(vpnctl: Any, directory: Path, start: Start) -> None:
    process = start()
    line = ready(process)
    assert f"API on unix:{directory}/c.sock, 2 VPNs, revision 1" in line
    policy = directory / "policies" / "e1.yaml"
    before = policy.read_text()

    shown = vpnctl("extend", "E1", "--site", "cloud2", "--dry-run")
    assert shown.exit_code == 0
    assert policy.read_text() == before
    done = vpnctl("extend", "E1", "--site", "cloud2", "--yes")
    assert done.exit_code == 0
    assert done.stdout.startswith(shown.stdout)
    assert "E1 is now e1-hq, cloud1, cloud2 (revision 2). Undo: vpnctl rollback 1" in done.stdout
    assert policy.read_text() != before
    vpns = json.loads(vpnctl("show", "vpns", "-o", "json").stdout)["vpns"]
    assert vpns[0]["sites"] == ["e1-hq", "cloud1", "cloud2"]

    for words in (
        ("plan",),
        ("show", "peers", "-o", "wide"),
        ("show", "vpns", "-o", "wide"),
        ("show", "sites"),
        ("show", "targets"),
        ("show", "rib-in", "--peer", "pe-e1"),
        ("show", "rib-out", "--peer", "pe-e1"),
        ("history", "2"),
        ("diff", "1", "2"),
        ("graph", "targets"),
        ("rollback", "1", "--yes"),
    ):
        result = vpnctl(*words)
        said = "no route; the session with pe-e1 is down: active\n" if "--peer" in words else ""
        assert (result.exit_code, result.stderr) == (0, said), words
    assert policy.read_text() == before

    second = start()
    assert second.wait(30) == 6
    assert second.stderr is not None
    assert "already running" in second.stderr.read()
    assert vpnctl("status").exit_code == 0

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert not (directory / "c.sock").exists()


def test_edits_wait_for_apply_and_a_start_says_so(
    vpnctl: Any, directory: Path, start: Start
) -> None:
    first = start()
    ready(first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    policy = directory / "policies" / "e1.yaml"
    policy.write_text(policy.read_text() + "description: edited\n")
    second = start()
    assert "revision 1" in ready(second)
    assert second.stderr is not None
    notice = second.stderr.readline()
    assert notice.startswith("policies is not what revision 1 has: 'vpnctl plan' shows")
    assert vpnctl("apply", "--yes").exit_code == 0
    assert "number=2 summary='apply policies'" in second.stderr.readline()


def test_mistakes_keep_it_from_starting(directory: Path, start: Start) -> None:
    (directory / "policies" / "e9.yaml").write_text("vpn: E9\n")
    process = start()
    assert process.wait(30) == 3
    assert process.stderr is not None
    assert "policies/e9.yaml:1:" in process.stderr.read()
    assert not (directory / "c.sock").exists()


def test_a_store_that_cannot_be_opened(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPNCTL_STORE", "sqlite:////dev/null/store.db")
    assert start().wait(30) == 7


def test_loopback_tcp_and_metrics(vpnctl: Any, start: Start) -> None:
    import httpx

    line = ready(start("--http", "127.0.0.1:0"))
    url = next(word for word in line.split() if word.startswith("http:")).rstrip(",")
    assert vpnctl("status", "--url", url).exit_code == 0
    assert "# TYPE" in httpx.get(f"{url}/metrics").text


def test_mutual_tls(vpnctl: Any, start: Start, certificates: Path) -> None:
    options = [
        f"--tls-{option}={certificates / file}"
        for option, file in (("cert", "server.pem"), ("key", "server.key"), ("client-ca", "ca.pem"))
    ]
    line = ready(start("--http", "127.0.0.1:0", *options))
    url = next(word for word in line.split() if word.startswith("https:")).rstrip(",")
    known = [
        f"--{option}={certificates / file}"
        for option, file in (("cert", "client.pem"), ("key", "client.key"), ("ca", "ca.pem"))
    ]
    assert vpnctl("status", "--url", url, *known).exit_code == 0
    for words in (known[2:], known[:2]):
        stranger = vpnctl("status", "--url", url, *words)
        assert stranger.exit_code == 6
        assert stranger.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "words",
    [
        ("--http", "0.0.0.0:8080"),
        ("--http", "8080"),
        ("--http", "127.0.0.1:http"),
        ("--tls-cert", "c.pem"),
        ("--http", "127.0.0.1:0", "--tls-cert", "c.pem"),
    ],
)
def test_unsafe_or_senseless_addresses(
    vpnctl: Any, directory: Path, words: tuple[str, ...]
) -> None:
    result = vpnctl("serve", *words)
    assert result.exit_code == 2
    assert not (directory / "c.sock").exists()


def test_a_password_on_the_command_line_is_refused(start: Start) -> None:
    process = start("--store", "postgresql://vpnctl:s3cret@db.example/vpnctl")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "PGPASSFILE" in said
    assert "s3cret" not in said
