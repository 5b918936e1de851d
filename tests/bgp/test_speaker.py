"""The speaker and a real session process, with peers that are raw sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct

import pytest

from tests.bgp.recorder import Recorder, established, listen, neighbor, running_speaker
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import (
    ALL_FAMILIES,
    EVPN,
    KEEPALIVE,
    REFRESH,
    VPLS,
    VPNV4,
    RawPeer,
    end_of_rib,
    mark_of,
    message,
    update,
)
from vpnctl.bgp import process as process_module
from vpnctl.bgp.speaker import Speaker
from vpnctl.errors import SessionProcessError

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]


@pytest.fixture
def local() -> str:
    return loopback_address()


@pytest.fixture
def port(local: str) -> int:
    return free_port(local)


async def test_a_session_comes_up_with_what_both_sides_offer(local: str, port: int) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        configured = await speaker.configure(
            [neighbor("pe-1", address, local, port)], [listen(local, port)]
        )
        assert configured.listening == (listen(local, port),)
        assert configured.problems == ()
        with RawPeer(local=address, remote=(local, port), families=(VPNV4, VPLS, (1, 1))) as peer:
            await established(peer)
            opened = seen.opened[await seen.session("pe-1")]
            assert opened.families == (VPNV4, VPLS)
            assert opened.asn4
            assert opened.refresh == "enhanced"
            assert opened.message_size == 4096
            assert (opened.local_asn, opened.peer_asn, opened.hold_time) == (65000, 65001, 90)
            assert str(opened.peer_router_id) == "10.255.0.2"
            assert (str(opened.peer_address), str(opened.local_address)) == (address, local)
            assert opened.local_port == port
            said = peer.opened
            assert said is not None
            assert said.families == set(ALL_FAMILIES)
            assert [said.has(code) for code in (2, 6, 64, 65, 69, 70)] == [
                *(True, True, False, True, False, True)
            ]
            # No End-of-RIB and no route unless the controller says so.
            speaker.send(await seen.session("pe-1"), end_of_rib(VPLS))
            await asyncio.to_thread(peer.wait_updates, 1)
            assert [m[18] for m in peer.messages] == [1, KEEPALIVE, 2]
        await seen.until(lambda: bool(seen.closed))
        assert "closed the connection" in seen.closed[0][1].reason
        states = [state for name, state, _ in seen.states if name == "pe-1"]
        wanted = ["active", "connect", "opensent", "openconfirm", "established", "active"]
        assert states == wanted


async def test_octets_pass_unchanged_both_ways(local: str, port: int) -> None:
    address = loopback_address()
    there = [update(i, size=60 + i % 900) for i in range(5000)]
    back = [update(i, size=60 + i % 500) for i in range(5000)]
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer)
            session = await seen.session("pe-1")
            data = b"".join(there)
            await asyncio.to_thread(peer.send, data)
            assert await seen.messages(session, len(data)) == there
            speaker.send(session, b"".join(back[:100]))
            speaker.send(session, b"".join(back[100:]))
            await asyncio.to_thread(peer.wait_updates, len(back))
            assert peer.updates == back
            await seen.until(lambda: seen.total_written[session] == sum(map(len, back)))
            assert speaker.unwritten(session) == 0


async def test_more_than_one_frame_is_cut_between_messages(local: str, port: int) -> None:
    address = loopback_address()
    many = [update(i, size=4000) for i in range(1000)]
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer)
            speaker.send(await seen.session("pe-1"), b"".join(many))
            await asyncio.to_thread(peer.wait_updates, len(many))
            assert peer.updates == many


async def test_route_refresh_is_left_to_the_controller(local: str, port: int) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer)
            session = await seen.session("pe-1")
            peer.send(message(REFRESH, struct.pack("!HBB", 25, 0, 70)))
            await seen.until(lambda: bool(seen.refreshes))
            assert seen.refreshes == [(session, 25, 0, 70)]


@pytest.mark.parametrize("agreed", [True, False])
async def test_extended_messages_where_both_sides_have_them(
    local: str, port: int, agreed: bool
) -> None:
    address = loopback_address()
    long = update(9, size=65535)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port), extended=agreed) as peer:
            await established(peer)
            session = await seen.session("pe-1")
            assert seen.opened[session].message_size == (65535 if agreed else 4096)
            peer.send(long)
            if agreed:
                assert await seen.messages(session, len(long)) == [long]
                speaker.send(session, long)
                await asyncio.to_thread(peer.wait_updates, 1)
                assert peer.updates == [long]
            else:
                assert await asyncio.to_thread(peer.wait_closed) == (1, 2)
                assert peer.messages[-1][21:] == b"\xff\xff"


@pytest.mark.parametrize(
    ("ours", "theirs", "asn4"),
    [(4200000000, 4200000001, True), (65000, 65000, True), (65000, 64999, False)],
    ids=["four-octet eBGP", "iBGP", "two-octet peer"],
)
async def test_as_numbers(local: str, port: int, ours: int, theirs: int, asn4: bool) -> None:
    address = loopback_address()
    config = neighbor("pe-1", address, local, port, local_asn=ours, peer_asn=theirs)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port), asn=theirs, asn4=asn4) as peer:
            await established(peer)
            opened = seen.opened[await seen.session("pe-1")]
            assert (opened.peer_asn, opened.asn4) == (theirs, asn4)
            assert peer.opened is not None
            assert peer.opened.asn == ours


async def test_a_peer_of_another_as_is_refused_with_the_reason(local: str, port: int) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port), asn=64999) as peer:
            await asyncio.to_thread(peer.connect)
            assert await asyncio.to_thread(peer.wait_closed) == (2, 2)
        await seen.until(lambda: bool(seen.reasons("pe-1")))
        assert "Bad Peer AS" in seen.reasons("pe-1")[0]
        assert not seen.up


async def test_ipv6_transport() -> None:
    port = free_port("::1")
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", "::1", "::1", port)], [listen("::1", port)])
        with RawPeer(local="::1", remote=("::1", port)) as peer:
            await established(peer)
            session = await seen.session("pe-1")
            assert str(seen.opened[session].peer_address) == "::1"
            peer.send(update(1))
            assert await seen.messages(session, len(update(1))) == [update(1)]


async def test_we_connect_where_the_peer_listens(local: str) -> None:
    address = loopback_address()
    with RawPeer(local=address) as peer:
        there = peer.listen()
        config = neighbor("pe-1", address, local, 179, passive=False, peer_port=there)
        async with running_speaker() as (speaker, seen):
            await speaker.configure([config], [])
            await asyncio.to_thread(peer.accept)
            await asyncio.to_thread(peer.wait_established)
            session = await seen.session("pe-1")
            assert seen.opened[session].peer_port == there
            assert str(seen.opened[session].local_address) == local
            speaker.send(session, update(3))
            await asyncio.to_thread(peer.wait_updates, 1)
            peer.close()
            await seen.until(lambda: bool(seen.closed))
            await asyncio.to_thread(peer.accept)
            assert await seen.session("pe-1") != session


async def test_a_peer_that_is_not_there_is_tried_again_and_the_reason_told(local: str) -> None:
    address = loopback_address()
    there = free_port(address)
    config = neighbor("pe-1", address, local, 179, passive=False, peer_port=there)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([config], [])
        await seen.until(lambda: bool(seen.reasons("pe-1")))
        assert seen.reasons("pe-1")[0] == (
            f"cannot connect to {address} port {there}: Connection refused"
        )
        with RawPeer(local=address) as peer:
            peer.listen(there)
            await asyncio.to_thread(peer.accept)
            await seen.session("pe-1")


async def test_several_addresses_ports_and_peers(local: str) -> None:
    second = loopback_address()
    ports = [free_port(local), free_port(local), free_port(second)]
    ends = [(local, ports[0]), (local, ports[1]), (second, ports[2])]
    addresses = [loopback_address() for _ in range(4)]
    places = [ends[0], ends[0], ends[1], ends[2]]
    async with running_speaker() as (speaker, seen):
        configs = [
            neighbor(f"pe-{i}", address, *end)
            for i, (address, end) in enumerate(zip(addresses, places, strict=True))
        ]
        await speaker.configure(configs, [listen(*end) for end in ends])
        peers = [
            RawPeer(local=address, remote=end)
            for address, end in zip(addresses, places, strict=True)
        ]
        for i, peer in enumerate(peers):
            await established(peer)
            peer.send(update(i))
        for i in range(4):
            session = await seen.session(f"pe-{i}")
            [one] = await seen.messages(session, len(update(0)))
            assert mark_of(one) == i
        peers[1].close()
        await seen.until(lambda: len(seen.closed) == 1)
        assert set(seen.up) == {"pe-0", "pe-2", "pe-3"}
        for peer in peers:
            peer.__exit__()


async def test_any_address_of_ours(port: int) -> None:
    here, address = loopback_address(), loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure(
            [neighbor("pe-1", address, "0.0.0.0", port)], [listen("0.0.0.0", port)]
        )
        with RawPeer(local=address, remote=(here, port)) as peer:
            await established(peer)
            opened = seen.opened[await seen.session("pe-1")]
            assert str(opened.local_address) == here


async def test_reconfiguring_leaves_unchanged_sessions_alone(local: str, port: int) -> None:
    kept, changed, removed = (loopback_address() for _ in range(3))
    other = free_port(local)
    configs = {
        address: neighbor(address, address, local, port) for address in (kept, changed, removed)
    }
    async with running_speaker() as (speaker, seen):
        await speaker.configure(configs.values(), [listen(local, port), listen(local, other)])
        peers = {address: RawPeer(local=address, remote=(local, port)) for address in configs}
        for peer in peers.values():
            await established(peer)
        sessions = {address: await seen.session(address) for address in configs}
        answer = await speaker.configure(
            [configs[kept], neighbor(changed, changed, local, port, hold_time=30)],
            [listen(local, port)],
        )
        assert answer.listening == (listen(local, port),)
        assert await asyncio.to_thread(peers[removed].wait_closed) == (6, 3)
        assert await asyncio.to_thread(peers[changed].wait_closed) == (6, 6)
        await seen.until(lambda: len(seen.closed) == 2)
        assert {closed.sent for _, closed in seen.closed} == {(6, 3), (6, 6)}
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((local, other), timeout=5)
        await established(peers[changed])
        assert await seen.session(changed) != sessions[changed]
        assert seen.opened[seen.up[changed]].hold_time == 30
        speaker.send(sessions[changed], update(1))  # stale, dropped
        speaker.send(sessions[kept], update(2))
        await asyncio.to_thread(peers[kept].wait_updates, 1)
        assert seen.up[kept] == sessions[kept]
        assert peers[kept].updates == [update(2)]
        assert peers[changed].updates == []
        for peer in peers.values():
            peer.__exit__()


async def test_what_cannot_be_configured_is_said_and_the_rest_works(local: str, port: int) -> None:
    with socket.create_server((local, 0)) as taken:
        used = taken.getsockname()[1]
        async with running_speaker() as (speaker, seen):
            answer = await speaker.configure(
                [
                    neighbor("good", loopback_address(), local, port),
                    neighbor("good", loopback_address(), local, port),
                    neighbor("mixed", "::1", local, port),
                    neighbor("hasty", loopback_address(), local, port, hold_time=2),
                    neighbor("nobody", loopback_address(), local, port, peer_asn=0),
                ],
                [listen(local, port), listen(local, used), listen("192.0.2.1", port)],
            )
            assert answer.listening == (listen(local, port),)
            problems = {problem.subject: problem for problem in answer.problems}
            assert set(problems) == {
                *(f"neighbor {name}" for name in ("good", "mixed", "hasty", "nobody")),
                f"listen {local}:{used}",
                f"listen 192.0.2.1:{port}",
            }
            assert "in use" in problems[f"listen {local}:{used}"].message
            assert "no interface" in problems[f"listen 192.0.2.1:{port}"].hint
            assert [name for name, _, _ in seen.states] == ["good"]


async def test_two_neighbors_that_cannot_be_told_apart(local: str, port: int) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, _):
        answer = await speaker.configure(
            [neighbor("a", address, local, port), neighbor("b", address, local, port)], []
        )
        [problem] = answer.problems
        assert problem.subject == "neighbor b"
        assert "neighbor a" in problem.message


async def test_the_controller_may_end_a_session(local: str, port: int) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer)
            session = await seen.session("pe-1")
            speaker.send(session, update(1))
            speaker.notify(session, 3, 1, b"why")
            assert await asyncio.to_thread(peer.wait_closed) == (3, 1)
            assert peer.messages[-1][21:] == b"why"
            await seen.until(lambda: bool(seen.closed))
            assert seen.closed[0][1].sent == (3, 1)
            await established(peer)
            assert await seen.session("pe-1") != session


async def test_a_notification_of_the_peer_is_told_in_words(local: str, port: int) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer)
            peer.send(message(3, b"\x06\x02\x09go\x1b[31mod"))
            await seen.until(lambda: bool(seen.closed))
        [(_, closed)] = seen.closed
        assert closed.received == (6, 2)
        assert "Administrative Shutdown" in closed.reason
        assert "go?[31mod" in closed.reason


async def test_a_slow_peer_holds_up_nobody_else(local: str, port: int) -> None:
    slow_address, quick_address = loopback_address(), loopback_address()
    many = b"".join(update(i, size=4000) for i in range(5000))
    async with running_speaker() as (speaker, seen):
        await speaker.configure(
            [neighbor(a, a, local, port) for a in (slow_address, quick_address)],
            [listen(local, port)],
        )
        with (
            RawPeer(local=slow_address, remote=(local, port)) as slow,
            RawPeer(local=quick_address, remote=(local, port)) as quick,
        ):
            await established(slow, receive_buffer=4096)
            await established(quick)
            slow.pause()
            stuck = await seen.session(slow_address)
            speaker.send(stuck, many)
            speaker.send(await seen.session(quick_address), many)
            await asyncio.to_thread(quick.wait_updates, 5000)
            quick.send(update(77))
            await seen.messages(await seen.session(quick_address), len(update(77)))
            slow.send(update(78))  # it does not read, but may speak
            await seen.messages(stuck, len(update(78)))
            assert speaker.unwritten(stuck) > 0
            assert quick.updates == slow_all(many)
            slow.resume()
            await asyncio.to_thread(slow.wait_updates, 5000)
            assert slow.updates == quick.updates


def slow_all(octets: bytes) -> list[bytes]:
    return [octets[at : at + 4000] for at in range(0, len(octets), 4000)]


async def test_peers_wait_while_the_controller_is_behind(local: str, port: int) -> None:
    """A controller that does nothing for longer than the hold time loses no session."""
    first, second = loopback_address(), loopback_address()
    flood = b"".join(update(i, size=4000) for i in range(6000))
    async with running_speaker() as (speaker, seen):
        await speaker.configure(
            [neighbor(a, a, local, port, hold_time=6) for a in (first, second)],
            [listen(local, port)],
        )
        with (
            RawPeer(local=first, remote=(local, port), hold_time=6) as loud,
            RawPeer(local=second, remote=(local, port), hold_time=6) as quiet,
        ):
            # Who has just been heard of may be short of time for nearly all of the hold time.
            loud.keepalive_every = quiet.keepalive_every = 0.5
            await established(loud)
            await established(quiet)
            sessions = [await seen.session(a) for a in (first, second)]
            sending = asyncio.get_running_loop().run_in_executor(None, loud.send, flood)
            before = quiet.keepalives
            # The whole event loop stands still, as if the controller were stopped.
            quiet.wait(lambda: quiet.keepalives >= before + 5, "five keepalives")
            assert not loud.closed
            await sending
            assert len(await seen.messages(sessions[0], len(flood))) == 6000
            assert not seen.closed
            assert sorted(seen.up.values()) == sorted(sessions)


async def test_the_death_of_the_session_process_is_survived(local: str, port: int) -> None:
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer)
            session, before = await seen.session("pe-1"), speaker.process_id
            assert before is not None
            os.kill(before, signal.SIGKILL)
            await seen.until(lambda: bool(seen.lost))
            assert seen.closed[0][0] == session
            assert "signal 9" in seen.closed[0][1].reason
            assert seen.lost == [seen.closed[0][1].reason]
            # The next process is given the same configuration.
            seen.states.clear()
            await seen.until(lambda: ("pe-1", "active", "") in seen.states)
            assert speaker.process_id != before
            await established(peer)
            again = await seen.session("pe-1")
            assert again != session
            speaker.send(session, update(1))  # of the process before: dropped
            speaker.send(again, update(2))
            await asyncio.to_thread(peer.wait_updates, 1)
            assert peer.updates == [update(2)]


async def test_a_configuration_outlives_the_process_it_was_given_to(local: str, port: int) -> None:
    async with running_speaker() as (speaker, seen):
        assert speaker.process_id is not None
        os.kill(speaker.process_id, signal.SIGKILL)
        answer = await speaker.configure([], [listen(local, port)])
        assert answer.listening == (listen(local, port),)
        assert len(seen.lost) == 1


async def test_stop_says_goodbye_to_every_peer(local: str, port: int) -> None:
    addresses = [loopback_address() for _ in range(3)]
    async with running_speaker() as (speaker, seen):
        await speaker.configure(
            [neighbor(a, a, local, port) for a in addresses], [listen(local, port)]
        )
        peers = [RawPeer(local=a, remote=(local, port)) for a in addresses]
        for peer in peers:
            await established(peer)
            await seen.session(peer.local)
        process = speaker.process_id
        await speaker.stop()
        for peer in peers:
            assert await asyncio.to_thread(peer.wait_closed) == (6, 2)
            peer.__exit__()
        assert [closed.sent for _, closed in seen.closed] == [(6, 2)] * 3
        assert seen.lost == []
        assert process is not None
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
        with pytest.raises(SessionProcessError, match="not running"):
            await speaker.configure([], [])


async def test_an_exception_of_the_controller_stops_nothing(local: str, port: int) -> None:
    class Clumsy(Recorder):
        def updates(self, session: int, messages: bytes) -> None:
            super().updates(session, messages)
            raise ZeroDivisionError

    address, complaints = loopback_address(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    seen = Clumsy()
    speaker = Speaker(seen)
    await speaker.start()
    try:
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer)
            peer.send(update(1))
            await seen.messages(await seen.session("pe-1"), len(update(1)))
            peer.send(update(2))
            await seen.messages(await seen.session("pe-1"), 2 * len(update(1)))
        assert [type(context["exception"]) for context in complaints] == [ZeroDivisionError] * 2
    finally:
        await speaker.stop()


async def test_a_process_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module.sys, "executable", "/bin/false")
    with pytest.raises(SessionProcessError, match="ended while it started") as caught:
        await Speaker(Recorder()).start()
    assert caught.value.hint
    monkeypatch.setattr(process_module.sys, "executable", "/nonexistent/python")
    with pytest.raises(SessionProcessError, match="cannot start"):
        await Speaker(Recorder()).start()


async def test_the_users_exabgp_settings_are_not_ours(
    local: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "exabgp.bgp.passive": "true",
        "exabgp_tcp_attempts": "1",
        "exabgp.bgp.openwait": "0",
        "exabgp_version": "4.2.0",
        "EXABGP_ENVFILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    address = loopback_address()
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        with RawPeer(local=address, remote=(local, port), families=(EVPN,)) as peer:
            await established(peer)
            await seen.session("pe-1")
