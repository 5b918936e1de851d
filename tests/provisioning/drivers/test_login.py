"""Who is let in, and by whom: host keys and users' keys."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest

from tests.provisioning.drivers.conftest import Bench
from vpnctl.errors import ConnectError, HostKeyError
from vpnctl.lab.junos.faults import drop
from vpnctl.model import Timeouts
from vpnctl.provisioning.driver import Driver


async def nothing(_: Driver) -> None:
    """To be in is enough."""


def test_a_key_in_a_known_hosts_file(bench: Bench) -> None:
    file = bench.router.keys.known_hosts(bench.router.port)
    bench.run(nothing, host_key=str(file))
    assert bench.router.left_behind == []


def test_a_key_that_the_user_knows(bench: Bench, home: Path) -> None:
    (home / ".ssh").mkdir()
    known = bench.router.keys.known_hosts(bench.router.port).read_text()
    (home / ".ssh" / "known_hosts").write_text(known)
    bench.run(nothing, host_key="")


@pytest.mark.usefixtures("home")
def test_a_key_that_nobody_knows(bench: Bench) -> None:
    with pytest.raises(HostKeyError, match=r"pe1 .*known_hosts") as refused:
        bench.run(nothing, host_key="")
    assert f"shows the host key {bench.router.keys.fingerprint}" in refused.value.message


def test_another_key_than_the_policys_is_not_saved_by_the_users(bench: Bench, home: Path) -> None:
    """The fingerprint in the policy is what counts, whatever else is known."""
    (home / ".ssh").mkdir()
    known = bench.router.keys.known_hosts(bench.router.port).read_text()
    (home / ".ssh" / "known_hosts").write_text(known)
    other = asyncssh.generate_private_key("ssh-ed25519").get_fingerprint()
    with pytest.raises(HostKeyError) as refused:
        bench.run(nothing, host_key=other)
    assert f"shows the host key {bench.router.keys.fingerprint}" in refused.value.message
    assert f"expected is {other}" in refused.value.message
    assert bench.router.left_behind == []


def test_a_known_hosts_file_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="nowhere"):
        bench.run(nothing, host_key=str(tmp_path / "nowhere"))


def test_a_user_whose_key_the_router_does_not_know(bench: Bench, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "other")
    with pytest.raises(ConnectError, match=r"pe1 .* does not let vpnctl in with the key"):
        bench.run(nothing, key=str(tmp_path / "other"))
    assert bench.router.left_behind == []


def test_a_user_without_a_key(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(ConnectError, match="any key of the SSH agent"):
        bench.run(nothing, key="")


@pytest.mark.parametrize("kind", ["device", "pipe", "large file", "folder"])
def test_a_private_key_that_is_none(kind: str, bench: Bench, tmp_path: Path) -> None:
    """It is not opened: one of these never ends, and one waits for ever."""
    key = tmp_path / "key"
    if kind == "device":
        key = Path("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(key)
    elif kind == "folder":
        key.mkdir()
    else:
        key.write_bytes(bytes(1 << 20))
    with pytest.raises(ConnectError, match=f"pe1: {key} is no private key"):
        bench.run(nothing, key=str(key))


def test_a_private_key_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"pe1: the private key .*nowhere cannot be read: No"):
        bench.run(nothing, key=str(tmp_path / "nowhere"))


def test_nobody_listens(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectError, match=f"pe1 .* port {port}"):
        bench.run(nothing, port=port)


def test_somebody_listens_and_says_nothing(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConnectError, match=r"pe1 .* did not answer within 0\.2 s"):
            bench.run(nothing, port=port, timeouts=Timeouts(connect=0.2))


def test_somebody_listens_and_speaks_another_language(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def talk(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        thread.submit(talk, server)
        with pytest.raises(ConnectError, match=r"pe1 .* cannot be reached"):
            bench.run(nothing, port=server.getsockname()[1])
    assert caplog.records == [], "a library's traceback is not for the operator"


def test_the_connection_is_cut_at_once(bench: Bench) -> None:
    bench.router.fault("connect", drop())
    with pytest.raises(ConnectError, match="pe1"):
        bench.run(nothing)
