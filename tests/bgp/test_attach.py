"""A session process that outlives its controller, and the ones that come after it."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bgp.recorder import Recorder, established, listen, neighbor
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPLS, RawPeer, end_of_rib, update
from vpnctl.bgp import door, process
from vpnctl.bgp.process import HeldElsewhereError, Keep
from vpnctl.bgp.speaker import Speaker
from vpnctl.bgp.wire import Configure, Kind
from vpnctl.errors import SessionProcessError

pytestmark = pytest.mark.anyio

#: Seconds; no test lasts so long, but for the one that waits for the end of it.
KEEP = 20.0


class House:
    """One peer, and controllers that come and go; ``speaker`` and ``seen`` are of the last."""

    def __init__(self, directory: Path) -> None:
        self.keep = Keep(directory / "bgp", KEEP)
        self.local, self.address = loopback_address(), loopback_address()
        self.port = free_port(self.local)
        self.neighbors = (neighbor("pe", self.address, self.local, self.port),)
        self.peer = RawPeer(local=self.address, remote=(self.local, self.port))
        self.speaker: Speaker | None = None
        self.pids: set[int] = set()

    async def controller(self) -> Speaker:
        self.seen = Recorder()
        self.speaker = Speaker(self.seen, keep=self.keep)
        ready = await self.speaker.start()
        self.pids.add(ready.pid)
        return self.speaker

    async def configure(self) -> None:
        assert self.speaker is not None
        await self.speaker.configure(self.neighbors, [listen(self.local, self.port)])

    async def first(self) -> int:
        """A controller with the peer's session, whose number this is."""
        await self.controller()
        await self.configure()
        await established(self.peer)
        return await self.seen.session("pe")

    async def leave(self) -> None:
        assert self.speaker is not None
        await self.speaker.leave()

    def fall_over(self) -> None:
        """The controller dies, in the middle of whatever it was doing."""
        assert self.speaker is not None
        assert self.speaker._channel is not None
        self.speaker._keep = None  # nobody is left to tell the process to stop
        self.speaker._stopping = True
        self.speaker._disconnect()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    try:
        yield house
    finally:
        house.peer.__exit__()
        if house.speaker is not None:
            await house.speaker.stop()
        found = door.knock(house.keep.directory)
        if found is not None:
            found[0].close()
            os.kill(found[1], 9)


async def test_the_next_controller_is_told_what_was_said(house: House) -> None:
    session = await house.first()
    there, back = [update(i) for i in range(50)], [update(i) for i in range(100, 120)]
    house.peer.send(b"".join(there[:30]))
    await house.seen.messages(session, sum(map(len, there[:30])))
    assert house.speaker is not None
    house.speaker.send(session, b"".join(back))
    await asyncio.to_thread(house.peer.wait_updates, len(back))
    opened = house.seen.opened[session]

    await house.leave()
    house.peer.send(b"".join(there[30:]))  # nobody listens, but it counts
    await house.controller()
    await house.configure()

    seen = house.seen
    assert (seen.held, seen.opened[session], seen.resumptions) == ([session], opened, 1)
    assert await seen.messages(session, sum(map(len, there))) == there
    assert seen.tellings[session] == b"".join(back)
    assert ("pe", "established", "") in seen.states
    assert not house.peer.closed
    assert len(house.pids) == 1
    # It goes on from there, and what is written is counted from here.
    house.speaker.send(session, end_of_rib(VPLS))
    await asyncio.to_thread(house.peer.wait_updates, len(back) + 1)
    await seen.until(lambda: seen.total_written[session] == len(end_of_rib(VPLS)))


async def test_much_that_is_said_meanwhile_waits_at_the_peer(house: House) -> None:
    session = await house.first()
    await house.leave()
    said = [update(i, size=4000) for i in range(1000)]
    sending = asyncio.create_task(asyncio.to_thread(house.peer.send, b"".join(said)))
    await house.controller()
    await house.configure()
    assert await house.seen.messages(session, 4000 * 1000) == said
    await sending


async def test_a_second_controller_is_refused(house: House) -> None:
    session = await house.first()
    second = Speaker(Recorder(), keep=house.keep)
    with pytest.raises(HeldElsewhereError, match="another controller"):
        await second.start()
    assert house.speaker is not None
    house.speaker.send(session, end_of_rib(VPLS))
    await asyncio.to_thread(house.peer.wait_updates, 1)


async def test_with_another_version_the_sessions_begin_anew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.first()
    await house.leave()
    monkeypatch.setattr(process, "version", lambda: "of tomorrow")
    await house.controller()
    assert len(house.pids) == 2
    await asyncio.to_thread(house.peer.wait_closed)
    assert house.peer.notification == (6, 2)
    await house.configure()
    assert house.seen.held == []


async def test_whoever_is_no_controller_is_sent_away(house: House) -> None:
    session = await house.first()
    for said in (b"", b"\x00\x00\x00\x02\x21\x00\x00\x00\x00{}", b"\xff" * 9):
        found = door.knock(house.keep.directory)
        assert found is not None
        sock, _ = found
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(sock.recv, 1) == b""
        sock.close()
    assert house.speaker is not None
    house.speaker.send(session, end_of_rib(VPLS))
    await asyncio.to_thread(house.peer.wait_updates, 1)


async def test_a_peer_that_is_configured_otherwise_now_begins_anew(house: House) -> None:
    await house.first()
    await house.leave()
    house.neighbors = (neighbor("pe", house.address, house.local, house.port, hold_time=30),)
    await house.controller()
    await house.configure()
    await asyncio.to_thread(house.peer.wait_closed)
    assert house.peer.notification == (6, 6)
    assert house.seen.held == []


async def test_a_session_that_ends_meanwhile_is_not_told_of(house: House) -> None:
    await house.first()
    await house.leave()
    house.peer.close()
    await house.controller()
    await house.configure()
    assert house.seen.held == []
    assert house.seen.resumptions == 1
    reasons = house.seen.reasons("pe")
    assert "closed the connection" in reasons[-1]
    await established(house.peer)
    assert await house.seen.session("pe") == 2


async def test_a_controller_that_falls_over_leaves_the_sessions_too(house: House) -> None:
    session = await house.first()
    house.fall_over()
    await house.controller()
    await house.configure()
    assert house.seen.held == [session]
    assert not house.peer.closed


@pytest.mark.parametrize("wanted", [False, True], ids=["at the door", "while it is told"])
async def test_one_that_dies_while_it_comes_costs_nothing(house: House, wanted: bool) -> None:
    session = await house.first()
    said = [update(i, size=4000) for i in range(500)]
    house.peer.send(b"".join(said))
    await house.seen.messages(session, 4000 * len(said))
    await house.leave()

    found = process.find(house.keep)
    assert found is not None
    await asyncio.to_thread(select.select, [found.channel.sock], [], [])
    if wanted:
        desired = Configure(1, house.neighbors, (listen(house.local, house.port),))
        found.channel.put(Kind.CONFIGURE, 0, desired.to_json())
        found.channel.flush()
    found.forget()

    await house.controller()
    await house.configure()
    assert house.seen.held == [session]
    assert await house.seen.messages(session, 4000 * len(said)) == said
    assert len(house.pids) == 1


async def test_when_nobody_comes_the_peers_are_told(house: House) -> None:
    house.keep = Keep(house.keep.directory, 0.3)
    await house.first()
    await house.leave()
    await asyncio.to_thread(house.peer.wait_closed)
    assert house.peer.notification == (6, 2)
    assert b"no controller came back" in house.peer.messages[-1]


async def test_a_process_that_dies_with_another_controller_is_started_again(house: House) -> None:
    await house.first()
    await house.leave()
    speaker = await house.controller()
    await house.configure()
    pid = speaker.process_id
    assert pid is not None
    os.kill(pid, 9)
    await house.seen.until(lambda: bool(house.seen.lost))
    assert house.seen.up == {}
    await asyncio.to_thread(house.peer.wait_closed)
    house.peer.close()
    await house.configure()
    await established(house.peer)
    await house.seen.session("pe")
    assert speaker.process_id != pid


async def test_stopping_leaves_no_process_and_no_socket(house: House) -> None:
    await house.first()
    await house.leave()
    speaker = await house.controller()
    await speaker.stop()
    assert door.knock(house.keep.directory) is None
    assert not house.keep.directory.exists()


async def test_the_door_is_for_its_owner_alone(house: House) -> None:
    await house.controller()
    directory = house.keep.directory
    (name,) = directory.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(name.stat().st_mode) == 0o600


async def test_a_directory_of_others_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "bgp"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    with pytest.raises(SessionProcessError, match="no directory of yours alone"):
        await Speaker(Recorder(), keep=Keep(directory, KEEP)).start()
    long = tmp_path / ("x" * 120)
    with pytest.raises(SessionProcessError, match="longer than 107 octets"):
        await Speaker(Recorder(), keep=Keep(long, KEEP)).start()
