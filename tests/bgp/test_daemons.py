"""Sessions with other people's daemons: they come up, and raw UPDATEs pass both ways."""

from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.bgp.recorder import listen, neighbor, running_speaker
from tests.support.daemons import (
    FRR_BGPD,
    DaemonPeer,
    exabgp,
    frr,
    gobgp,
    require,
    wait_until,
)
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import ALL_FAMILIES, EVPN, VPLS, VPNV4, VPNV6, message

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

TARGET = struct.pack("!BBHI", 0, 2, 65001, 100)


def attributes(next_hop: bytes, family: tuple[int, int], nlri: bytes, *, ibgp: bool) -> bytes:
    """The path attributes of a route of ours, as small as a router takes them."""
    path = b"" if ibgp else struct.pack("!BBI", 2, 1, 65000)
    reach = struct.pack("!HBB", *family, len(next_hop)) + next_hop + b"\0" + nlri
    parts = [
        b"\x40\x01\x01\x00",
        bytes((0x40, 2, len(path))) + path,
        bytes((0x80, 14, len(reach))) + reach,
        bytes((0xC0, 16, len(TARGET))) + TARGET,
    ]
    if ibgp:
        parts.insert(2, b"\x40\x05\x04\x00\x00\x00\x64")
    return b"".join(parts)


def route(family: tuple[int, int], nlri: bytes, *, ibgp: bool) -> bytes:
    next_hop = (bytes(8) if family[1] == 128 else b"") + bytes((192, 0, 2, 1))
    if family == VPNV6:
        next_hop = bytes(8) + bytes.fromhex("20010db8000000000000000000000001")
    octets = attributes(next_hop, family, nlri, ibgp=ibgp)
    return message(2, struct.pack("!HH", 0, len(octets)) + octets)


RD = struct.pack("!HHI", 0, 65001, 7)
LABEL = (100 << 4 | 1).to_bytes(3, "big")
#: 10.9.0.0/16
VPNV4_NLRI = bytes((24 + 64 + 16,)) + LABEL + RD + b"\x0a\x09"
#: 10.1.0.0/16 behind the RD 65001:1, after the label.
FRR_NLRI = struct.pack("!HHI", 0, 65001, 1) + b"\x0a\x01"
#: 10.1.0.0/16 behind the RD 65001:1, after the label.
FRR_NLRI = struct.pack("!HHI", 0, 65001, 1) + b"\x0a\x01"
#: EVPN type 3 (inclusive multicast) of 192.0.2.1
EVPN_NLRI = bytes((3, 17)) + RD + bytes(4) + bytes((32, 192, 0, 2, 1))


async def test_gobgp(tmp_path: Path) -> None:
    require("gobgpd", "gobgp")
    local, address = loopback_address(), loopback_address()
    port, there = free_port(local), free_port(address)
    config = neighbor("pe-1", address, local, port, passive=True)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [listen(local, port)])
        with gobgp(
            tmp_path,
            address=address,
            port=there,
            asn=65001,
            router_id="10.255.0.2",
            peers=[DaemonPeer(local, 65000, port=port)],
        ) as daemon:
            session = await seen.session("pe-1")
            await asyncio.to_thread(daemon.wait_established, local)
            opened = seen.opened[session]
            assert opened.families == tuple(sorted(ALL_FAMILIES))
            assert opened.asn4
            announce = "global rib add -a vpnv4 10.1.0.0/16 label 10 rd 65001:1 rt 65001:100"
            await asyncio.to_thread(daemon.cli, *announce.split())
            await seen.until(lambda: TARGET in seen.octets[session], "a route of GoBGP")

            speaker.send(session, route(VPNV4, VPNV4_NLRI, ibgp=False))
            speaker.send(session, route(EVPN, EVPN_NLRI, ibgp=False))

            def heard(family: str, wanted: str) -> bool:
                return any(wanted in nlri for nlri in daemon.rib(family))

            for family, wanted in (("vpnv4", "65001:7:10.9.0.0/16"), ("evpn", "192.0.2.1")):
                await asyncio.to_thread(
                    wait_until, lambda f=family, w=wanted: heard(f, w), f"GoBGP to have {wanted}"
                )
            assert not seen.closed


async def test_gobgp_to_which_we_connect(tmp_path: Path) -> None:
    require("gobgpd", "gobgp")
    local, address = loopback_address(), loopback_address()
    there = free_port(address)
    config = neighbor("pe-1", address, local, 179, passive=False, peer_port=there)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [])
        with gobgp(
            tmp_path,
            address=address,
            port=there,
            asn=65001,
            router_id="10.255.0.2",
            peers=[DaemonPeer(local, 65000, passive=True, families=(VPLS, EVPN))],
        ) as daemon:
            session = await seen.session("pe-1")
            await asyncio.to_thread(daemon.wait_established, local)
            assert seen.opened[session].families == (VPLS, EVPN)
        await seen.until(lambda: bool(seen.closed), "the end of GoBGP")


@pytest.mark.parametrize("asn", [65000, 4200000001], ids=["iBGP", "eBGP with a four-octet AS"])
async def test_frr(tmp_path: Path, asn: int) -> None:
    require(FRR_BGPD, "vtysh")
    local, address = loopback_address(), loopback_address()
    port, there = free_port(local), free_port(address)
    config = neighbor("pe-1", address, local, port, peer_asn=asn, hold_time=30)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [listen(local, port)])
        with frr(
            tmp_path,
            address=address,
            port=there,
            asn=asn,
            router_id="10.255.0.2",
            peers=[DaemonPeer(local, 65000, port=port)],
        ) as daemon:
            session = await seen.session("pe-1")
            await asyncio.to_thread(daemon.wait_established, local)
            opened = seen.opened[session]
            assert opened.families == (VPNV4, VPNV6, EVPN)
            assert (opened.peer_asn, opened.hold_time) == (asn, 30)
            assert opened.message_size in (4096, 65535)
            speaker.send(session, route(VPNV4, VPNV4_NLRI, ibgp=asn == 65000))

            def rib() -> dict[str, Any]:
                return dict(json.loads(daemon.vtysh("show bgp ipv4 vpn json")))

            await asyncio.to_thread(
                wait_until, lambda: "10.9.0.0/16" in json.dumps(rib()), "FRR to have the route"
            )
            await asyncio.to_thread(
                daemon.vtysh,
                "configure terminal",
                f"router bgp {asn}",
                "address-family ipv4 vpn",
                "network 10.1.0.0/16 rd 65001:1 label 10",
            )
            await seen.until(lambda: FRR_NLRI in seen.octets[session], "a route of FRR")
            await asyncio.to_thread(daemon.vtysh, "clear bgp ipv4 vpn * soft in")
            await seen.until(lambda: bool(seen.refreshes), "ROUTE-REFRESH")
            assert not seen.closed
        await seen.until(lambda: bool(seen.closed), "the end of FRR")


async def test_frr_to_which_we_connect(tmp_path: Path) -> None:
    require(FRR_BGPD, "vtysh")
    local, address = loopback_address(), loopback_address()
    there = free_port(address)
    config = neighbor("pe-1", address, local, 179, passive=False, peer_port=there)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [])
        with frr(
            tmp_path,
            address=address,
            port=there,
            asn=65001,
            router_id="10.255.0.2",
            peers=[DaemonPeer(local, 65000, passive=True)],
        ) as daemon:
            await seen.session("pe-1")
            await asyncio.to_thread(daemon.wait_established, local)


@pytest.mark.parametrize("we_connect", [False, True])
async def test_stock_exabgp(tmp_path: Path, we_connect: bool) -> None:
    local, address = loopback_address(), loopback_address()
    port, there = free_port(local), free_port(address)
    config = neighbor(
        "pe-1", address, local, port, passive=not we_connect, peer_port=there, peer_asn=65000
    )
    announced = (
        "announce vpls endpoint 3 base 10000 offset 1 size 8 rd 65001:1 "
        "next-hop 192.0.2.9 extended-community [ target:65001:100 ]"
    )
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [listen(local, port)])
        with exabgp(
            tmp_path,
            address=address,
            port=there,
            asn=65000,
            router_id="10.255.0.2",
            peers=[DaemonPeer(local, 65000, port=port, passive=we_connect)],
            routes=[announced],
        ) as daemon:
            session = await seen.session("pe-1")
            await asyncio.to_thread(daemon.wait_established, local)
            assert seen.opened[session].families == tuple(sorted(ALL_FAMILIES))
            await seen.until(lambda: TARGET in seen.octets[session], "the route of ExaBGP")
            speaker.send(session, route(VPNV4, VPNV4_NLRI, ibgp=True))
            await asyncio.to_thread(
                daemon.wait_event,
                lambda event: "10.9.0.0/16" in json.dumps(event),
                "ExaBGP to hear the route",
            )
            assert not seen.closed


async def test_daemons_that_connect_both_ways_settle_on_one_session(tmp_path: Path) -> None:
    """Connection collision (RFC 4271 section 6.8), whichever side has the higher identifier."""
    require("gobgpd", "gobgp", FRR_BGPD, "vtysh")
    local, port = loopback_address(), 0
    port = free_port(local)
    low, high = loopback_address(), loopback_address()
    ports = {address: free_port(address) for address in (low, high)}
    configs = [neighbor(a, a, local, port, passive=False, peer_port=ports[a]) for a in (low, high)]
    async with running_speaker() as (speaker, seen):
        await speaker.configure(configs, [listen(local, port)])
        peers = [DaemonPeer(local, 65000, port=port, families=(EVPN,))]
        with (
            gobgp(
                tmp_path / "gobgp",
                address=low,
                port=ports[low],
                asn=65001,
                router_id="10.255.0.2",
                peers=peers,
            ) as one,
            frr(
                tmp_path / "frr",
                address=high,
                port=ports[high],
                asn=65001,
                router_id="10.255.0.200",
                peers=peers,
            ) as other,
        ):
            for name, daemon in ((low, one), (high, other)):
                await seen.session(name)
                await asyncio.to_thread(daemon.wait_established, local)
