"""A router that lies, or that somebody else speaks for, costs a session and nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

import asyncssh
import pytest

from tests.support.junos import Keys
from vpnctl.errors import ConnectError
from vpnctl.model import EVPN, Listen, Netconf, Pe, Timeouts
from vpnctl.provisioning.driver import Driver
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
        access = Netconf(
            "vpnctl", str(keys.client), IPv4Address("127.0.0.1"), acceptor.get_port(),
            keys.fingerprint, Timeouts(connect=5, rpc=0.5, commit=0.5),
        )  # fmt: skip
        driver: Driver = open_driver(
            Pe(
                "pe1", IPv4Address("127.0.0.1"), 65000, platform, frozenset({EVPN}),
                Listen(IPv4Address("127.0.0.1")), "ge-0/0/1", (1, 4094), netconf=access,
            )
        )  # fmt: skip
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
