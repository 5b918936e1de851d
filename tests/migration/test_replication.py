"""A machine's disks go ahead to another site, and only what is missing goes along with it."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.migration.world import World, kill, moved
from tests.support.qemu import PATIENCE, Shape
from vpnctl.errors import NotFoundError, UsageError
from vpnctl.migration.agent.messages import ReplicationView
from vpnctl.migration.coordinator import Coordinator
from vpnctl.migration.definition import Disk

pytestmark = pytest.mark.daemon

SIZE = 16 << 20
DISK = Disk(file="web1.img", format="raw")


async def _in_phase(coordinator: Coordinator, phase: str) -> ReplicationView:
    async with asyncio.timeout(PATIENCE):
        while True:
            found, _ = await coordinator.replications()
            if found and found[0].phase == phase:
                return found[0]
            await asyncio.sleep(0.1)


def test_disks_go_ahead_are_cut_off_and_go_on(world: World) -> None:
    content = random.Random(5).randbytes(SIZE)

    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        (world.directory / "a" / "disks" / DISK.file).write_bytes(content)
        copy = world.directory / "b" / "disks" / DISK.file
        await world.start_machine("a", Shape(), DISK)
        async with world.coordinator() as coordinator:
            await coordinator.replicate("web1", "b")
            first = await _in_phase(coordinator, "following")
            assert first.wire > SIZE * 0.9
            with pytest.raises(UsageError, match="replicated to b already"):
                await coordinator.replicate("web1", "b")
            # Both agents die; the one that owns the machine remembers, and finds the other again.
            for site in "ba":
                world.restart_agent(site)
        async with world.coordinator() as coordinator:
            again = await _in_phase(coordinator, "following")
            assert again.wire < SIZE * 0.05
            assert copy.read_bytes() == content
            # A migration that comes to nothing is no reason to end.
            view = await coordinator.start("web1", "b", hold=True)
            await coordinator.tell(view, "cancel")
            await moved(coordinator.watch(view))
            await _in_phase(coordinator, "following")
            view = await moved(coordinator.watch(await coordinator.start("web1", "b")))
            assert view.phase == "done", view
            assert view.disk_wire < SIZE * 0.05
            assert await world.settled() == "b"
            assert (await coordinator.replications())[0] == []
            with pytest.raises(NotFoundError, match="not replicated"):
                await coordinator.end_replication("web1")
            # What was is still known when both agents have been restarted.
            for site in "ab":
                world.restart_agent(site)
            assert (await coordinator.find("web1")).migration == view.migration

    asyncio.run(story())


def test_whatever_dies_while_disks_go_ahead_they_follow_again(world: World) -> None:
    """The other site's storage daemon, the machine itself, the agent that owns it, by SIGKILL."""
    content = random.Random(6).randbytes(SIZE)

    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        (world.directory / "a" / "disks" / DISK.file).write_bytes(content)
        copy = world.directory / "b" / "disks" / DISK.file
        await world.start_machine("a", Shape(), DISK)
        # Something is in the way of the replication's own directory.
        obstacle = world.directory / "a" / "run" / "replica-web1"
        obstacle.touch()
        async with world.coordinator() as coordinator:
            await coordinator.replicate("web1", "b")
            assert "exists" in (await _in_phase(coordinator, "cut off")).error
            obstacle.unlink()
            await _in_phase(coordinator, "following")

            kill(world.directory / "b", "qemu-storage-daemon")
            assert (await _in_phase(coordinator, "cut off")).error
            again = await _in_phase(coordinator, "following")
            assert again.wire < SIZE * 0.05

            kill(world.directory / "a", "qemu-system", "\0-name")
            cut = await _in_phase(coordinator, "cut off")
            assert cut.error == "the QEMU of web1 has ended"
            # Its agent dies, too; another one starts the machine again.
            world.restart_agent("a")
        async with world.coordinator() as coordinator:
            again = await _in_phase(coordinator, "following")
            assert again.wire < SIZE * 0.05
            assert await world.verify("a") > 0
            await coordinator.end_replication("web1")
        assert copy.read_bytes() == content

    asyncio.run(story())
