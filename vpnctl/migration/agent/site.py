"""The machines of this site: started, attached to, and found again when the agent restarts."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from vpnctl.errors import MigrationError, NotFoundError, UsageError
from vpnctl.migration.agent.history import History
from vpnctl.migration.agent.messages import MachineView
from vpnctl.migration.agent.settings import AgentSettings
from vpnctl.migration.agent.together import Meeting
from vpnctl.migration.commit import Arrival, Departure
from vpnctl.migration.definition import Definition
from vpnctl.migration.hypervisor.driver import Driver, Guest
from vpnctl.migration.hypervisor.libvirt import Libvirt
from vpnctl.migration.hypervisor.plain import PlainQemu
from vpnctl.migration.hypervisor.taps import bridges_of, make_taps, remove_taps, tap_names
from vpnctl.migration.ledger import Copy, Ledger, Machine

#: Run states from which a guest of ours is told to go on: it was stopped for a migration.
_STOPPED_BY_US = ("paused", "postmigrate", "prelaunch", "finish-migrate")
#: Seconds that a guest is told to go on again and again: a shared disk may still be locked.
_PERSIST_S = 90.0
_AGAIN_S = 0.05
#: A machine that ends sooner than this after it was booted is not started again.
_SHORT_LIFE_S = 10.0


class Site:
    """What departures and arrivals share; `open` comes first."""

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings
        self.driver: Driver = (
            Libvirt(settings.libvirt, settings.qemu)
            if settings.libvirt
            else PlainQemu(settings.qemu)
        )
        self.ledger = Ledger(settings.state / "ledger")
        self.running: dict[str, Guest] = {}
        self.meeting = Meeting()
        self.history = History(settings.state / "history")
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def open(self) -> None:
        """Find the machines that an agent before us left running."""
        for name, machine in list(self.ledger.machines.items()):
            if machine.process is not None:
                qemu = await self.driver.find(machine.process)
                if qemu is not None:
                    self._joined(name, qemu)

    async def close(self) -> None:
        """Let go of the machines; they run on."""
        for task in self._watching.values():
            task.cancel()
        await asyncio.gather(*self._watching.values(), return_exceptions=True)
        for qemu in self.running.values():
            await qemu.disconnect()
        self.running.clear()

    def machine(self, name: str) -> Machine:
        """The record of a machine; raises `NotFoundError`."""
        try:
            return self.ledger.machines[name]
        except KeyError:
            known = ", ".join(sorted(self.ledger.machines)) or "none"
            raise NotFoundError(
                f"there is no machine {name!r} at {self.settings.site}",
                hint=f"machines here: {known}",
            ) from None

    def qemu(self, name: str) -> Guest:
        """The process of a machine; raises `MigrationError` when it has none."""
        self.machine(name)
        found = self.running.get(name)
        if found is None or found.gone.is_set():
            raise MigrationError(
                f"{name} does not run at {self.settings.site}", hint="start it first"
            )
        return found

    async def start(self, definition: Definition) -> None:
        """Start a machine that is not known here, or is stopped.

        Raises `UsageError` when it is known, `MigrationError` when it does not start.
        """
        name = definition.machine
        epoch = self._next_epoch(name)
        definition = definition.model_copy(update={"type": await self.pinned(definition.type)})
        before = self.ledger.machines.get(name)
        try:
            await self.boot(Machine(definition=definition, epoch=epoch, owner=True))
        except MigrationError:
            # It never ran: the name is free for a better definition.
            self.ledger.forget(name)
            if before is not None:
                self.ledger.write(before)
            raise

    async def attach(self, definition: Definition, qmp: Path) -> None:
        """Take over a machine that runs already; raises as `start` does."""
        name = definition.machine
        epoch = self._next_epoch(name)
        qemu = await self.driver.attach(qmp)
        kind = str(await qemu.ask("qom-get", path="/machine", property="type"))
        definition = definition.model_copy(update={"type": kind.removesuffix("-machine")})
        self.ledger.write(
            Machine(definition=definition, epoch=epoch, owner=True, process=qemu.copy)
        )
        self._joined(name, qemu)

    async def stop(self, name: str) -> None:
        """End a machine for good; raises `UsageError` while it moves."""
        self.machine(name)
        if self.ledger_busy(name):
            raise UsageError(
                f"{name} is on its way to or from another site",
                hint=f"wait for it, or cancel it first: vpnctl migrate cancel {name}",
            )
        async with self._turns[name]:
            await self.drop(name)
            self.ledger.forget(name)

    async def drop(self, name: str) -> None:
        """End the process of a machine, if it has one, and remove what was made for it."""
        watching = self._watching.pop(name, None)
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        qemu, machine = self.running.pop(name, None), self.machine(name)
        if qemu is not None:
            await self.discard(qemu, machine.definition)
        elif machine.process is not None:
            await self.tidy(machine.process, machine.definition)

    async def discard(self, qemu: Guest, definition: Definition) -> None:
        """End a copy and remove what was made for it."""
        await qemu.destroy()
        await self.tidy(qemu.copy, definition)

    async def tidy(self, copy: Copy, definition: Definition) -> None:
        """Remove what was made for a copy that has ended, maybe before we were started."""
        await remove_taps(tap_names(copy.incarnation, len(definition.nics)))
        places = self.settings.places(copy.incarnation)
        await asyncio.to_thread(shutil.rmtree, places.run, ignore_errors=True)

    async def boot(self, machine: Machine) -> None:
        """Start a machine of ours from its disk; raises `MigrationError`, also when it has gone."""
        name = machine.definition.machine
        if not machine.owner:
            raise MigrationError(
                f"{name} has left {self.settings.site}", hint="it runs where it has gone"
            )
        copy = self.new_copy()

        def record(found: Copy) -> None:
            self.ledger.write(machine.model_copy(update={"process": found}))

        record(copy)
        try:
            qemu = await self.launch(machine.definition, copy, record, incoming=False)
        except MigrationError:
            self.ledger.write(machine.model_copy(update={"process": None}))
            raise
        self._joined(name, qemu, booted=True)

    def new_copy(self) -> Copy:
        """A name and a directory for a process that is to be started."""
        incarnation = secrets.token_hex(6)
        places = self.settings.places(incarnation)
        places.run.mkdir(mode=0o700, parents=True)
        return Copy(incarnation=incarnation, qmp=str(places.qmp), log=str(places.log))

    async def launch(
        self, definition: Definition, copy: Copy, record: Callable[[Copy], None], *, incoming: bool
    ) -> Guest:
        """Start the process of a copy; raises `MigrationError`."""
        places = self.settings.places(copy.incarnation)
        bridges = bridges_of(definition.nics, self.settings.bridges)
        taps = await make_taps(copy.incarnation, bridges)
        try:
            qemu = await self.driver.start(
                definition, places, taps, copy, record, incoming=incoming
            )
            await qemu.ask(
                "migrate-set-capabilities",
                capabilities=[
                    {"capability": capability, "state": True}
                    for capability in ("events", "return-path", "pause-before-switchover")
                ],
            )
        except BaseException:
            await remove_taps(taps)
            raise
        return qemu

    async def go_on(self, name: str) -> None:
        """Make a machine of ours run: let it go on, or start it when its process is gone.

        Raises `MigrationError` when it does not.  Who sees it die and who ends a migration of it
        may want that at the same time: it is started once.
        """
        async with self._turns[name]:
            await self._go_on(name)

    async def _go_on(self, name: str) -> None:
        qemu = self.running.get(name)
        if qemu is None or qemu.gone.is_set():
            await self.drop(name)
            await self.boot(self.machine(name))
            return
        try:
            async with asyncio.timeout(_PERSIST_S):
                while True:
                    try:
                        status = await qemu.status()
                        if status not in _STOPPED_BY_US:
                            return
                        if status == "finish-migrate":
                            await qemu.ask("migrate_cancel")
                        await qemu.run()
                    except MigrationError:
                        if qemu.gone.is_set():
                            break
                    await asyncio.sleep(_AGAIN_S)
        except TimeoutError:
            raise MigrationError(
                f"{name} does not go on: its QEMU says {await qemu.status()}",
                hint=f"see {qemu.copy.log}",
            ) from None
        await self.drop(name)
        await self.boot(self.machine(name))

    def take(self, machine: Machine, qemu: Guest) -> None:
        """A machine has come, and runs here."""
        self.ledger.write(machine)
        self._joined(machine.definition.machine, qemu)

    def ledger_busy(self, name: str) -> str:
        """The migration that a machine is in, empty when it is in none."""
        return self._leaving(name) or self._coming(name)

    def _leaving(self, name: str) -> str:
        for leaving in self.ledger.departures.values():
            if leaving.machine == name and leaving.state in (Departure.OPEN, Departure.OFFERED):
                return leaving.migration
        return ""

    def _coming(self, name: str) -> str:
        for coming in self.ledger.arrivals.values():
            if coming.machine == name and coming.state in (Arrival.AWAITING, Arrival.ACCEPTED):
                return coming.migration
        return ""

    async def view(self, name: str) -> MachineView:
        """A machine as an operator sees it."""
        machine = self.machine(name)
        qemu = self.running.get(name)
        state = "stopped" if machine.owner else "gone"
        if qemu is not None and not qemu.gone.is_set():
            try:
                state = await qemu.status()
            except MigrationError:
                # Its monitor is blocked while the last of its memory leaves.
                state = "leaving"
        definition = machine.definition
        places = self.settings.places(qemu.copy.incarnation if qemu else "none")
        return MachineView(
            name=name,
            app=definition.app,
            state=state,
            owner=machine.owner,
            epoch=machine.epoch,
            memory_kib=definition.memory,
            cpus=definition.cpus,
            type=definition.type,
            disks=tuple(disk.file for disk in definition.disks),
            console=str(places.console) if qemu else "",
            qmp=qemu.copy.qmp if qemu else "",
        )

    async def pinned(self, kind: str) -> str:
        """A machine type by the name that no later version of QEMU gives to another one."""
        return (await self.driver.abilities()).aliases.get(kind, kind)

    def _next_epoch(self, name: str) -> int:
        """Of a machine that is to be new here; raises `UsageError` when it is not."""
        known = self.ledger.machines.get(name)
        if (known is not None and known.owner) or self.ledger_busy(name):
            raise UsageError(
                f"{name} is a machine of {self.settings.site} already",
                hint=f"stop it first: vpnctl agent stop {name}",
            )
        return known.epoch + 1 if known else 1

    def _joined(self, name: str, qemu: Guest, *, booted: bool = False) -> None:
        self.running[name] = qemu
        self._watching[name] = asyncio.create_task(self._watch(name, qemu, booted))

    async def _watch(self, name: str, qemu: Guest, booted: bool) -> None:
        """Start a machine of ours again when its process has ended by itself.

        ``booted``: it was booted now, so that one that ends at once would do so again; one that
        came from another site ran there.
        """
        began = asyncio.get_running_loop().time()
        await qemu.gone.wait()
        lived = asyncio.get_running_loop().time() - began
        # While it leaves, what becomes of it is for the commit protocol to say.
        if self._leaving(name):
            return
        while self._coming(name):  # noqa: ASYNC110 - the ledger has no events
            # It ran here already, and its arrival is about to be written down.
            await asyncio.sleep(_AGAIN_S)
        if not self.machine(name).owner:
            return
        if booted and lived < _SHORT_LIFE_S:
            return
        # Who starts it ends this watch, which must not be while we do that ourselves.
        self._watching.pop(name, None)
        await self.go_on(name)
