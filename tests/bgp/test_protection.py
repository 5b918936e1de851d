"""Sessions that only the right peer can have: MD5 keys (RFC 2385) and TTLs (RFC 5082)."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.bgp.recorder import Recorder, established, listen, neighbor, running_speaker
from tests.support.daemons import FRR_BGPD, DaemonPeer, frr, gobgp, require, wait_until
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import EVPN, VPNV4, RawPeer, update
from vpnctl.bgp.protection import LONGEST_KEY, send_with_full_ttl, sign
from vpnctl.bgp.wire import FrameError, NeighborConfig

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

#: Any octets make a key, also those that are no text.
KEY, NEXT_KEY = b"\x00first \xff\n", b"second"


@pytest.fixture
def local() -> str:
    return loopback_address()


@pytest.fixture
def port(local: str) -> int:
    return free_port(local)


def dropped(reason: str) -> int:
    """Segments that the kernel has dropped for a reason that ``/proc/net/netstat`` counts."""
    names, values = [
        line.split() for line in Path("/proc/net/netstat").read_text().splitlines()
        if line.startswith("TcpExt:")
    ]  # fmt: skip
    return int(values[names.index(reason)])


def signed(peer: str, key: bytes | None) -> dict[str, object]:
    return {"prepare": lambda sock: sign(sock, ip_address(peer), key)}


async def heard(seen: Recorder, session: int, peer: RawPeer) -> None:
    """An UPDATE of the peer arrives."""
    before = len(seen.octets[session])
    await asyncio.to_thread(peer.send, update(before))
    await seen.until(lambda: len(seen.octets[session]) > before, "an UPDATE")


@pytest.mark.parametrize("version", [4, 6])
async def test_a_peer_with_the_key_is_heard(version: int) -> None:
    local, address = ("::1", "::1") if version == 6 else (loopback_address(), loopback_address())
    port = free_port(local)
    async with running_speaker() as (speaker, seen):
        await speaker.configure(
            [neighbor("pe-1", address, local, port, md5=KEY)], [listen(local, port)]
        )
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer, **signed(local, KEY))
            await heard(seen, await seen.session("pe-1"), peer)


@pytest.mark.parametrize(
    ("key", "counted"), [(None, "TCPMD5NotFound"), (NEXT_KEY, "TCPMD5Failure")]
)
async def test_a_stranger_gets_no_connection(
    local: str, port: int, key: bytes | None, counted: str
) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure(
            [neighbor("pe-1", address, local, port, md5=KEY)], [listen(local, port)]
        )
        before = dropped(counted)
        with socket.socket() as stranger:
            sign(stranger, ip_address(local), key)
            stranger.bind((address, 0))
            stranger.setblocking(False)
            assert stranger.connect_ex((local, port)) != 0
            await asyncio.to_thread(
                wait_until, lambda: dropped(counted) > before, "the kernel to drop its SYN"
            )
            with pytest.raises(OSError, match="not connected"):
                stranger.getpeername()
        assert not seen.up


async def test_we_connect_with_the_key(local: str) -> None:
    address = loopback_address()
    with RawPeer(local=address, remote=(local, 0)) as peer:
        there = peer.listen(prepare=lambda sock: sign(sock, ip_address(local), KEY))
        config = neighbor("pe-1", address, local, 179, passive=False, peer_port=there, md5=KEY)
        async with running_speaker() as (speaker, seen):
            await speaker.configure([config], [])
            await asyncio.to_thread(peer.accept)
            await asyncio.to_thread(peer.wait_established)
            await heard(seen, await seen.session("pe-1"), peer)


async def test_a_key_is_changed_while_the_session_stays(local: str, port: int) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure(
            [neighbor("pe-1", address, local, port, md5=KEY)], [listen(local, port)]
        )
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer, **signed(local, KEY))
            session = await seen.session("pe-1")
            configured = await speaker.configure(
                [neighbor("pe-1", address, local, port, md5=NEXT_KEY)], [listen(local, port)]
            )
            assert configured.problems == ()
            sign(peer.sock, ip_address(local), NEXT_KEY)
            await heard(seen, session, peer)
            speaker.send(session, update(7))
            await asyncio.to_thread(peer.wait_updates, 1)
            assert not seen.closed
        # The next session needs the new key.
        await seen.until(lambda: not seen.up, "the end of the session")
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer, **signed(local, NEXT_KEY))


async def test_a_key_that_the_kernel_refuses_leaves_no_session_unprotected(
    local: str, port: int
) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        config = neighbor("pe-1", address, local, port, md5=bytes(LONGEST_KEY + 1))
        configured = await speaker.configure([config], [listen(local, port)])
        [problem] = configured.problems
        assert problem.subject == "neighbor pe-1"
        assert "cannot be protected" in problem.message
        with RawPeer(local=address, remote=(local, port)) as peer:
            await asyncio.to_thread(peer.connect)
            assert await asyncio.to_thread(peer.wait_closed) == (6, 5)
        assert not seen.up


def test_a_key_is_in_no_text() -> None:
    config = neighbor("pe-1", "127.0.0.2", "127.0.0.1", 179, md5=b"hunter2")
    assert "hunter2" not in repr(config)
    assert NeighborConfig.from_json(config.to_json()).md5 == b"hunter2"
    with pytest.raises(FrameError):
        NeighborConfig.from_json(b'{"md5": 3}')


async def test_who_is_too_far_away_is_not_heard(local: str, port: int) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure(
            [neighbor("pe-1", address, local, port, hops=1)], [listen(local, port)]
        )
        before = dropped("TCPMinTTLDrop")
        with socket.socket() as far:
            far.bind((address, 0))
            far.setblocking(False)
            assert far.connect_ex((local, port)) != 0
            await asyncio.to_thread(
                wait_until, lambda: dropped("TCPMinTTLDrop") > before, "its SYN to be dropped"
            )
            with pytest.raises(OSError, match="not connected"):
                far.getpeername()
        with RawPeer(local=address, remote=(local, port)) as near:
            await established(near, prepare=send_with_full_ttl)
            await heard(seen, await seen.session("pe-1"), near)


async def test_one_peer_may_be_far_while_another_may_not(local: str, port: int) -> None:
    near, far = loopback_address(), loopback_address()
    async with running_speaker() as (speaker, seen):
        neighbors = [
            neighbor("near", near, local, port, hops=1),
            neighbor("far", far, local, port),
        ]
        await speaker.configure(neighbors, [listen(local, port)])
        before = dropped("TCPMinTTLDrop")
        with RawPeer(local=near, remote=(local, port)) as peer:
            await asyncio.to_thread(peer.connect)
            await asyncio.to_thread(
                wait_until, lambda: dropped("TCPMinTTLDrop") > before, "its OPEN to be dropped"
            )
        with RawPeer(local=far, remote=(local, port)) as peer:
            await established(peer)
            await heard(seen, await seen.session("far"), peer)
            assert seen.up.keys() == {"far"}


@pytest.mark.parametrize("passive", [True, False])
async def test_frr_with_key_and_ttl_security(
    tmp_path: Path, local: str, port: int, passive: bool
) -> None:
    require(FRR_BGPD, "vtysh")
    address = loopback_address()
    there = free_port(address)
    # FRR has either TTL security or MD5 to a peer that is multihop; on loopback it is neither.
    config = neighbor(
        "pe-1", address, local, port, passive=passive, peer_port=there, md5=b"hunter2", hops=1,
        families=(VPNV4, EVPN),
    )  # fmt: skip
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [listen(local, port)])
        peer = DaemonPeer(
            local, 65000, port=port, passive=not passive, password="hunter2", ttl_security=True,
            families=(VPNV4, EVPN),
        )  # fmt: skip
        with frr(
            tmp_path, address=address, port=there, asn=65001, router_id="10.255.0.2", peers=[peer]
        ) as daemon:
            await seen.session("pe-1")
            await asyncio.to_thread(daemon.wait_established, local)


async def test_gobgp_with_key(tmp_path: Path, local: str, port: int) -> None:
    require("gobgpd", "gobgp")
    address = loopback_address()
    there = free_port(address)
    async with running_speaker() as (speaker, seen):
        await speaker.configure(
            [neighbor("pe-1", address, local, port, md5=b"hunter2")], [listen(local, port)]
        )
        peer = DaemonPeer(local, 65000, port=port, password="hunter2")
        with gobgp(
            tmp_path, address=address, port=there, asn=65001, router_id="10.255.0.2", peers=[peer]
        ) as daemon:
            session = await seen.session("pe-1")
            await asyncio.to_thread(daemon.wait_established, local)
            assert seen.opened[session].asn4
