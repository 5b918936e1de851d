"""Peers and strangers that do not play by the rules hurt nobody but themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bgp.recorder import Recorder, established, listen, neighbor, running_speaker
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import RawPeer, capability, message, open_message, update
from vpnctl.bgp.channel import Channel
from vpnctl.bgp.speaker import Speaker
from vpnctl.bgp.wire import Configure, Kind, SessionOpened

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

GOOD_OPEN = open_message(asn=65001, router_id="10.255.0.9", hold_time=90)
MARKER = b"\xff" * 16


class House:
    """A speaker with one well-behaved peer up and one address from which trouble comes."""

    def __init__(self, speaker: Speaker, seen: Recorder, end: tuple[str, int]) -> None:
        self.speaker, self.seen, self.end = speaker, seen, end
        self.bad = loopback_address()
        self.good = RawPeer(local=loopback_address(), remote=end)

    async def prepare(self) -> None:
        await self.speaker.configure(
            [neighbor(name, name, *self.end) for name in (self.bad, self.good.local)],
            [listen(*self.end)],
        )
        await established(self.good)
        await self.seen.session(self.good.local)

    def connect(self, address: str) -> socket.socket:
        sock = socket.socket()
        sock.settimeout(20.0)
        sock.bind((address, 0))
        sock.connect(self.end)
        return sock

    def outcome(self, octets: bytes, address: str = "") -> bytes:
        """What comes back for ``octets`` until the other side closes."""
        with self.connect(address or self.bad) as sock:
            received = b""
            try:
                sock.sendall(octets)
                while chunk := sock.recv(65536):
                    received += chunk
            except ConnectionError:
                pass
            return received

    async def still_fine(self) -> None:
        """The other peer's session is up and works both ways; nothing was restarted."""
        session = self.seen.up[self.good.local]
        before, here = len(self.seen.octets[session]), len(self.good.updates)
        self.good.send(update(1))
        await self.seen.messages(session, before + len(update(1)))
        self.speaker.send(session, update(2))
        await asyncio.to_thread(self.good.wait_updates, here + 1)
        assert self.seen.lost == []
        assert len(self.seen.closed) == len([n for n, _ in self.seen.closed if n != session])


@pytest.fixture
async def house() -> AsyncIterator[House]:
    local = loopback_address()
    end = local, free_port(local)
    async with running_speaker(open_wait=2) as (speaker, seen):
        house = House(speaker, seen, end)
        with house.good:
            await house.prepare()
            yield house


def notification_in(octets: bytes) -> tuple[int, int] | None:
    """Code and subcode of the NOTIFICATION at the end of ``octets``."""
    at = octets.rfind(MARKER)
    return (octets[at + 19], octets[at + 20]) if at >= 0 and octets[at + 18] == 3 else None


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: route-server\r\n\r\n", (1, 1)),
        (bytes(4096), (1, 1)),
        (MARKER + b"\x00\x05\x01", (1, 2)),
        (MARKER + b"\xff\xff\x01", (1, 2)),
        (MARKER + b"\x00\x13\x09", (1, 3)),
        (message(4), (5, 1)),
        (update(1), (5, 1)),
        (message(1, bytes(10)), (2, 1)),
        (message(1, struct.pack("!BHH4sB", 4, 65001, 90, bytes(4), 2) + b"\x02\x05"), (2, 0)),
        (open_message(asn=65001, router_id="0.0.0.0"), (2, 3)),
        (open_message(asn=65001, router_id="10.255.0.9", hold_time=1), (2, 6)),
        (GOOD_OPEN + GOOD_OPEN, (5, 2)),
        (GOOD_OPEN + update(1), (5, 2)),
        (GOOD_OPEN + message(4) + GOOD_OPEN, (5, 3)),
        (GOOD_OPEN + message(4) + b"x" * 19, (1, 1)),
        (GOOD_OPEN + message(4) + message(99, b"x"), (1, 3)),
    ],
    ids=lambda value: value[:24].hex() if isinstance(value, bytes) else str(value),
)
async def test_nonsense_is_answered_with_the_right_notification(
    house: House, octets: bytes, expected: tuple[int, int]
) -> None:
    assert notification_in(await asyncio.to_thread(house.outcome, octets)) == expected
    await house.still_fine()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
async def test_any_octets_at_all(house: House, data: st.DataObject) -> None:
    """Random bodies of OPEN and whatever follows it: the speaker lives, the peer is dropped."""
    octets = data.draw(
        st.one_of(
            st.binary(min_size=19, max_size=300),
            st.binary(max_size=250).map(lambda body: message(1, body)),
            st.binary(max_size=200).map(
                lambda more: open_message(asn=65001, router_id="10.255.0.9", more=more[:190])
            ),
            st.tuples(st.integers(0, 255), st.binary(max_size=60)).map(
                lambda pair: open_message(asn=65001, router_id="10.255.0.9", more=capability(*pair))
            ),
            st.binary(max_size=100).map(lambda rest: GOOD_OPEN + message(4) + rest),
        )
    )

    def speak() -> None:
        with house.connect(house.bad) as sock:
            try:
                sock.sendall(octets)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except TimeoutError:
                raise
            except OSError:
                pass

    await asyncio.to_thread(speak)
    await house.still_fine()


async def test_a_stranger_is_refused(house: House) -> None:
    for _ in range(50):
        answer = await asyncio.to_thread(house.outcome, b"", loopback_address())
        assert notification_in(answer) == (6, 5)
    await house.still_fine()


async def test_silence_is_not_waited_for_forever(house: House) -> None:
    answer = await asyncio.to_thread(house.outcome, b"")
    assert answer.startswith(MARKER)  # our OPEN
    assert notification_in(answer) is not None
    await house.seen.until(lambda: any("open" in r for r in house.seen.reasons(house.bad)))
    await house.still_fine()


def cpu_ticks(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


async def test_a_peer_that_never_confirms_its_open_costs_no_cpu(house: House) -> None:
    """ExaBGP asks to be called again at once while it waits for the first KEEPALIVE."""
    process = house.speaker.process_id
    assert process is not None
    with house.connect(house.bad) as sock:
        sock.sendall(GOOD_OPEN)
        await house.seen.until(
            lambda: (house.bad, "openconfirm", "") in house.seen.states, "OPENCONFIRM"
        )
        before = cpu_ticks(process)
        await asyncio.sleep(1.0)  # how little happens in it is what is measured
        assert cpu_ticks(process) - before < os.sysconf("SC_CLK_TCK") // 2
    await house.still_fine()


async def test_many_half_open_connections_leave_nothing_behind(house: House) -> None:
    process = house.speaker.process_id

    def descriptors() -> int:
        return len(list(Path(f"/proc/{process}/fd").iterdir()))

    before = descriptors()
    socks = [await asyncio.to_thread(house.connect, house.bad) for _ in range(300)]
    await house.still_fine()
    assert descriptors() <= before + 2
    for sock in socks:
        sock.close()
    strangers = [await asyncio.to_thread(house.connect, loopback_address()) for _ in range(300)]
    await house.still_fine()
    assert descriptors() <= before + 2
    for sock in strangers:
        sock.close()


async def test_a_second_connection_does_not_disturb_an_established_session(house: House) -> None:
    answer = await asyncio.to_thread(house.outcome, GOOD_OPEN, house.good.local)
    assert notification_in(answer) == (6, 7)
    await house.still_fine()


async def test_a_reset_connection_ends_one_session_only(house: House) -> None:
    peer = RawPeer(local=house.bad, remote=house.end)
    with peer:
        await established(peer)
        await house.seen.session(house.bad)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await house.seen.until(lambda: bool(house.seen.closed))
    await house.still_fine()


def start_process() -> tuple[subprocess.Popen[bytes], Channel]:
    """A session process whose controller is this test."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "vpnctl.bgp.exabgp_session", "--fd", str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
    )
    theirs.close()
    channel = Channel(ours)
    ours.setblocking(True)
    return process, channel


def wait_for(channel: Channel, wanted: Kind) -> bytes:
    for _ in range(1000):
        for kind, _, payload in channel.receive() or pytest.fail("the process is gone"):
            if kind == wanted:
                return payload
    raise AssertionError(f"no {wanted.name} came")


@pytest.mark.parametrize("end", ["gone", "stop", "nonsense", "SIGTERM"])
async def test_peers_hear_of_it_when_the_controller_ends(end: str) -> None:
    local, address = loopback_address(), loopback_address()
    port = free_port(local)
    process, channel = start_process()
    try:
        wait_for(channel, Kind.READY)
        desired = Configure(1, (neighbor("pe", address, local, port),), (listen(local, port),))
        channel.put(Kind.CONFIGURE, 0, desired.to_json())
        channel.flush()
        wait_for(channel, Kind.CONFIGURED)
        with RawPeer(local=address, remote=(local, port)) as peer:
            await established(peer)
            SessionOpened.from_json(wait_for(channel, Kind.UP))
            if end == "gone":
                channel.close()
            elif end == "SIGTERM":
                process.send_signal(signal.SIGTERM)
            else:
                channel.put(Kind.STOP if end == "stop" else Kind.UP, 0 if end == "stop" else 1)
                channel.flush()
            assert await asyncio.to_thread(peer.wait_closed) == (6, 2)
        assert await asyncio.to_thread(process.wait, 20) == 0
    finally:
        process.kill()
        process.wait()
        channel.close()


def resident(process: int) -> int:
    """Memory in kB."""
    status = Path(f"/proc/{process}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


async def test_a_stopped_controller_loses_no_session() -> None:
    """SIGSTOP and more than three hold times, with a peer that sends more than can be kept."""
    local, address = loopback_address(), loopback_address()
    port = free_port(local)
    flood = b"".join(update(i, size=4000) for i in range(10000))
    process, channel = start_process()  # this test stops reading: that is all a stopped one does
    try:
        wait_for(channel, Kind.READY)
        config = neighbor("pe", address, local, port, hold_time=3)
        channel.put(Kind.CONFIGURE, 0, Configure(1, (config,), (listen(local, port),)).to_json())
        channel.flush()
        wait_for(channel, Kind.CONFIGURED)
        with RawPeer(local=address, remote=(local, port), hold_time=3) as peer:
            # Who has just been heard of may be short of time for nearly all of the hold time.
            peer.keepalive_every = 0.3
            await asyncio.to_thread(peer.connect)
            await asyncio.to_thread(peer.wait_established)
            sending = asyncio.get_running_loop().run_in_executor(None, peer.send, flood)
            wanted = peer.keepalives + 10
            await asyncio.to_thread(peer.wait, lambda: peer.keepalives >= wanted, "keepalives")
            assert not peer.closed
            assert resident(process.pid) < 60_000  # kB; the flood alone is 40 MB
            received = 0
            while received < len(flood):
                for kind, number, payload in channel.receive() or pytest.fail("gone"):
                    if kind == Kind.UPDATES:
                        received += len(payload)
                        channel.put(Kind.CONSUMED, number, struct.pack("!Q", received))
                    assert kind != Kind.DOWN
                channel.flush()
            await sending
    finally:
        process.kill()
        process.wait()
        channel.close()
