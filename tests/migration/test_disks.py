"""A machine with a disk of its own moves between two sites that only know each other's names."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from qemu.qmp import QMPClient

from tests.migration.world import World, define, moved
from tests.support.guest_image import MissingError
from tests.support.qemu import PATIENCE, Shape, find_newer_qemu, find_qemu
from tests.support.records import Record, check_complete, check_left_behind, read_while_written
from vpnctl.errors import AgentError, UsageError
from vpnctl.migration.agent.messages import (
    AttachRequest,
    MachineView,
    MigrateRequest,
    MigrationView,
    SiteFacts,
)
from vpnctl.migration.agent.peer import LONG_S
from vpnctl.migration.definition import Disk
from vpnctl.migration.hypervisor.command_line import Places, arguments

pytestmark = pytest.mark.daemon

MIB = 1 << 20
SIZE = 32 * MIB
#: Of the records that a guest writes, 2 MiB of them.
SLOTS = 512
DISK = Disk(file="web1.img", format="raw")


class Writer:
    """Writes to a machine's disk, through its own device, while it runs: what was written last
    where is known."""

    def __init__(self, qmp: QMPClient) -> None:
        self.written: dict[int, int] = {}
        self._qmp = qmp
        self._random = random.Random(3)

    async def write(self) -> None:
        """One block of 4 KiB somewhere."""
        offset, letter = self._random.randrange(SIZE // 4096) * 4096, self._random.randrange(1, 256)
        answer = await self._qmp.execute(
            "human-monitor-command",
            {"command-line": f'qemu-io -d vd0/virtio-backend "write -P {letter} {offset} 4096"'},
        )
        assert "wrote 4096/4096" in str(answer) or not answer, answer
        self.written[offset] = letter

    async def keep_writing(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.shield(self.write())


@asynccontextmanager
async def attached(world: World, content: bytes) -> AsyncIterator[Writer]:
    """A machine at a that somebody else has started, and that its agent has taken over."""
    disk = world.directory / "a" / "disks" / DISK.file
    disk.write_bytes(content)
    run = world.directory / "own"
    run.mkdir()
    places = Places(disk.parent, world.directory / "shared", world.directory / "images", run)
    definition = define(Shape(), DISK)
    second = run / "second"
    process = await asyncio.create_subprocess_exec(
        find_qemu(), *arguments(definition, places, (), incoming=False),
        "-qmp", f"unix:{second},server=on,wait=off", stdin=subprocess.DEVNULL,
    )  # fmt: skip
    qmp = QMPClient("writer")
    try:
        async with asyncio.timeout(60):
            while not second.exists() or not places.qmp.exists():  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
        await qmp.connect(str(second))
        async with world.client("a") as agent:
            request = AttachRequest(definition=definition, qmp=str(places.qmp))
            assert (await agent.post("attach", MachineView, request, LONG_S)).state == "running"
        yield Writer(qmp)
    finally:
        # Its QEMU has ended when the machine has gone.
        with contextlib.suppress(EOFError):
            await qmp.disconnect()
        if process.returncode is None:
            process.kill()
        await process.wait()


def _disk(world: World, site: str) -> bytes:
    return (world.directory / site / "disks" / DISK.file).read_bytes()


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


@pytest.mark.parametrize("world", [True], indirect=True)
def test_a_disk_goes_along_and_comes_back_as_a_difference(world: World) -> None:
    content = random.Random(1).randbytes(SIZE // 2) + bytes(SIZE // 2)

    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        async with attached(world, content) as writer, world.coordinator() as coordinator:
            view = await coordinator.start("web1", "b", hold=True)
            writing = asyncio.create_task(writer.keep_writing())
            async for one in coordinator.watch(view):
                assert not one.ended, one
                if one.phase == "held":
                    break
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            assert len(writer.written) > 10
            await coordinator.tell(view, "release")
            there = await moved(coordinator.watch(view))
            assert there.phase == "done", there
        assert await world.settled() == "b"
        disk = _disk(world, "b")
        assert _digest(disk) == _digest(_disk(world, "a"))
        for offset, letter in writer.written.items():
            assert disk[offset : offset + 4096] == bytes([letter]) * 4096
        assert there.disk_wire > SIZE // 3
        async with world.coordinator() as coordinator:
            back = await moved(coordinator.watch(await coordinator.start("web1", "a")))
            assert back.phase == "done", back
        assert back.disk_wire < there.disk_wire * 0.05
        assert _digest(disk) == _digest(_disk(world, "a"))

    asyncio.run(story())


@pytest.fixture
def newer() -> str:
    """A QEMU whose disks can follow synchronously."""
    try:
        return find_newer_qemu()
    except MissingError as missing:
        pytest.skip(str(missing))


async def _records(world: World, site: str) -> dict[int, Record]:
    return await read_while_written(world.directory / site / "disks" / DISK.file, SLOTS)


async def _written_after(world: World, number: int, site: str) -> int:
    """The last record, once the guest itself has written some after ``number`` there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            last = max(await _records(world, site), default=0)
            if last >= number + 20:
                return last
            await asyncio.sleep(0.1)


async def _start_writing(world: World) -> None:
    """At a; not by the monitor, which such a write would hold up, and with it the whole guest."""
    here = world.directory / "a" / "disks" / DISK.file
    here.parent.mkdir(exist_ok=True)
    here.write_bytes(bytes(SIZE))
    await world.start_machine("a", Shape(), DISK, more=f"writes=100 records={SLOTS}")
    await _written_after(world, 0, "a")


async def _marked(views: AsyncIterator[MigrationView], what: str, times: int = 1) -> None:
    async for one in views:
        assert not one.ended, (one.error, one.hint, [mark.what for mark in one.timeline])
        if [mark.what for mark in one.timeline].count(what) == times:
            return


async def _check_moved(world: World, boot: int) -> None:
    """To b, with all that was written, and without another boot."""
    assert await world.settled() == "b"
    left = await _records(world, "a")
    await _written_after(world, max(left), "b")
    found = await _records(world, "b")
    check_complete(found, SLOTS, max(left))
    check_left_behind(left, found)
    assert {record.nonce for record in found.values()} == {boot}


def test_a_stalled_link_does_not_stall_the_guest(world: World, newer: str) -> None:
    """Where QEMU can, disks follow synchronously; then the guest waits, but not for ever."""

    async def story() -> None:
        for site in "ab":
            world.start_agent(site, "--qemu", newer)
        await _start_writing(world)
        boot = next(iter((await _records(world, "a")).values())).nonce
        async with world.coordinator() as coordinator:
            view = await coordinator.start("web1", "b", hold=True)
            await _marked(coordinator.watch(view), "disks follow synchronously")
            # The other site's agent does nothing any more: as a link does that is cut far away.
            there = world.agents["b"].process
            there.send_signal(signal.SIGSTOP)
            try:
                stalled = "the link stalls: disks follow asynchronously"
                await _marked(coordinator.watch(view), stalled)
                await _written_after(world, max(await _records(world, "a")), "a")
            finally:
                there.send_signal(signal.SIGCONT)
            await _marked(coordinator.watch(view), "disks follow synchronously", 2)
            await coordinator.tell(view, "release")
            ended = await moved(coordinator.watch(view))
            assert ended.phase == "done", ended
        await _check_moved(world, boot)

    asyncio.run(story())


def test_an_agent_that_dies_does_no_harm_to_a_guest_whose_disk_follows(
    world: World, newer: str
) -> None:
    """Its writes wait for the agent's answers: then for nobody's, and the old mirror goes."""

    async def story() -> None:
        for site in "ab":
            world.start_agent(site, "--qemu", newer)
        await _start_writing(world)
        boot = next(iter((await _records(world, "a")).values())).nonce
        for _ in range(2):
            async with world.coordinator() as coordinator:
                view = await coordinator.start("web1", "b", hold=True)
                await _marked(coordinator.watch(view), "disks follow synchronously")
            world.agents["a"].die()
            await _written_after(world, max(await _records(world, "a")), "a")
            world.restart_agent("a")
            assert await world.settled() == "a"
            await _written_after(world, max(await _records(world, "a")), "a")
        async with world.coordinator() as coordinator:
            ended = await moved(coordinator.watch(await coordinator.start("web1", "b")))
            assert ended.phase == "done", ended
        await _check_moved(world, boot)

    asyncio.run(story())


@pytest.mark.parametrize("world", [True], indirect=True)
def test_who_may_ask_what(world: World) -> None:
    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        async with world.client("a", "stranger.test") as stranger:
            with pytest.raises(AgentError, match="does not answer"):
                await stranger.get("site", SiteFacts)
        async with world.client("a", "cloud2.test") as peer:
            assert (await peer.get("site", SiteFacts, LONG_S)).site == "a"
            request = MigrateRequest(migration="m1", machine="web1", to=world.peers["b"])
            with pytest.raises(UsageError, match=r"cloud2\.test is no operator"):
                await peer.post("migrations", MigrationView, request)

    asyncio.run(story())


def test_a_strangers_file_is_not_overwritten(world: World) -> None:
    async def story() -> None:
        for site in "ab":
            world.start_agent(site)
        (world.directory / "a" / "disks" / DISK.file).write_bytes(bytes(SIZE))
        await world.start_machine("a", Shape(), DISK)
        strangers = world.directory / "b" / "disks" / DISK.file
        strangers.write_bytes(b"precious")
        async with world.coordinator() as coordinator:
            view = await moved(coordinator.watch(await coordinator.start("web1", "b")))
            assert view.phase == "failed"
            assert "no old copy of web1" in view.error
        assert strangers.read_bytes() == b"precious"
        assert await world.settled() == "a"

    asyncio.run(story())
