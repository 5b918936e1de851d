"""The agent of a site: what its HTTP face asks for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from vpnctl.errors import MigrationError, NotFoundError, UsageError
from vpnctl.migration.agent.arriving import Arriving
from vpnctl.migration.agent.departing import Departing
from vpnctl.migration.agent.disks import own_disks
from vpnctl.migration.agent.facts import machine_facts, site_facts
from vpnctl.migration.agent.messages import (
    ArrivalReady,
    ArrivalRequest,
    MachineFacts,
    MachineView,
    MigrateRequest,
    MigrationView,
    OfferAnswer,
    ReplicaReady,
    ReplicaRequest,
    ReplicateRequest,
    ReplicationView,
    SiteFacts,
)
from vpnctl.migration.agent.peer import LONG_S, AgentClient
from vpnctl.migration.agent.replica import Replica
from vpnctl.migration.agent.replicating import Replicating
from vpnctl.migration.agent.settings import AgentSettings
from vpnctl.migration.agent.site import Site
from vpnctl.migration.commit import Arrival, Departure
from vpnctl.migration.definition import Definition
from vpnctl.migration.ledger import (
    ArrivalRecord,
    DepartureRecord,
    Peer,
    ReplicaRecord,
    ReplicationRecord,
)


class Agent:
    """One per site: `open`, then anything, then `close`.  Raises `AgentError` at the beginning
    when its records cannot be used."""

    def __init__(self, settings: AgentSettings) -> None:
        self.site = Site(settings)
        self.departures: dict[str, Departing] = {}
        self.arrivals: dict[str, Arriving] = {}
        self.replications: dict[str, Replicating] = {}
        self.replicas: dict[str, Replica] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Find what an agent before us left: machines, and migrations that have not ended."""
        await self.site.open()
        ledger = self.site.ledger
        for arrival in list(ledger.arrivals.values()):
            arriving = self.arrivals[arrival.migration] = Arriving(self.site, arrival)
            if arrival.state in (Arrival.AWAITING, Arrival.ACCEPTED):
                # One that does not start is no reason to leave the others alone.
                with contextlib.suppress(MigrationError):
                    await arriving.resume()
        for record in list(ledger.departures.values()):
            if not record.ended:
                departing = self.departures[record.migration] = Departing(self.site, record, None)
                self._spawn(departing.resume())
        moving = {one.record.machine: one for one in self.departures.values()}
        for replication in list(ledger.replications.values()):
            if (leaving := moving.get(replication.machine)) is not None:
                self._spawn(self._replicate_after(leaving, replication))
            else:
                self._replicate(replication)
        departing_copies = {one.record.incarnation for one in self.departures.values()}
        for name, machine in list(ledger.machines.items()):
            copy = machine.process
            crashed = machine.owner and name not in self.site.running
            # What becomes of one whose departure has not ended is for that to say: it may have gone
            # a moment before its record says so.
            if crashed and copy is not None and copy.incarnation not in departing_copies:
                self._spawn(self.site.go_on(name))

    async def close(self) -> None:
        """End in order: machines run on, what is not complete is given up."""
        for departing in self.departures.values():
            if not departing.finished.is_set() and departing.record.state is Departure.OPEN:
                await departing.cancel()
                await departing.finished.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for replicating in self.replications.values():
            await replicating.stop()
        for replica in self.replicas.values():
            await replica.close()
        for arriving in self.arrivals.values():
            await arriving.close()
        await self.site.close()

    # For operators.

    async def facts(self) -> SiteFacts:
        """What this site has."""
        jobs = (
            *(
                one.record.migration
                for one in self.departures.values()
                if not one.finished.is_set()
            ),
            *(
                one.record.migration
                for one in self.arrivals.values()
                if one.record.state in (Arrival.AWAITING, Arrival.COMPLETE)
            ),
        )
        return await site_facts(self.site, jobs)

    async def machine(self, name: str) -> MachineView:
        return await self.site.view(name)

    async def machine_facts(self, name: str) -> MachineFacts:
        return await machine_facts(self.site, name)

    async def start_machine(self, definition: Definition) -> MachineView:
        await self.site.start(definition)
        return await self.site.view(definition.machine)

    async def attach_machine(self, definition: Definition, qmp: Path) -> MachineView:
        await self.site.attach(definition, qmp)
        return await self.site.view(definition.machine)

    async def stop_machine(self, name: str) -> None:
        if name in self.replications:
            await self.stop_replication(name)
        await self.site.stop(name)

    async def reach(self, to: Peer) -> None:
        """Return when the agent of another site answers us; raises what is wrong."""
        peer = AgentClient(to, self.site.settings.certificates)
        try:
            await peer.get("site", SiteFacts, LONG_S)
        finally:
            await peer.close()

    async def migrate(self, request: MigrateRequest) -> MigrationView:
        """Begin to move a machine; raises `UsageError` when it is moving already."""
        machine, qemu = self.site.machine(request.machine), self.site.qemu(request.machine)
        if not machine.owner or (busy := self._busy(request.machine)):
            raise UsageError(
                f"{request.machine} is moving already: {busy}"
                if machine.owner
                else f"{request.machine} has left {self.site.settings.site}",
                hint=f"see 'vpnctl migrate status {request.machine}'",
            )
        if request.to.site == self.site.settings.site:
            raise UsageError(
                f"{request.machine} is at {request.to.site} already", hint="name another site"
            )
        if request.migration in self.site.ledger.departures:
            raise UsageError(f"a migration {request.migration} has been", hint="choose a new name")
        record = DepartureRecord(
            migration=request.migration,
            machine=request.machine,
            epoch=machine.epoch + 1,
            to=request.to,
            state=Departure.OPEN,
            incarnation=qemu.copy.incarnation,
        )
        # From here on it is moving, whatever else is to be ended first.
        self.site.ledger.write(record)
        departing = self.departures[request.migration] = Departing(self.site, record, request)
        self._spawn(self._depart(departing, self.replications.pop(request.machine, None)))
        return departing.view()

    async def _depart(self, departing: Departing, replicating: Replicating | None) -> None:
        if replicating is not None:
            await replicating.stop()
            self._spawn(self._replicate_after(departing, replicating.record))
        await departing.run()

    def _busy(self, name: str) -> str:
        """The migration that a machine is in, also one that has been decided and still clears up;
        empty when it is in none."""
        clearing = (
            one.record.migration
            for one in self.departures.values()
            if one.record.machine == name and not one.finished.is_set()
        )
        return self.site.ledger_busy(name) or next(clearing, "")

    async def start_replication(self, request: ReplicateRequest) -> ReplicationView:
        """Begin to replicate a machine's disks; raises `UsageError` when there is nothing to."""
        machine = self.site.machine(request.machine)
        if not machine.owner or self._busy(request.machine):
            raise UsageError(
                f"{request.machine} is moving, or has left {self.site.settings.site}",
                hint=f"see 'vpnctl migrate status {request.machine}'",
            )
        if request.machine in self.replications:
            to = self.replications[request.machine].record.to.site
            raise UsageError(
                f"{request.machine} is replicated to {to} already",
                hint=f"vpnctl replicate stop {request.machine}",
            )
        if request.to.site == self.site.settings.site or not own_disks(machine.definition):
            raise UsageError(
                f"{request.machine} has no disk that {request.to.site} does not have",
                hint="name another site; shared disks need not be replicated",
            )
        record = ReplicationRecord(machine=request.machine, to=request.to, rate=request.rate)
        self.site.ledger.write(record)
        return self._replicate(record).view()

    async def stop_replication(self, machine: str) -> None:
        """End the replication of a machine's disks; raises `NotFoundError`."""
        replicating = self.replication(machine)
        await replicating.stop()
        if self.replications.get(machine) is replicating:
            del self.replications[machine]
        self.site.ledger.end_replication(machine)

    def replication(self, machine: str) -> Replicating:
        """That of a machine's disks; raises `NotFoundError`."""
        try:
            return self.replications[machine]
        except KeyError:
            raise NotFoundError(
                f"the disks of {machine!r} are not replicated from {self.site.settings.site}",
                hint="'vpnctl replicate status' lists what is",
            ) from None

    def _replicate(self, record: ReplicationRecord) -> Replicating:
        replicating = self.replications[record.machine] = Replicating(self.site, record)
        replicating.start()
        return replicating

    async def _replicate_after(self, departing: Departing, record: ReplicationRecord) -> None:
        """Go on when the machine has not gone."""
        await departing.finished.wait()
        if departing.record.state is Departure.GONE:
            self.site.ledger.end_replication(record.machine)
        else:
            self._replicate(record)

    def views(self) -> tuple[MigrationView, ...]:
        """Every migration of a machine that left, or shall leave; those under way come last."""
        here = {name: one.view() for name, one in self.departures.items()}
        before = (one for one in self.site.history if one.migration not in here)
        return (*before, *here.values())

    def view(self, name: str) -> MigrationView:
        """How far a migration is, or was, by its name or its machine's; raises `NotFoundError`."""
        try:
            return self.migration(name).view()
        except NotFoundError:
            found = self.site.history.find(name)
            if found is None:
                raise
            return found

    def migration(self, name: str) -> Departing:
        """The migration of that name, or the last one of the machine of that name, of those since
        the agent was started; raises `NotFoundError`."""
        if name in self.departures:
            return self.departures[name]
        of_machine = [one for one in self.departures.values() if one.record.machine == name]
        if not of_machine:
            raise NotFoundError(
                f"there is no migration {name!r} at {self.site.settings.site}",
                hint="'vpnctl migrate history' lists those that were",
            )
        return of_machine[-1]

    # For agents of other sites.

    async def prepare(self, request: ArrivalRequest, visitor: str) -> ArrivalReady:
        """Make ready for a machine; raises `UsageError`, `MigrationError`."""
        name = request.definition.machine
        known = self.site.ledger.machines.get(name)
        busy = self.site.ledger_busy(name)
        if known is not None and known.owner:
            raise MigrationError(
                f"{self.site.settings.site} has a machine {name} of its own",
                hint="rename one of them; two machines of one name cannot be told apart",
            )
        if busy:
            raise MigrationError(
                f"{name} is on its way to {self.site.settings.site} already: {busy}",
                hint="it is given up a minute after its owner was heard last; try again then",
            )
        if request.migration in self.site.ledger.arrivals:
            raise UsageError(f"a migration {request.migration} has been", hint="choose a new name")
        if len(request.sizes) != len(request.definition.disks):
            raise UsageError("there is not one size for each disk")
        record = ArrivalRecord(
            migration=request.migration,
            definition=request.definition,
            epoch=request.epoch,
            owner=visitor,
            state=Arrival.AWAITING,
            process=self.site.new_copy(),
        )
        if name in self.replicas:
            await self.replicas.pop(name).close()
        arriving = self.arrivals[request.migration] = Arriving(
            self.site,
            record,
            request.sizes,
            known=self._has_been_here(name),
            together=request.together,
        )
        return await arriving.prepare()

    async def keep_replica(self, request: ReplicaRequest, visitor: str) -> ReplicaReady:
        """Let another site write a copy of a machine's disks; raises `MigrationError`."""
        name = request.definition.machine
        known = self.site.ledger.machines.get(name)
        if (known is not None and known.owner) or self.site.ledger_busy(name):
            raise MigrationError(
                f"{name} is a machine of {self.site.settings.site}, or about to be",
                hint=f"see 'vpnctl migrate status {name}'",
            )
        if len(request.sizes) != len(request.definition.disks):
            raise UsageError("there is not one size for each disk")
        record = ReplicaRecord(definition=request.definition, owner=visitor)
        if name in self.replicas:
            await self.close_replica(name, visitor)
        replica = self.replicas[name] = Replica(self.site, record)
        return await replica.open(request.sizes, known=self._has_been_here(name))

    async def close_replica(self, machine: str, visitor: str) -> None:
        """The disks of a replica are written no longer; raises `UsageError` for a stranger."""
        replica = self.replicas.get(machine)
        if replica is not None:
            if replica.record.owner != visitor:
                raise UsageError(f"the replica is of {replica.record.owner or 'a local agent'}")
            await self.replicas.pop(machine).close()

    def _has_been_here(self, machine: str) -> bool:
        """Whether files of a machine's disks are old copies of them."""
        ledger = self.site.ledger
        return (
            machine in ledger.machines
            or machine in ledger.replicas
            or any(one.machine == machine for one in ledger.arrivals.values())
        )

    def arrival(self, migration: str, visitor: str) -> Arriving:
        """The arrival that ``visitor`` may talk about; raises `NotFoundError`, `UsageError`."""
        try:
            found = self.arrivals[migration]
        except KeyError:
            raise NotFoundError(f"there is no arrival {migration!r} here") from None
        if found.record.owner != visitor:
            raise UsageError(f"{migration} was begun by {found.record.owner or 'a local agent'}")
        found.hear()
        return found

    async def offer(self, migration: str, visitor: str) -> OfferAnswer:
        if migration not in self.arrivals:
            # We never heard of it, so we have no copy and never will have.
            return OfferAnswer(accepted=False)
        return await self.arrival(migration, visitor).offer()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
