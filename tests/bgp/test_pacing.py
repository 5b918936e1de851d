"""The share of the controller's time that each peer's UPDATEs have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.bgp.recorder import Recorder, established, listen, neighbor, running_speaker
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import RawPeer, update
from vpnctl.bgp import pacing
from vpnctl.bgp.pacing import BURST, PIECE, SHARE, Budgets, Frame, Pacing
from vpnctl.bgp.speaker import Speaker
from vpnctl.bgp.wire import Kind


def test_a_table_that_is_said_at_once_does_not_wait() -> None:
    budgets = Budgets()
    now = 100.0
    for _ in range(10):
        assert budgets.spend("pe-1", BURST / 10, now) == 0
    # Then it does, and so it has its share of the time, no more.
    begun, worked = now, 0.0
    for _ in range(1000):
        pause = budgets.spend("pe-1", 0.01, now)
        worked += 0.01
        now += 0.01 + pause
    assert worked / (now - begun) == pytest.approx(SHARE, rel=0.01)
    # Another peer is not concerned, and who is silent may begin anew.
    assert budgets.spend("pe-2", BURST, now) == 0
    assert budgets.spend("pe-1", BURST, now + BURST / SHARE) == 0


class World:
    """What was handed on, and what waits for its time."""

    def __init__(self, pauses: list[float]) -> None:
        self.handed: list[Frame] = []
        self.due: list[tuple[float, Callable[[int], None], int]] = []
        self.pauses = pauses
        self.pacing = Pacing(self._hand_on, lambda *timer: self.due.append(timer))

    def _hand_on(self, frame: Frame) -> float:
        self.handed.append(frame)
        return self.pauses.pop(0) if self.pauses else 0.0

    def pass_time(self) -> None:
        due, self.due = self.due, []
        for _, function, session in due:
            function(session)

    @property
    def pauses_due(self) -> list[float]:
        return [seconds for seconds, _, _ in self.due]


def test_frames_wait_in_their_order_and_in_pieces() -> None:
    world = World([0.3, 0.2])
    world.pacing.wait(7, 0.1)
    updates = b"".join(update(mark, size=1000) for mark in range(20))
    world.pacing.add((Kind.UPDATES, 7, updates))
    world.pacing.add((Kind.REFRESH, 7, b"refresh"))
    assert 7 in world.pacing
    assert world.handed == []
    assert world.pauses_due == [0.1]
    world.pass_time()
    assert [(len(frame[2]) - PIECE) < 1000 for frame in world.handed] == [True]
    assert world.pauses_due == [0.3]
    world.pass_time()
    world.pass_time()
    assert b"".join(frame[2] for frame in world.handed) == updates + b"refresh"
    assert world.handed[-1][0] == Kind.REFRESH
    assert 7 not in world.pacing
    assert world.due == []


def test_what_an_ended_session_said_is_dropped() -> None:
    world = World([])
    world.pacing.wait(7, 0.1)
    world.pacing.add((Kind.UPDATES, 7, update(1)))
    world.pacing.forget(7)
    world.pass_time()
    assert world.handed == []


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sessions that had to wait."""
    noted: list[int] = []
    wait = Pacing.wait

    def noting(self: Pacing, session: int, seconds: float) -> None:
        noted.append(session)
        wait(self, session, seconds)

    monkeypatch.setattr(Pacing, "wait", noting)
    return noted


@asynccontextmanager
async def speaker_of_one() -> AsyncIterator[tuple[Speaker, Recorder, Callable[[], RawPeer]]]:
    """A speaker with one neighbor, what it tells, and what makes a connection of that neighbor."""
    local, address = loopback_address(), loopback_address()
    port = free_port(local)
    async with running_speaker() as (speaker, seen):
        await speaker.configure([neighbor("pe-1", address, local, port)], [listen(local, port)])
        yield speaker, seen, lambda: RawPeer(local=address, remote=(local, port))


@pytest.mark.daemon
@pytest.mark.anyio
async def test_everything_of_a_peer_that_waits_comes_in_its_order(
    waited: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "BURST", 0.0)
    async with speaker_of_one() as (speaker, seen, connection):
        with connection() as peer:
            await established(peer)
            session = await seen.session("pe-1")
            sent = b"".join(update(mark, size=400) for mark in range(3000))
            await asyncio.to_thread(peer.send, sent[:400])
            await seen.until(lambda: bool(seen.octets[session]), "the first UPDATE")
            await asyncio.to_thread(peer.send, sent[400:])
            await seen.until(lambda: len(seen.octets[session]) == len(sent), "all UPDATEs")
            assert seen.octets[session] == sent
            assert waited[0] == session
        # Its end does not wait for what it still said; when it comes again, it waits at once.
        await seen.until(lambda: not seen.up, "the end of the session")
        del waited[:]
        with connection() as peer:
            speaker._budgets.spend("pe-1", 10.0, time.monotonic())
            await established(peer)
            session = await seen.session("pe-1")
            assert waited == [session]


def work(seconds: float) -> None:
    """Keep the processor busy for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.daemon
@pytest.mark.anyio
@pytest.mark.parametrize(("spend", "waits"), [(work, True), (time.sleep, False)])
async def test_only_work_counts_and_no_time_in_which_the_controller_stands_still(
    spend: Callable[[float], None],
    waits: bool,
    waited: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "BURST", 0.5)
    take = Recorder.updates

    def taking(self: Recorder, session: int, messages: bytes) -> None:
        spend(0.6)
        take(self, session, messages)

    monkeypatch.setattr(Recorder, "updates", taking)
    async with speaker_of_one() as (_, seen, connection):
        with connection() as peer:
            await established(peer)
            session = await seen.session("pe-1")
            await asyncio.to_thread(peer.send, update(1))
            await seen.messages(session, len(update(1)))
            assert waited == ([session] if waits else [])
