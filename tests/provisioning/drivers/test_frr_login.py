"""FRR at the end of SSH: who is let in, and that the agent comes along."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from io import BufferedReader
from ipaddress import IPv4Address
from pathlib import Path

import asyncssh
import pytest

from tests.support.junos import Keys
from vpnctl.errors import ConnectError, HostKeyError
from vpnctl.model import EVPN, Frr, Listen, Pe, Timeouts
from vpnctl.provisioning.drivers import open_driver

#: What the router has as vtysh.
VTYSH = """#!/bin/sh
case "$*" in
  *version*) echo "FRRouting 8.4.4 (pe1)" ;;
  *running*) echo "router bgp 65001" ;;
esac
"""


@pytest.fixture
def router(tmp_path: Path, keys: Keys) -> Pe:
    """How to log in to a router whose shell is this machine's."""
    (tmp_path / "bin").mkdir()
    vtysh = tmp_path / "bin" / "vtysh"
    vtysh.write_text(VTYSH)
    vtysh.chmod(0o755)
    sockets = tmp_path / "run"
    sockets.mkdir()
    return Pe(
        name="pe1", address=IPv4Address("127.0.0.1"), asn=65001, platform="frr-evpn",
        families=frozenset({EVPN}), listen=Listen(IPv4Address("127.0.0.1")), port="",
        vlans=(1, 4094),
        frr=Frr(
            user="vpnctl", key=str(keys.client), host_key=keys.fingerprint,
            vty_socket=str(sockets), timeouts=Timeouts(connect=20, rpc=20, commit=20),
        ),
    )  # fmt: skip


async def run(process: asyncssh.SSHServerProcess[bytes], path: Path) -> None:
    """A login shell that finds the router's programs."""
    shell = shell_of(f"PATH={path}:$PATH; exec {process.command}")
    assert shell.stdin is not None
    assert isinstance(shell.stdout, BufferedReader)
    answers = asyncio.ensure_future(pass_on(shell.stdout, process))
    try:
        while octets := await process.stdin.read(1 << 16):
            shell.stdin.write(octets)
            shell.stdin.flush()
    finally:
        # Also when the test is over before: somebody waits for what it says.
        shell.kill()
        shell.wait()
    await answers


async def pass_on(source: BufferedReader, process: asyncssh.SSHServerProcess[bytes]) -> None:
    while octets := await asyncio.to_thread(source.read1, 1 << 16):
        process.stdout.write(octets)


def shell_of(command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


async def visit(router: Pe, keys: Keys, **other: str) -> tuple[str, str]:
    """Version and running configuration, asked of the router over SSH."""
    assert router.frr is not None
    path = Path(router.frr.vty_socket).parent / "bin"
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[keys.access.host_key], encoding=None,
        authorized_client_keys=asyncssh.import_authorized_keys(keys.access.authorized),
        process_factory=lambda process: run(process, path),
    )  # fmt: skip
    access = replace(router.frr, port=server.get_port(), **other)
    driver = open_driver(replace(router, frr=access))
    try:
        await driver.connect()
        await driver.lock()
        return (await driver.probe()).version, await driver.configuration()
    finally:
        await driver.close()
        server.close()
        await server.wait_closed()


def test_the_agent_runs_on_the_router(router: Pe, keys: Keys) -> None:
    version, running = asyncio.run(visit(router, keys))
    assert version == "FRRouting 8.4.4 (pe1)"
    assert running == "router bgp 65001\n"


def test_another_host_key(router: Pe, keys: Keys) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").get_fingerprint()
    with pytest.raises(HostKeyError) as refused:
        asyncio.run(visit(router, keys, host_key=other))
    assert f"shows the host key {keys.fingerprint}" in refused.value.message
    assert f"expected is {other}" in refused.value.message


def test_a_private_key_that_is_not_there(router: Pe, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"pe1: the private key .*nowhere cannot be read: No"):
        asyncio.run(visit(router, keys, key=str(tmp_path / "nowhere")))


@pytest.mark.usefixtures("home")
def test_a_host_key_that_nobody_knows(router: Pe, keys: Keys) -> None:
    with pytest.raises(HostKeyError, match=r"pe1 .*known_hosts"):
        asyncio.run(visit(router, keys, host_key=""))


def test_a_key_that_the_router_does_not_know(router: Pe, keys: Keys, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "other")
    with pytest.raises(ConnectError, match=r"pe1 .* does not let vpnctl in with the key"):
        asyncio.run(visit(router, keys, key=str(tmp_path / "other")))
