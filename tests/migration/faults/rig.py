"""Two sites in one network namespace, a guest with a disk and a client, and faults on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml
from pyroute2 import netns

from lab.moving.machines import BRIDGE, SLOTS, Guest
from tests.migration.faults.matrix import STEPS_OF_CANCELLED, Fault, Victim
from tests.migration.world import World, guests_below
from tests.support.namespaces import add_address, namespaces
from tests.support.qemu import Shape
from tests.support.records import (
    Record,
    check_complete,
    check_kept,
    check_left_behind,
    read_while_written,
)
from tests.support.visitor import PATIENCE, VisitError, Visitor, visiting
from vpnctl.errors import VpnctlError
from vpnctl.lab.namespaces import routing
from vpnctl.migration.agent.messages import MachineView, MigrationView
from vpnctl.migration.agent.peer import LONG_S
from vpnctl.migration.definition import Definition

#: As little as boots, so that a move takes no longer than what starts for it.
GUEST = Guest(
    "web1",
    "10.1.0.2",
    Shape(ram_kib=72 * 1024 - 8, text=1, updates=2, rewrites=1, random=1,
          touch_updates=4, touch_rewrites=2, touch_random=1),
    vpn="",
)  # fmt: skip
_CLIENT = "10.1.0.1/24"
_DISK_OCTETS = SLOTS * 4096 + (1 << 20)
#: Seconds that a link is cut: shorter than a sidecar waits for a new connection.
CUT_S = 1.5
_SITES = ("a", "b")
#: When a move is cancelled for the steps of that.
_CANCELLED = "disks follow"
_DROP = """
table inet cut {
  chain out {
    type filter hook output priority 0
    oif lo drop
  }
}
"""


class _Here:
    """The namespace that this thread is in."""

    def popen(
        self, command: tuple[str, ...], *, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL)


class Rig:
    """The guest runs at one of the sites; `try_fault` again and again."""

    #: Whether it is kept from arriving, however late it is struck.
    hold = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.happened = 0
        self._logs = 0
        self._visit = contextlib.ExitStack()
        self._visitor: Visitor | None = None

    async def start(self) -> None:
        """Start agents and guest."""
        for site in _SITES:
            self.world.start_agent(site)
        path = self._disk("a")
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as disk:
            disk.truncate(_DISK_OCTETS)
        definition = Definition.model_validate(yaml.safe_load(GUEST.definition()))
        async with self.world.client("a") as agent:
            await agent.post("machines", MachineView, definition, LONG_S)

    async def try_fault(self, fault: Fault) -> None:
        """Move the guest, let that happen, and check what counts.

        Raises `AssertionError`, `RecordError` or `VisitError` where a write is lost, two copies
        ran, or none runs.
        """
        visitor = await asyncio.to_thread(self._visitor_there)
        here = await self.world.settled()
        # A guest that has just been started may not be known by its disk yet.
        boots = {await asyncio.to_thread(visitor.boot)}
        boots |= {one.nonce for one in (await self._records(here)).values()}
        there = "b" if here == "a" else "a"
        if fault.step:
            await self._die_in_step(fault, here, there)
        else:
            await self._move(fault, here, there)
        for site in _SITES:
            if site not in self.world.agents:
                self.world.start_agent(site)
        where = await self.world.settled()
        crash = fault.host or fault.victim in (Victim.QEMU_HERE, Victim.QEMU_THERE)
        if not await asyncio.to_thread(self._goes_on, visitor, time.time(), crash):
            # Before it has written so much that its first records are written over.
            check_kept(await self._records(where), SLOTS, boots, visitor.written())
            self._close_visit()
            visitor = await asyncio.to_thread(self._visitor_there)
        assert not visitor.doubles(), "two copies ran"
        await self._check_disks(where, visitor.written())

    def close(self) -> None:
        """The client goes; the world is closed by who made it."""
        self._close_visit()

    def _close_visit(self) -> None:
        self._visitor = None
        self._visit.close()

    def _visitor_there(self) -> Visitor:
        if self._visitor is not None and not self._living(self._visitor):
            self._close_visit()
        if self._visitor is None:
            self._logs += 1
            log = self.world.directory / f"visit{self._logs}"
            self._visitor = self._visit.enter_context(visiting(_Here(), GUEST.address, log))
        return self._visitor

    def _goes_on(self, visitor: Visitor, since: float, crash: bool) -> bool:
        """Whether the connections go on; they have to, unless the machine itself was killed."""
        try:
            visitor.goes_on(since)
        except VisitError:
            if not crash:
                raise
            # The guest that was started again does not know these connections.
            return False
        return True

    def _living(self, visitor: Visitor) -> bool:
        try:
            visitor.alive()
        except VisitError:
            return False
        return True

    async def _move(self, fault: Fault, here: str, there: str) -> None:
        """Move it from here to there, and do it at its moment."""
        moment = fault.moment.replace("SITE", there)
        async with self.world.coordinator() as coordinator:
            view = await coordinator.start(GUEST.name, there, hold=self.hold)
            try:
                async for one in coordinator.watch(view):
                    if moment in (mark.what for mark in one.timeline):
                        await asyncio.sleep(fault.delay_s)
                        await self._strike(fault, view, here, there)
                        break
            except VpnctlError:
                # Who tells of it is one of those that die.
                return
            if fault.victim not in (Victim.AGENT_HERE, Victim.AGENT_THERE):
                # Without either agent there may be no end: what was offered is asked for again and
                # again until the other one is back.
                async with asyncio.timeout(PATIENCE):
                    with contextlib.suppress(VpnctlError):
                        async for _ in coordinator.watch(view):
                            pass

    async def _die_in_step(self, fault: Fault, here: str, there: str) -> None:
        mortal = here if fault.victim is Victim.AGENT_HERE else there
        self.world.restart_agent(mortal, die=fault.step + ":host" * fault.host)
        async with self.world.coordinator() as coordinator:
            view = await coordinator.start(GUEST.name, there)
            if fault.step in STEPS_OF_CANCELLED:
                async for one in coordinator.watch(view):
                    if _CANCELLED in (mark.what for mark in one.timeline):
                        break
                with contextlib.suppress(VpnctlError):
                    await coordinator.tell(view, "cancel")
        agent = self.world.agents.pop(mortal)
        await asyncio.to_thread(agent.process.wait, PATIENCE)
        self.happened += 1

    async def _strike(self, fault: Fault, view: MigrationView, here: str, there: str) -> None:
        match fault.victim:
            case Victim.AGENT_HERE | Victim.AGENT_THERE:
                site = here if fault.victim is Victim.AGENT_HERE else there
                self.world.agents.pop(site).die()
                if fault.host:
                    for process in guests_below(self.world.directory / site):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(process, signal.SIGKILL)
                self.happened += 1
            case Victim.SIDECAR_HERE:
                self._kill(here, "sidecar\0source")
            case Victim.SIDECAR_THERE:
                self._kill(there, "sidecar\0destination")
            case Victim.QEMU_HERE:
                self._kill(here, "qemu-system")
            case Victim.QEMU_THERE:
                self._kill(there, "qemu-system")
            case Victim.LINK:
                await self._cut()
                self.happened += 1
            case Victim.OPERATOR:
                async with self.world.coordinator() as operator:
                    with contextlib.suppress(VpnctlError):
                        await operator.tell(view, "cancel")
                        self.happened += 1

    def _kill(self, site: str, words: str) -> None:
        """Kill what has these words in its arguments, if the move is not over yet."""
        for process in guests_below(self.world.directory / site):
            with contextlib.suppress(OSError):
                if words.encode() in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(process, signal.SIGKILL)
                    self.happened += 1

    async def _cut(self) -> None:
        """Nothing passes between agents and sidecars for a while; the guest is not cut off."""
        await asyncio.to_thread(subprocess.run, ["nft", _DROP], check=True)
        await asyncio.sleep(CUT_S)
        await asyncio.to_thread(subprocess.run, ["nft", "delete table inet cut"], check=True)

    async def _check_disks(self, where: str, written: int) -> None:
        """Where it runs every record is there; what is elsewhere, is as it once was."""
        new = await self._records(where)
        check_complete(new, SLOTS, written)
        elsewhere = "b" if where == "a" else "a"
        if self._disk(elsewhere).exists():
            check_left_behind(await self._records(elsewhere), await self._records(where))

    async def _records(self, site: str) -> Mapping[int, Record]:
        return await read_while_written(self._disk(site), SLOTS)

    def _disk(self, site: str) -> Path:
        return self.world.directory / site / "disks" / GUEST.disk


@contextmanager
def rigged(image: Path, authority: Path, kind: type[Rig] = Rig, qemu: str = "") -> Iterator[Rig]:
    """A rig in a namespace of its own, in which this thread is meanwhile; nothing is left of it.

    ``qemu``: what the machines run on, if not the installed one.
    """
    with namespaces(1) as (namespace,), tempfile.TemporaryDirectory(prefix="vm") as directory:
        with routing(namespace) as netlink:
            netlink.link("add", ifname=BRIDGE, kind="bridge")
            netlink.link("set", index=netlink.link_lookup(ifname=BRIDGE)[0], state="up")
        add_address(namespace, BRIDGE, _CLIENT)
        # Not `vpnctl.lab.namespaces.within`: what starts here must hear signals.
        netns.pushns(namespace)
        try:
            world = World(Path(directory), image, authority, namespace, qemu)
            rig = kind(world)
            try:
                yield rig
            finally:
                rig.close()
                world.close()
        finally:
            netns.popns()
