"""Machines that libvirt starts move as others do, and it knows what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migration.world import World, define, kill, moved
from tests.support.guest_image import MissingError
from tests.support.libvirtd import libvirtd, virsh
from tests.support.qemu import PATIENCE, Shape, find_newer_qemu
from vpnctl.errors import MigrationError, PrecheckError
from vpnctl.migration.agent.messages import MachineView
from vpnctl.migration.agent.peer import LONG_S
from vpnctl.migration.definition import Disk
from vpnctl.migration.hypervisor.command_line import Places
from vpnctl.migration.hypervisor.libvirt import Libvirt
from vpnctl.migration.ledger import Copy

pytestmark = pytest.mark.daemon

#: libvirt gives whole MiB, which QEMU before 9.0 in software emulation corrupts when it moves.
SHAPE = Shape(ram_kib=96 * 1024)
DISK = Disk(file="web1.img", format="raw")


@pytest.fixture(scope="module")
def daemons() -> Iterator[dict[str, str]]:
    """The libvirt of each of two sites, by URI."""
    with tempfile.TemporaryDirectory(prefix="vl") as directory, contextlib.ExitStack() as both:
        try:
            find_newer_qemu()
            yield {site: both.enter_context(libvirtd(Path(directory) / site)) for site in "ab"}
        except MissingError as missing:
            pytest.skip(str(missing))


@pytest.fixture
def uris(world: World, daemons: dict[str, str]) -> dict[str, str]:
    """Theirs, when their agents run."""
    for site, uri in daemons.items():
        world.start_agent(site, "--libvirt", uri, "--qemu", find_newer_qemu())
    return daemons


async def forgotten(uri: str) -> None:
    """Return when libvirt knows no domain; it notices a moment after one has ended."""
    async with asyncio.timeout(PATIENCE):
        while virsh(uri, "list", "--all", "--name").stdout.strip():  # noqa: ASYNC110 - it is polled
            await asyncio.sleep(0.1)


def test_a_domain_moves_with_its_disk_and_comes_back(world: World, uris: dict[str, str]) -> None:
    async def story() -> None:
        disk = world.directory / "a" / "disks" / DISK.file
        disk.write_bytes(bytes(range(256)) * 4096 * 8)
        await world.start_machine("a", SHAPE, DISK)
        assert virsh(uris["a"], "domstate", "web1").stdout.strip() == "running"
        listed = virsh(uris["a"], "domblklist", "web1").stdout.split()
        assert listed[-2:] == ["vda", str(disk)]
        rounds = await world.verify("a")
        async with world.coordinator() as coordinator:
            for source, target in (("a", "b"), ("b", "a")):
                view = await moved(coordinator.watch(await coordinator.start("web1", target)))
                assert view.phase == "done", view
                assert await world.settled() == target
                assert await world.verify(target) > rounds
                rounds = await world.verify(target)
                # libvirt has seen that it runs here, and has forgotten it there.
                assert virsh(uris[target], "domstate", "web1").stdout.strip() == "running"
                await forgotten(uris[source])
                assert not list((world.directory / source / "run").iterdir())
        assert (world.directory / "b" / "disks" / DISK.file).read_bytes() == disk.read_bytes()

    asyncio.run(story())


def test_an_agent_that_dies_finds_its_domain_again(world: World, uris: dict[str, str]) -> None:
    async def story() -> None:
        await world.start_machine("a", SHAPE, world.shared_disk())
        rounds = await world.verify("a")
        world.agents.pop("a").die()
        # Nothing is lost by it: the domain is libvirt's.
        assert virsh(uris["a"], "domstate", "web1").stdout.strip() == "running"
        world.start_agent("a", "--libvirt", uris["a"], "--qemu", find_newer_qemu())
        assert await world.verify("a") > rounds
        # One that dies is started again, by libvirt.
        kill(world.directory / "a", "qemu-system")
        assert await world.settled() == "a"
        assert await world.verify("a") > 0
        assert virsh(uris["a"], "domstate", "web1").stdout.strip() == "running"

    asyncio.run(story())


def test_what_libvirt_refuses_is_told_and_leaves_nothing(
    world: World, uris: dict[str, str]
) -> None:
    async def story() -> None:
        async with world.client("a") as agent:
            definition = define(SHAPE, Disk(file="gone.img", format="raw"))
            with pytest.raises(MigrationError, match=r"libvirt: .*gone\.img"):
                await agent.post("machines", MachineView, definition, LONG_S)
            definition = define(Shape(), world.shared_disk())
            with pytest.raises(MigrationError, match=r"whole MiB") as refused:
                await agent.post("machines", MachineView, definition, LONG_S)
            assert refused.value.hint == "write memory: 96M"
        assert virsh(uris["a"], "list", "--all", "--name").stdout.strip() == ""
        # A site whose machines are made otherwise would give this one other devices.
        await world.start_machine("a", SHAPE, world.shared_disk())
        world.agents.pop("b").die()
        world.start_agent("b", "--qemu", find_newer_qemu())
        async with world.coordinator() as coordinator:
            with pytest.raises(PrecheckError, match="started by libvirt at a, by qemu at b"):
                await coordinator.start("web1", "b")

    asyncio.run(story())


def test_a_start_that_is_given_up_leaves_no_domain(tmp_path: Path, daemons: dict[str, str]) -> None:
    async def story() -> None:
        driver = Libvirt(daemons["a"], find_newer_qemu())
        with tempfile.TemporaryDirectory(prefix="vm") as directory:
            places = Places(*[Path(directory)] * 4)
            (places.disks / "a.img").write_bytes(bytes(1 << 20))
            definition = define(SHAPE, Disk(file="a.img", format="raw")).model_copy(
                update={"boot": None}
            )
            copy = Copy(incarnation="1", qmp=str(places.qmp), log=str(places.log))
            # Given up at once, while libvirt works on it, and told of what it has started.
            for moment_s in (0.0, 0.1, 0.3, 0.6):
                starting = asyncio.create_task(
                    driver.start(definition, places, [], copy, lambda _: None, incoming=True)
                )
                await asyncio.sleep(moment_s)
                starting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await (await starting).destroy()
                await forgotten(daemons["a"])
            # Somebody else's of that name is left alone.
            first = await driver.start(definition, places, [], copy, lambda _: None, incoming=True)
            others = Places(*[tmp_path] * 4)
            with pytest.raises(MigrationError, match="has a domain web1 already"):
                await driver.start(definition, others, [], copy, lambda _: None, incoming=True)
            assert virsh(daemons["a"], "domstate", "web1").stdout.strip() == "paused"
            await first.destroy()

    asyncio.run(story())
