"""The controller is killed, or ends, and its BGP sessions go on: no PE is told of anything else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.controller.stage import E1, Pe, Stage, until
from tests.controller.test_kill import Operator, changes_until_killed, close, connect, expected
from tests.routing import wire
from tests.support.serve import Serve
from vpnctl.bgp.process import Keep
from vpnctl.bgp.speaker import Speaker
from vpnctl.store import Store

pytestmark = pytest.mark.daemon

KILLS = 5
#: Seconds; longer than any controller takes to start here.
KEEP = 30


class Kept:
    """A controller whose sessions outlive it, and PEs that are connected once for all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stage = Stage(directory)
        self.daemon = self.start()
        self.pes: dict[str, Pe] = {}

    def start(self, *options: str) -> Serve:
        self.daemon = Serve(
            self.stage.policies,
            self.stage.store_url,
            self.directory,
            keep_sessions=KEEP,
            options=options,
        )
        return self.daemon

    def connect(self) -> None:
        self.pes = connect(self.stage)
        self.wait_expected()

    def wait_expected(self) -> None:
        """Until every PE has exactly what the applied revision says."""
        with Store.open(self.stage.store_url, read_only=True) as store:
            latest = store.latest()
            assert latest is not None
            files, allocations = store.files(latest.number), store.allocations()
        for name, held in expected(files, allocations).items():
            pe = self.pes[name]
            pe.raw.wait(lambda pe=pe, held=held: pe.held == held, f"the routes of {name}")  # type: ignore[misc]

    def established(self) -> int:
        return int(self.daemon.client.get("status")["status"]["peers_established"])


@contextmanager
def kept(directory: Path) -> Iterator[Kept]:
    world = Kept(directory)
    try:
        yield world
    finally:
        close(world.pes)
        if world.daemon.process.poll() is None:
            world.daemon.stop()
        world.daemon.kill_sessions()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Kept]:
    with kept(tmp_path) as world:
        yield world


def test_no_kill_ends_a_session_or_leaves_a_route_wrong(world: Kept) -> None:
    """Whatever it was doing: the next one brings the PEs to what the applied revision says."""
    world.connect()
    chance = random.Random(4724)
    operator = Operator(world.stage, chance)
    for _ in range(KILLS):
        changes_until_killed(world.daemon, operator, chance)
        world.start()
        assert world.established() == 3
        assert world.daemon.client.get("status")["status"]["sessions_kept_s"] == KEEP
        world.wait_expected()
    assert not any(pe.raw.closed for pe in world.pes.values())


def test_what_pes_said_meanwhile_counts(world: Kept) -> None:
    world.connect()
    world.daemon.kill()
    world.pes["pe-b"].announce(21, ("10.2.7",), "65000:1102")
    world.pes["pe-b"].withdraw(21, ("10.2.1",))
    world.start()
    pe = world.pes["pe-a"]
    pe.raw.wait(
        lambda: {nlri for nlri in pe.held if ":21:" in nlri} == {"65000:21:10.2.7.0/24"},
        "the routes of pe-b as they are now",
    )


def test_a_policy_changed_meanwhile_is_in_force(world: Kept) -> None:
    """What a PE was told before, and must not have any more, is taken back."""
    world.connect()
    world.daemon.kill()
    world.stage.write("e1.yaml", E1.replace("  - site: cloud1\n    targets: 65000:1102\n", ""))
    world.start("--apply")
    world.wait_expected()
    assert world.pes["pe-b"].held == {}
    assert not any(pe.raw.closed for pe in world.pes.values())


def test_a_session_that_ended_meanwhile_takes_its_routes_along(world: Kept) -> None:
    world.connect()
    world.daemon.kill()
    world.pes.pop("pe-b").raw.__exit__()
    world.start()
    pe = world.pes["pe-a"]
    pe.raw.wait(lambda: not any(":21:" in nlri for nlri in pe.held), "pe-b's routes to go")


def _has_ended(pe: Pe, before: int) -> bool:
    return any(update.end_of_rib for update in pe.since(before))


def test_a_signal_leaves_the_sessions_to_the_next_one(world: Kept) -> None:
    world.connect()
    told = {name: len(pe.raw.updates) for name, pe in world.pes.items()}
    world.daemon.leave()
    world.start()
    world.wait_expected()
    assert not any(pe.raw.closed for pe in world.pes.values())
    # Nothing was taken back, not even for a moment, and nothing was said twice.
    for name, pe in world.pes.items():
        ended = partial(_has_ended, pe, told[name])
        pe.raw.wait(ended, "the end of its table")
        assert not any(update.withdrawn or update.announced for update in pe.since(told[name]))


def test_nothing_is_left_when_it_is_stopped(world: Kept) -> None:
    world.connect()
    world.daemon.stop()
    assert not world.daemon.kill_sessions()
    for pe in world.pes.values():
        pe.raw.wait_closed()
    assert not Path(f"{world.daemon.socket}.bgp").exists()


def test_without_any_process_everything_begins_anew(world: Kept) -> None:
    world.connect()
    world.daemon.kill()
    assert world.daemon.kill_sessions()
    close(world.pes)
    world.start()
    assert world.established() == 0
    world.connect()


@pytest.mark.anyio
async def test_what_was_made_less_of_is_all_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session process keeps images of what was said and told, and asks for them often."""
    pieces: dict[int, bytes] = {}
    heard: dict[int, bytes] = {}
    image, image_done = Speaker.image, Speaker.image_done

    def piece(speaker: Speaker, session: int, octets: bytes, *, heard: bool) -> None:
        image(speaker, session, octets, heard=heard)
        pieces[session] = pieces.get(session, b"") + (octets if heard else b"")

    def done(speaker: Speaker, session: int) -> None:
        image_done(speaker, session)
        heard[session] = pieces.pop(session, b"")

    monkeypatch.setattr(Speaker, "image", piece)
    monkeypatch.setattr(Speaker, "image_done", done)
    stage = Stage(tmp_path)
    keep = Keep(tmp_path / "bgp", KEEP, octets=1)
    try:
        await stage.start(keep=keep)
        await stage.connect_all()
        await stage.extend()
        await stage.settled()
        sessions = len(stage.pes)
        await until(lambda: len(heard) == sessions, "an image of every session")
        stage.pes["pe-b"].announce(21, ("10.2.5",), "65000:1102")
        await stage.settled()
        held = {name: pe.held for name, pe in stage.pes.items()}
        assert any(":21:10.2.5" in nlri for nlri in held["pe-a"])

        await next_controller(stage, keep)
        assert {name: pe.held for name, pe in stage.pes.items()} == held
        await stage.retract()
        await until(
            lambda: not any(":21:" in nlri for nlri in stage.pes["pe-c"].held), "pe-b's to go"
        )

        # A PE sends its routes again, one of them not, and then the controller is gone.
        pe, gone = stage.pes["pe-b"], "65000:21:10.2.1.0/24"
        number = stage.running._engine.by_peer["pe-b"].opened.number
        pe.raw.send(wire.message(b"\0\1\1\x80", 5))
        pe.announce(21, ("10.2.5",), "65000:1102")
        pe.raw.send(wire.message(b"\0\1\2\x80", 5))
        await until(lambda: gone not in stage.pes["pe-a"].held, "the route to be swept")
        await until(
            lambda: b"\x0a\2\5" in heard[number] and b"\x0a\2\1" not in heard[number],
            "an image that knows of it",
        )
        await next_controller(stage, keep)
        assert gone not in stage.pes["pe-a"].held
        assert "65000:21:10.2.5.0/24" in stage.pes["pe-a"].held
        assert not any(pe.raw.closed for pe in stage.pes.values())
    finally:
        await stage.close()


async def next_controller(stage: Stage, keep: Keep) -> None:
    """Another one in its place, which has sent the PEs their tables."""
    assert stage.controller is not None
    await stage.controller.stop(leave=True)
    told = {name: len(pe.raw.updates) for name, pe in stage.pes.items()}
    await stage.start(keep=keep)
    engine = stage.running._engine

    def everything_sent() -> bool:
        return len(engine.sessions) == len(stage.pes) and all(
            len(stage.pes[session.opened.peer].raw.updates)
            == told[session.opened.peer] + session.updates_sent
            and not session.loading
            and not session.waiting
            for session in engine.sessions.values()
        )

    await until(everything_sent, "the PEs to have their tables")
