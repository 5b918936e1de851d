"""A router that lies, or that somebody else speaks for, costs a session and nothing more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

import asyncssh
import pytest

from tests.controller.stage import until
from tests.support.junos import Keys
from vpnctl.errors import ConnectError
from vpnctl.model import EVPN, Listen, Netconf, Pe, Timeouts
from vpnctl.provisioning.drivers import open_driver, ssh

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
HELLO = (
    f'<hello xmlns="{BASE}"><capabilities><capability>{BASE}</capability></capabilities>'
    "<session-id>7</session-id></hello>]]>]]>"
)
LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n + 1} "{10 * f"&a{n};"}">' for n in range(9))
    + "]>"
)
OK = '<rpc-reply xmlns="{}" message-id="{}"><ok/></rpc-reply>]]>]]>'
OURS = "/configuration/system"

#: What a router says to a request with this identifier, piece by piece.
Reply = Callable[[str], AsyncIterator[str]]


async def laughs(number: str) -> AsyncIterator[str]:
    yield LAUGHS + OK.format(BASE, number).replace("<ok/>", "<ok>&a9;</ok>")


async def endless(_: str) -> AsyncIterator[str]:
    yield "<rpc-reply>"
    while True:
        yield "a" * 65536


async def chatter(_: str) -> AsyncIterator[str]:
    while True:
        yield (
            '<notification xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0">'
            + "a" * 65536
            + "</notification>]]>]]>"
        )


async def drip(_: str) -> AsyncIterator[str]:
    while True:
        yield " "
        await asyncio.sleep(0.02)


async def another_id(_: str) -> AsyncIterator[str]:
    yield OK.format(BASE, "urn:uuid:somebody-elses")


async def nonsense(_: str) -> AsyncIterator[str]:
    yield "<rpc-reply<<]]>]]>"


async def deep(number: str) -> AsyncIterator[str]:
    inner = 200_000 * "<a>" + 200_000 * "</a>"
    yield OK.format(BASE, number).replace("<ok/>", f"<configuration>{inner}</configuration>")


@dataclass
class Liar:
    """Says ``hello``, and then one thing to whatever is asked."""

    reply: Reply
    hello: str = HELLO

    async def serve(self, process: asyncssh.SSHServerProcess[str]) -> None:
        try:
            process.stdout.write(self.hello)
            await process.stdin.readuntil("]]>]]>")
            while True:
                asked = await process.stdin.readuntil("]]>]]>")
                number = asked.partition('message-id="')[2].partition('"')[0]
                async for piece in self.reply(number):
                    if process.is_closing():
                        return
                    process.stdout.write(piece)
                    await process.stdout.drain()
        except (asyncio.IncompleteReadError, asyncssh.Error, OSError):
            process.exit(1)


def router(port: int, keys: Keys, platform: str, timeouts: Timeouts) -> Pe:
    """Whoever answers at that port."""
    here = IPv4Address("127.0.0.1")
    access = Netconf("vpnctl", str(keys.client), here, port, keys.fingerprint, timeouts)
    vlans = (1, 4094)
    families = frozenset({EVPN})
    return Pe(
        "pe1", here, 65000, platform, families, Listen(here), "ge-0/0/1", vlans, netconf=access
    )


def meet(liar: Liar, keys: Keys, platform: str) -> BaseException | None:
    """What becomes of a lock with that router; nothing of the session is left."""

    class Anybody(asyncssh.SSHServer):
        def begin_auth(self, _: str) -> bool:
            return False

    async def story() -> BaseException | None:
        acceptor = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Anybody, process_factory=liar.serve,
            server_host_keys=[keys.access.host_key],
        )  # fmt: skip
        # Only of what is no answer at all is there nothing but the time that it takes.
        rpc = 0.5 if liar.reply in (drip, nonsense) else 20
        timeouts = Timeouts(connect=20, rpc=rpc, commit=rpc)
        driver = open_driver(router(acceptor.get_port(), keys, platform, timeouts))
        try:
            await driver.connect()
            await driver.running((OURS,))
        except ConnectError as error:
            return error
        finally:
            await driver.close()
            acceptor.close()
        return None

    return asyncio.run(asyncio.wait_for(story(), 60))


@pytest.mark.parametrize("platform", ["junos-mx", "acme"])
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (laughs, "pe1 sends a document type declaration, at `show configuration`"),
        (endless, "pe1 sends more than 1 MiB in answer, at `show configuration`"),
        (chatter, "pe1 "),
        (drip, "did not answer in time"),
        (another_id, "pe1 "),
        (nonsense, "did not answer in time"),
    ],
)
def test_an_answer_that_is_none_ends_the_session(
    reply: Reply, words: str, platform: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "MOST_OCTETS", 1 << 20)
    error = meet(Liar(reply), keys, platform)
    assert isinstance(error, ConnectError)
    assert words in error.message


def test_a_first_word_that_would_grow_is_not_parsed(keys: Keys) -> None:
    hello = LAUGHS + HELLO.replace("<session-id>7", "<session-id>&a9;")
    error = meet(Liar(nonsense, hello), keys, "junos-mx")
    assert isinstance(error, ConnectError)
    assert "a document type declaration" in error.message


def test_a_configuration_without_a_bottom_does_no_harm(keys: Keys) -> None:
    error = meet(Liar(deep), keys, "junos-mx")
    assert error is None or isinstance(error, ConnectError)


@pytest.mark.parametrize("banner", [b"x" * 65536, b"a banner\r\n" * 5000])
def test_a_banner_without_end_is_not_listened_to(banner: bytes, keys: Keys) -> None:
    before = set(threading.enumerate())

    async def shout(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while True:
                writer.write(banner)
                await writer.drain()

    async def story() -> None:
        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        driver = open_driver(router(port, keys, "junos-mx", Timeouts(connect=1, rpc=1, commit=1)))
        try:
            with pytest.raises(ConnectError, match="pe1 "):
                await driver.connect()
        finally:
            await driver.close()
        server.close()
        # Nobody goes on reading.
        await until(lambda: before.issuperset(threading.enumerate()), "the threads to have ended")

    asyncio.run(asyncio.wait_for(story(), 60))
