"""What OPENs say of long-lived graceful restart (RFC 9494 section 3.1)."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace
from typing import Any

import pytest

from tests.bgp.recorder import listen, neighbor, running_speaker
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPLS, VPNV4, RawPeer, capability
from vpnctl.bgp.wire import AfiSafi, NeighborConfig, SessionOpened

pytestmark = pytest.mark.anyio

GRACEFUL = capability(64, struct.pack("!H", 60) + struct.pack("!HBB", *VPNV4, 0x80))


def entry(family: AfiSafi, flags: int, seconds: int) -> bytes:
    return struct.pack("!HBB", *family, flags) + seconds.to_bytes(3, "big")


THEIRS = capability(71, entry(VPNV4, 0x80, 0xFFFFFF) + entry(VPLS, 0, 0))


async def agreed(theirs: bytes, **ours: Any) -> tuple[SessionOpened, dict[int, bytes]]:
    """What was agreed on with a peer, and what we offered it."""
    local, address = loopback_address(), loopback_address()
    port = free_port(local)
    config = replace(neighbor("pe-1", address, local, port), **ours)
    assert NeighborConfig.from_json(config.to_json()) == config
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port), more=theirs) as peer:
            await asyncio.to_thread(peer.connect)
            await asyncio.to_thread(peer.wait_established)
            opened = seen.opened[await seen.session("pe-1")]
            assert peer.opened is not None
            return opened, dict(peer.opened.capabilities)


async def test_both_offer_it() -> None:
    opened, ours = await agreed(GRACEFUL + THEIRS, restart_time=60, long_lived_time=86400)
    assert opened.long_lived == ((*VPNV4, 0xFFFFFF), (*VPLS, 0))
    assert opened.long_lived_preserved == (VPNV4,)
    # We forward nothing, so nothing of it is lost when we restart.
    assert entry(VPNV4, 0x80, 86400) in ours[71]
    assert len(ours[71]) % 7 == 0
    assert SessionOpened.from_json(opened.to_json()) == opened


async def test_without_time_for_a_restart_it_begins_at_once() -> None:
    opened, ours = await agreed(GRACEFUL + THEIRS, restart_time=0, long_lived_time=3600)
    assert int.from_bytes(ours[64][:2], "big") & 0x0FFF == 0
    assert opened.long_lived is not None


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (THEIRS, {"restart_time": 60, "long_lived_time": 60}),
        (GRACEFUL, {"restart_time": 60, "long_lived_time": 60}),
        (GRACEFUL + capability(71, bytes(6)), {"restart_time": 60, "long_lived_time": 60}),
        (GRACEFUL + THEIRS, {"restart_time": 60, "long_lived_time": None}),
    ],
    ids=["no graceful restart beside it", "not offered", "a wrong length", "not ours"],
)
async def test_otherwise_there_is_none(theirs: bytes, ours: dict[str, int | None]) -> None:
    opened, offered = await agreed(theirs, **ours)
    assert opened.long_lived is None
    assert (71 in offered) is bool(ours["long_lived_time"])


async def test_of_several_the_last_counts_and_an_empty_one_is_one() -> None:
    twice = GRACEFUL + THEIRS + capability(71)
    opened, _ = await agreed(twice, restart_time=60, long_lived_time=60)
    assert opened.long_lived == ()
