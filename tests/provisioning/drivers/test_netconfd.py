"""The driver for RFC 6241 on a server that is not ours: netconfd of yuma123."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from socket import AF_UNIX
from socket import socket as connection

import asyncssh
import pytest

from tests.controller.stage import until
from tests.support.daemons import require, wait_until
from tests.support.junos import Keys
from vpnctl.errors import LockedError, OutcomeUnknownError, RejectedError, UnverifiedError
from vpnctl.model import EVPN, Listen, Netconf, Pe, Timeouts
from vpnctl.provisioning.driver import CommitState, Driver
from vpnctl.provisioning.drivers import open_driver
from vpnctl.provisioning.rendered import Rendered

pytestmark = pytest.mark.daemon

PERSIST = "vpnctl-0123456789abcdef"

#: The end of a message until both have said hello.
_END = b"]]>]]>"

MODEL = """\
module vpnctl-test {
  namespace "urn:vpnctl:test";
  prefix t;
  revision 2024-01-01;
  container vpns {
    list vpn {
      key name;
      leaf name { type string; }
      leaf target { type string { pattern "[0-9]+:[0-9]+"; } mandatory true; }
    }
  }
}
"""
BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
CONTENT = (
    f'<config xmlns="{BASE}" xmlns:nc="{BASE}"><vpns xmlns="urn:vpnctl:test">'
    '<vpn nc:operation="replace"><name>E1</name><target>{}</target></vpn></vpns></config>'
)
OWNED = ("/{urn:vpnctl:test}vpns/vpn[name='E1']",)


def rendered(target: str = "65000:1") -> Rendered:
    return Rendered("pe1", "acme", "netconf-xml", CONTENT.format(target), OWNED, ())


NOTHING = Rendered("pe1", "acme", "netconf-xml", f'<config xmlns="{BASE}"/>', (), OWNED)


@dataclass
class Server:
    """netconfd, its socket, keys to log in at the SSH server in front of it, and its log."""

    socket: Path
    keys: Keys
    log: Path

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """What sshd does with its subsystem ``netconf``."""
        program = await asyncio.create_subprocess_exec(
            "netconf-subsystem",
            # It takes only who came to NETCONF's own port.
            f"--ncxserver-sockname=830@{self.socket}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={
                "PATH": "/usr/sbin:/usr/bin",
                "USER": "root",
                "HOME": "/root",
                "SSH_CONNECTION": "127.0.0.1 40000 127.0.0.1 830",
            },
        )
        assert program.stdin is not None
        assert program.stdout is not None
        try:
            hello = await program.stdout.readuntil(_END)
            process.stdout.write(hello)
            session = hello.partition(b"<session-id>")[2].partition(b"<")[0].decode()
            answers = asyncio.ensure_future(pass_on(program.stdout, process))
            program.stdin.write(await process.stdin.readuntil(_END))
            await program.stdin.drain()
            # A request on the heels of the hello is carried out, but netconfd keeps the answer to
            # itself.
            await until(lambda: self.is_active(session), "netconfd to have taken the hello")
            while octets := await process.stdin.read(1 << 16):
                program.stdin.write(octets)
                await program.stdin.drain()
        finally:
            # Also when the test is over before: somebody waits for what it says.
            with contextlib.suppress(ProcessLookupError):
                program.kill()
            await program.wait()
        await answers

    def is_active(self, session: str) -> bool:
        """Whether netconfd has taken a session's hello."""
        return f"\nSession {session} for " in self.log.read_text()


def listens(socket: Path) -> bool:
    """Its file is there a little earlier."""
    with connection(AF_UNIX) as attempt:
        return attempt.connect_ex(str(socket)) == 0


async def pass_on(source: asyncio.StreamReader, process: asyncssh.SSHServerProcess[bytes]) -> None:
    while octets := await source.read(1 << 16):
        process.stdout.write(octets)
    process.exit(0)


@pytest.fixture
def server(tmp_path: Path, keys: Keys) -> Iterator[Server]:
    require("netconfd", "netconf-subsystem")
    model, socket = tmp_path / "vpnctl-test.yang", tmp_path / "socket"
    model.write_text(MODEL)
    said = tmp_path / "log"
    with said.open("wb") as log:
        daemon = subprocess.Popen(
            ["netconfd", f"--module={model}", "--no-startup", "--target=candidate",
             "--access-control=off", "--superuser=vpnctl", f"--ncxserver-sockname={socket}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=tmp_path,
        )  # fmt: skip
    try:
        wait_until(lambda: listens(socket), "netconfd to listen")
        yield Server(socket, keys, said)
    finally:
        daemon.terminate()
        daemon.wait(20)


class Visit:
    """An SSH server in front of netconfd, and drivers that log in there."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._drivers: list[Driver] = []

    async def __aenter__(self) -> Visit:
        keys = self._server.keys
        self._acceptor = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[keys.access.host_key], encoding=None,
            authorized_client_keys=asyncssh.import_authorized_keys(keys.access.authorized),
            process_factory=self._server.serve,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        for driver in self._drivers:
            await driver.close()
        self._acceptor.close()
        await self._acceptor.wait_closed()

    async def driver(self) -> Driver:
        keys = self._server.keys
        access = Netconf(
            user="vpnctl", key=str(keys.client), port=self._acceptor.get_port(),
            host_key=keys.fingerprint, timeouts=Timeouts(connect=20, rpc=20, commit=20),
        )  # fmt: skip
        pe = Pe(
            name="pe1", address=IPv4Address("127.0.0.1"), asn=65000, platform="acme",
            families=frozenset({EVPN}), listen=Listen(IPv4Address("127.0.0.1")), port="",
            vlans=(1, 4094), netconf=access,
        )  # fmt: skip
        driver = open_driver(pe)
        self._drivers.append(driver)
        await driver.connect()
        return driver


def test_a_change_from_lock_to_confirmation_and_away_again(server: Server) -> None:
    async def story() -> None:
        async with Visit(server) as visit:
            driver = await visit.driver()
            await driver.lock()
            await driver.load(rendered())
            assert "65000:1" in await driver.diff()
            await driver.commit_confirmed(PERSIST, 60)
            await driver.verify()
            await driver.confirm(PERSIST)
            assert "65000:1" in await driver.running(OWNED)
            await driver.load(rendered())
            assert await driver.diff() == ""
            await driver.load(NOTHING)
            await driver.commit_confirmed(PERSIST, 60)
            await driver.verify()
            await driver.confirm(PERSIST)
            await driver.unlock()
            assert await driver.running(OWNED) == ""
            assert (await driver.probe()).missing == ()

    asyncio.run(story())


def test_a_commit_that_is_answered_and_not_done_is_found_out(server: Server) -> None:
    """This server forgets the candidate when it has validated it, and then commits nothing."""

    async def story() -> None:
        async with Visit(server) as visit:
            driver = await visit.driver()
            await driver.lock()
            await driver.load(rendered())
            await driver.check()
            await driver.commit_confirmed(PERSIST, 60)
            with pytest.raises(UnverifiedError, match=r"pe1 says that it has committed.*65000:1"):
                await driver.verify()
            await driver.cancel(PERSIST)
            assert await driver.running(OWNED) == ""

    asyncio.run(story())


def test_a_commit_outlives_its_session_and_is_cancelled_by_another(server: Server) -> None:
    async def story() -> None:
        async with Visit(server) as visit:
            first = await visit.driver()
            await first.lock()
            await first.load(rendered())
            await first.commit_confirmed(PERSIST, 60)
            await first.close()
            second = await visit.driver()
            assert await second.pending(PERSIST) is not CommitState.NONE
            assert "65000:1" in await second.running(OWNED)
            await second.cancel(PERSIST)
            assert await second.running(OWNED) == ""
            assert await second.pending(PERSIST) is CommitState.NONE

    asyncio.run(story())


def test_what_it_refuses_and_whom_it_lets_wait(server: Server) -> None:
    async def story() -> None:
        async with Visit(server) as visit:
            first, second = await visit.driver(), await visit.driver()
            await first.lock()
            with pytest.raises(LockedError, match="pe1"):
                await second.lock()
            with pytest.raises(RejectedError, match="pe1 refuses `load`"):
                await first.load(rendered("nonsense"))
            assert await first.diff() == ""
            with pytest.raises((RejectedError, OutcomeUnknownError)):
                await first.confirm(PERSIST)

    asyncio.run(story())
