"""Real guests move between two sites with real agents, sidecars and QEMUs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.migration.world import World, guests_below, kill, moved
from tests.support.qemu import Shape
from vpnctl.errors import NotFoundError, PrecheckError, UsageError
from vpnctl.migration.agent.messages import MigrateRequest, MigrationView

pytestmark = pytest.mark.daemon


async def _phase(world: World, view: MigrationView, *wanted: str) -> None:
    """Return when a migration is in one of these phases."""
    async with world.coordinator() as coordinator:
        async for one in coordinator.watch(view):
            if one.phase in wanted:
                return
            assert not one.ended, one


def _niceness(world: World) -> dict[str, int]:
    """How nice each sidecar is; see nice(1)."""
    found = {}
    for process in guests_below(world.directory):
        words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
        if "sidecar" in words:
            found[words[words.index("sidecar") + 1]] = os.getpriority(os.PRIO_PROCESS, process)
    return found


def test_a_guest_moves_and_comes_back(world: World) -> None:
    """Its memory is right, its rounds are counted on, and nothing is left where it was."""

    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        await world.start_machine("a", Shape(), world.shared_disk())
        rounds = await world.verify("a")
        async with world.coordinator() as coordinator:
            for source, target in (("a", "b"), ("b", "a")):
                view = await moved(coordinator.watch(await coordinator.start("web1", target)))
                assert view.phase == "done", view
                assert await world.settled() == target
                assert view.paused_s is not None
                assert view.guest > view.wire > 0
                assert await world.verify(target) > rounds
                rounds = await world.verify(target)
                gone = await world.machine(source)
                assert (gone.state, gone.owner) == ("gone", False)
                assert not list((world.directory / source / "run").iterdir())
                with pytest.raises(PrecheckError, match="already"):
                    await coordinator.start("web1", target)
        # It has only just come, and dies: it is started again, from its disk.
        kill(world.directory / "a", "qemu-system")
        assert await world.settled() == "a"
        assert 0 < await world.verify("a") < rounds

    asyncio.run(story())


def test_an_operator_holds_limits_and_cancels(world: World) -> None:
    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        await world.start_machine("a", Shape(), world.shared_disk())
        await world.verify("a")
        async with world.coordinator() as coordinator:
            with pytest.raises(NotFoundError):
                await coordinator.find("web1")
            view = await coordinator.start("web1", "b", rate=10_000_000)
            await _phase(world, view, "memory")
            nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
            assert _niceness(world) == {"source": nice, "destination": nice}
            with pytest.raises(UsageError, match="moving already"):
                await coordinator._agents["a"].post(
                    "migrations",
                    MigrationView,
                    MigrateRequest(migration="other", machine="web1", to=world.peers["b"]),
                )
            assert (await coordinator.tell(view, "pause")).phase == "held"
            assert (await coordinator.tell(view, "resume")).phase == "memory"
            await coordinator.tell(view, "cancel")
            ended = await moved(coordinator.watch(view))
            assert ended.phase == "cancelled"
            assert await world.settled() == "a"
            assert await world.verify("a") > 0
            assert not list((world.directory / "b" / "run").iterdir())
            with pytest.raises(UsageError, match="is not moving now"):
                await coordinator.tell(view, "switchover")

    asyncio.run(story())


#: Moments of the commit protocol at which an agent dies: half, state, action, before or after it.
MOMENTS = (
    "departing:offered:record:before",
    "departing:offered:record:after",
    "departing:offered:send offer:after",
    "departing:gone:record:after",
    "arriving:accepted:record:before",
    "arriving:accepted:record:after",
    "arriving:accepted:run:after",
    "arriving:ours:accept:before",
)


def test_an_agent_dies_at_every_step_of_the_commit(world: World) -> None:
    """One guest goes through all of it: it always runs at one site, and forgets nothing."""

    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        await world.start_machine("a", Shape(), world.shared_disk())
        rounds = await world.verify("a")
        for moment in MOMENTS:
            source = await world.settled()
            target = "b" if source == "a" else "a"
            mortal = source if moment.startswith("departing") else target
            world.restart_agent(mortal, die=moment)
            async with world.coordinator() as coordinator:
                await coordinator.start("web1", target)
            await asyncio.to_thread(world.agents[mortal].process.wait, 60)
            world.restart_agent(mortal)
            where = await world.settled()
            now = await world.verify(where)
            assert now > rounds, moment
            rounds = now

    asyncio.run(story())


#: What is killed while memory moves from a to b: whose it is, and what its arguments have.
VICTIMS = (
    ("a", "sidecar\0source"),
    ("b", "sidecar\0destination"),
    ("b", "-incoming"),
)


def test_whatever_dies_while_memory_moves_the_guest_runs_on(world: World) -> None:
    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        await world.start_machine("a", Shape(), world.shared_disk())
        rounds = await world.verify("a")
        async with world.coordinator() as coordinator:
            for site, words in VICTIMS:
                # Held, so that it does not arrive before that is killed.
                view = await coordinator.start("web1", "b", rate=20_000_000, hold=True)
                await _phase(world, view, "memory", "held")
                kill(world.directory / site, words)
                ended = await moved(coordinator.watch(view))
                assert ended.phase == "failed", ended
                assert ended.error
                assert await world.settled() == "a"
                now = await world.verify("a")
                assert now > rounds
                rounds = now
            # The machine itself may die: then it is started again from its disk, where it was.
            view = await coordinator.start("web1", "b", rate=20_000_000, hold=True)
            await _phase(world, view, "memory", "held")
            kill(world.directory / "a", "qemu-system", "\0-name")
            assert (await moved(coordinator.watch(view))).phase == "failed"
            assert await world.settled() == "a"
            assert await world.verify("a") < rounds
            assert not list((world.directory / "b" / "run").iterdir())

    asyncio.run(story())


def test_two_machines_of_an_application_arrive_together(world: World) -> None:
    """The one that is ready first is held; they pause together, and go on together."""

    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        names = ("web1", "db1")
        for name in names:
            shape = Shape(text=16 if name == "db1" else 4)
            await world.start_machine("a", shape, world.shared_disk(f"{name}.img"), name=name)
        for name in names:
            await world.verify("a", name)
        async with world.coordinator() as coordinator:
            assert sorted(await coordinator.members("shop", "b")) == ["db1", "web1"]
            together = coordinator.together("shop", len(names))
            begun = [
                await coordinator.start(name, "b", rate=40_000_000, together=together)
                for name in names
            ]
            ends = {}
            async for view in coordinator.move_together(begun):
                ends[view.machine] = view
        for name, view in ends.items():
            assert view.phase == "done", view
            assert await world.settled(name) == "b"
            assert await world.verify("b", name) > 0
        moments = {
            what: [
                view.began + mark.at_s
                for view in ends.values()
                for mark in view.timeline
                if mark.what == what
            ]
            for what in ("held", "released", "guest stopped")
        }
        assert all(len(found) == len(names) for found in moments.values()), moments
        assert max(moments["held"]) < min(moments["released"])
        assert max(moments["held"]) < min(moments["guest stopped"])
        # Neither went on before both stood still and were complete.
        resumed = [view.resumed_at for view in ends.values() if view.resumed_at is not None]
        assert len(resumed) == len(names)
        assert min(resumed) > max(moments["guest stopped"])

    asyncio.run(story())
