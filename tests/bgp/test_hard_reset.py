"""NOTIFICATIONs that leave a peer's routes, and the one that does not (RFC 8538)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.bgp.recorder import Recorder, established, listen, neighbor, running_speaker
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPNV4, RawPeer, capability, message
from vpnctl.bgp.hard_reset import Meant, data_of, may_return, meant
from vpnctl.bgp.session import MustNotify
from vpnctl.bgp.speaker import Speaker
from vpnctl.bgp.wire import NeighborConfig, SessionClosed, SessionOpened

N_BIT = 0x4000


def graceful(flags: int) -> bytes:
    return capability(64, struct.pack("!H", flags | 60) + struct.pack("!HBB", *VPNV4, 0x80))


WITH, WITHOUT = graceful(N_BIT), graceful(0)


@pytest.mark.parametrize(
    ("closed", "with_it", "without"),
    [
        ({}, True, True),
        ({"sent": (4, 0)}, True, False),
        ({"received": (4, 0)}, True, False),
        ({"received": (6, 2)}, True, False),
        ({"sent": (6, 9)}, False, False),
        ({"received": (6, 9)}, False, False),
    ],
    ids=str,
)
def test_what_an_end_means_for_the_routes(
    closed: dict[str, Any], with_it: bool, without: bool
) -> None:
    ended = SessionClosed("pe-1", "why", **closed)
    assert may_return(ended, graceful_notification=True) is with_it
    assert may_return(ended, graceful_notification=False) is without


def test_a_hard_reset_carries_what_is_meant() -> None:
    hard = MustNotify(6, 3, b"why", "the peer was removed").hard()
    assert (hard.code, hard.subcode, hard.words) == (6, 9, "the peer was removed")
    assert meant(hard.octets) == Meant(6, 3, b"why")
    assert hard.message[19:] == b"\x06\x09\x06\x03why"
    assert meant(data_of(4, 0)) == Meant(4, 0, b"")


@pytest.mark.parametrize("octets", [b"", b"\x06"])
def test_one_that_does_not_say_what_it_means_is_one_all_the_same(octets: bytes) -> None:
    assert meant(octets) is None


class House:
    """A peer whose session is up."""

    def __init__(self, speaker: Speaker, seen: Recorder, peer: RawPeer) -> None:
        self.speaker, self.seen, self.peer = speaker, seen, peer

    @property
    def number(self) -> int:
        return self.seen.up["pe-1"]

    async def ended(self) -> SessionClosed:
        await self.seen.until(lambda: bool(self.seen.closed))
        return self.seen.closed[0][1]

    async def last_message(self) -> bytes:
        await asyncio.to_thread(self.peer.wait_closed)
        return self.peer.messages[-1][19:]


@asynccontextmanager
async def house(capabilities: bytes, **ours: Any) -> AsyncIterator[House]:
    local, address = loopback_address(), loopback_address()
    port = free_port(local)
    config = neighbor("pe-1", address, local, port, **{"restart_time": 60, **ours})
    assert NeighborConfig.from_json(config.to_json()) == config
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port), more=capabilities) as peer:
            await established(peer)
            await seen.session("pe-1")
            yield House(speaker, seen, peer)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("theirs", "restart_time", "agreed"),
    [(WITH, 60, True), (WITHOUT, 60, False), (WITH, None, False)],
    ids=["both", "not the peer", "not we"],
)
async def test_both_have_to_say_it(theirs: bytes, restart_time: int | None, agreed: bool) -> None:
    async with house(theirs, restart_time=restart_time) as found:
        opened = found.seen.opened[found.number]
        assert opened.graceful_notification is agreed
        assert SessionOpened.from_json(opened.to_json()) == opened
        assert found.peer.opened is not None
        said = dict(found.peer.opened.capabilities).get(64, bytes(2))
        assert bool(int.from_bytes(said[:2], "big") & N_BIT) is (restart_time is not None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("theirs", "last"), [(WITH, b"\x06\x09\x06\x04why"), (WITHOUT, b"\x06\x04why")]
)
async def test_the_controller_resets_for_good(theirs: bytes, last: bytes) -> None:
    async with house(theirs) as found:
        found.speaker.notify(found.number, 6, 4, b"why", hard=True)
        assert await found.last_message() == last
        closed = await found.ended()
        assert closed.sent == (last[0], last[1])
        assert "Administrative Reset" in closed.reason


@pytest.mark.anyio
async def test_other_notifications_stay_what_they_are() -> None:
    async with house(WITH) as found:
        found.speaker.notify(found.number, 3, 1)
        assert await found.last_message() == b"\x03\x01"
        assert (await found.ended()).sent == (3, 1)


@pytest.mark.anyio
async def test_a_peer_that_is_removed_is_told_for_good() -> None:
    async with house(WITH) as found:
        await found.speaker.configure([], [])
        assert (await found.last_message())[:4] == b"\x06\x09\x06\x03"
        assert "we sent NOTIFICATION 6/9: Cease / Hard Reset, 6/3" in (await found.ended()).reason


@pytest.mark.anyio
async def test_a_silent_peer_is_told_what_it_always_was() -> None:
    async with house(WITH, hold_time=3) as found:
        found.peer.keepalive_every = 1000.0
        assert await found.last_message() == b"\x04\x00"
        assert may_return(await found.ended(), graceful_notification=True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"\x06\x02\x06go\x1bing", "6/9: Cease / Hard Reset, 6/2: Cease / Administrative Shutdown"),
        (b"\x06\x09\x06\x09", "6/9: Cease / Hard Reset, 6/9: Cease"),
        (b"\x06", "6/9: Cease / Hard Reset"),
        (b"", "6/9: Cease / Hard Reset"),
    ],
)
async def test_what_a_peer_means_is_told_in_words(octets: bytes, words: str) -> None:
    async with house(WITH) as found:
        found.peer.send(message(3, b"\x06\x09" + octets))
        closed = await found.ended()
        assert closed.received == (6, 9)
        assert words in closed.reason
        assert closed.reason.isprintable()
