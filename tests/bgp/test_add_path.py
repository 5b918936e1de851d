"""What is agreed on about path identifiers (RFC 7911), by family and direction."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.bgp.recorder import listen, neighbor, running_speaker
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPLS, VPNV4, VPNV6, RawPeer, add_path, capability
from vpnctl.bgp import exabgp_neighbor
from vpnctl.bgp.wire import AfiSafi, NeighborConfig

pytestmark = pytest.mark.anyio

BOTH, NOTHING = (VPNV4, VPNV6), ()


def offering(paths: tuple[int, int], address: str, local: str, port: int) -> NeighborConfig:
    config = neighbor("pe-1", address, local, port)
    return replace(config, paths=paths, path_families=BOTH)


@pytest.mark.parametrize(
    ("paths", "theirs", "sent", "taken"),
    [
        ((4, 8), add_path(*BOTH, send=True, receive=True), BOTH, BOTH),
        ((4, 0), add_path(*BOTH, send=True, receive=True), BOTH, NOTHING),
        ((0, 8), add_path(VPNV4, VPLS, send=True, receive=False), NOTHING, (VPNV4,)),
        ((4, 8), add_path(VPNV6, send=False, receive=True), (VPNV6,), NOTHING),
        ((4, 8), b"", NOTHING, NOTHING),
        ((0, 0), add_path(*BOTH, send=True, receive=True), NOTHING, NOTHING),
    ],
)
async def test_a_direction_of_a_family_needs_both_sides(
    paths: tuple[int, int], theirs: bytes, sent: tuple[AfiSafi, ...], taken: tuple[AfiSafi, ...]
) -> None:
    local, address = loopback_address(), loopback_address()
    port = free_port(local)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([offering(paths, address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port), more=theirs) as peer:
            await asyncio.to_thread(peer.connect)
            await asyncio.to_thread(peer.wait_established)
            opened = seen.opened[await seen.session("pe-1")]
            assert (opened.paths_sent, opened.paths_taken) == (sent, taken)
            assert peer.opened is not None
            assert peer.opened.has(69) is any(paths)


async def test_an_offer_that_makes_no_sense_is_answered_and_not_the_end() -> None:
    local, address = loopback_address(), loopback_address()
    port = free_port(local)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([offering((4, 8), address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port), more=capability(69, b"\0\1")) as peer:
            await asyncio.to_thread(peer.connect)
            code, _ = await asyncio.to_thread(peer.wait_closed) or (0, 0)
            assert code == 2
        with RawPeer(local=address, remote=(local, port)) as peer:
            await asyncio.to_thread(peer.connect)
            await asyncio.to_thread(peer.wait_established)
            assert not seen.opened[await seen.session("pe-1")].paths_sent


@pytest.mark.parametrize(("paths", "direction"), [((4, 8), 3), ((4, 0), 2), ((0, 8), 1)])
def test_what_is_offered(paths: tuple[int, int], direction: int) -> None:
    config = offering(paths, "127.0.0.2", "127.0.0.1", 1790)
    built = exabgp_neighbor.build_neighbor(config)
    assert built["capability"]["add-path"] == direction
    assert {(int(afi), int(safi)) for afi, safi in built.addpaths()} == set(BOTH)
    assert NeighborConfig.from_json(config.to_json()) == config
