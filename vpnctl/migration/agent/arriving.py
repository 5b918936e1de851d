"""A machine on its way in."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from vpnctl.errors import MigrationError
from vpnctl.migration.agent import sidecars
from vpnctl.migration.agent.disks import (
    Exports,
    exports_socket,
    make_disks,
    own_disks,
    tls_to,
)
from vpnctl.migration.agent.half import Half
from vpnctl.migration.agent.messages import ArrivalReady, OfferAnswer, Together
from vpnctl.migration.agent.site import Site
from vpnctl.migration.commit import Action, Arrival, Event, arrival
from vpnctl.migration.disk.receiver import Receiver
from vpnctl.migration.hypervisor.driver import Guest
from vpnctl.migration.ledger import ArrivalRecord, Copy, Machine

#: Seconds without a word from the owner after which it is given up.
_SILENCE_S = 60.0
#: Seconds that QEMU has to settle once its stream has ended.
_SETTLE_S = 10.0
_LOOK_S = 0.002
_WATCH_S = 1.0


class Arriving(Half[ArrivalRecord, Arrival]):
    """One migration at the site that a machine comes to; `prepare` comes first.

    ``sizes``: octets of its disks; ``known``: it, or a part of it, has been here: files of its
    disks are old copies of them; ``together``: it goes on together with others.
    """

    def __init__(
        self,
        site: Site,
        record: ArrivalRecord,
        sizes: Sequence[int] = (),
        *,
        known: bool = False,
        together: Together | None = None,
    ) -> None:
        super().__init__(site, record, arrival)
        self._sizes = sizes
        self._together = together
        self._resumed_at: float | None = None
        self._known = known
        self._exports: Exports | None = None
        self._qemu: Guest | None = None
        self._sidecar: sidecars.Sidecar | None = None
        self._heard = time.monotonic()
        self._watching: asyncio.Task[None] | None = None
        self._answer: bool | None = None
        self._turn = asyncio.Lock()

    async def prepare(self) -> ArrivalReady:
        """Start a QEMU that waits and a sidecar that listens.

        Raises `MigrationError` when that cannot be; nothing is left then.
        """
        site, definition = self._site, self.record.definition
        site.ledger.write(self.record)
        try:
            places = site.settings.places(self.record.process.incarnation)
            blank = await make_disks(definition, places, self._sizes, known=self._known)
            self._qemu = await site.launch(
                definition, self.record.process, self._started, incoming=True
            )
            disks = await self._export(blank)
            incoming = places.run / "in"
            await self._qemu.ask("migrate-incoming", uri=f"unix:{incoming}")
            self._sidecar, listen = await sidecars.start_destination(
                incoming,
                str(site.settings.data),
                self.record.owner,
                site.settings.certificates,
                site.settings.site_cache,
                site.settings.nice,
            )
        except BaseException:
            await self._happens(Event.FAILED)
            raise
        self._watching = asyncio.create_task(self._watch())
        return ArrivalReady(listen=listen, disks=disks)

    async def _export(self, blank: frozenset[int]) -> str:
        """Let the other site write the disks; gives where it connects to."""
        disks = own_disks(self.record.definition)
        if not disks:
            return ""
        assert self._qemu is not None
        site, record = self._site, self.record
        run = site.settings.places(record.process.incarnation).run
        receiver = Receiver(
            record.migration,
            exports_socket(run),
            frozenset(disks),
            blank,
            tls_to(site.settings, record.owner),
            site.settings.cache(),
        )
        self._exports = Exports(self._qemu, run, receiver)
        return str(await self._exports.start(disks, site.settings.data))

    def _started(self, process: Copy) -> None:
        self.record = self.record.model_copy(update={"process": process})
        self._site.ledger.write(self.record)

    def hear(self) -> None:
        """The owner has asked for something, so it lives."""
        self._heard = time.monotonic()

    async def offer(self) -> OfferAnswer:
        """The owner says that the machine is ours; the same answer whenever it asks."""
        async with self._turn:
            if self.record.state is Arrival.AWAITING and await self._complete():
                await self._happens(Event.LOADED)
            self._answer = None
            await self._happens(Event.OFFER)
            if self._answer is None:
                raise MigrationError(
                    f"{self.record.machine} does not start", hint="the owner asks again"
                )
            return OfferAnswer(accepted=self._answer, resumed_at=self._resumed_at)

    async def announce(self) -> None:
        """Let the network know that the machine's MAC addresses are here from now on.

        Raises `MigrationError` when there is no copy of it.
        """
        qemu = self._qemu
        if qemu is None or self.record.state is Arrival.REFUSED:
            raise MigrationError(f"there is no copy of {self.record.machine} here")
        await qemu.announce()

    async def settle(self) -> None:
        """The disks are equal at both sites: nobody writes to ours any more."""
        async with self._turn:
            if self._exports is not None and self.record.state is Arrival.AWAITING:
                await self._exports.stop()

    async def cancel(self) -> None:
        """The owner keeps the machine."""
        async with self._turn:
            await self._happens(Event.CANCEL)

    async def resume(self) -> None:
        """Go on with what was recorded before the agent was restarted."""
        async with self._turn:
            # A monitor takes one visitor: it may be the site's already.
            running = self._site.running.get(self.record.machine)
            if running is not None and (
                running.copy.incarnation == self.record.process.incarnation
            ):
                self._qemu = running
            elif self.record.state is not Arrival.OURS:
                self._qemu = await self._site.driver.find(self.record.process)
            await self._happens(Event.RESTARTED)

    async def close(self) -> None:
        """The agent ends: what is not complete is given up, what is ours runs on."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        async with self._turn:
            if self.record.state in (Arrival.AWAITING, Arrival.COMPLETE):
                await self._happens(Event.FAILED)

    async def _watch(self) -> None:
        """Give up when QEMU or the sidecar fails, or the owner is silent for long."""
        assert self._qemu is not None
        assert self._sidecar is not None
        while self.record.state in (Arrival.AWAITING, Arrival.COMPLETE):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._qemu.gone.wait(), _WATCH_S)
            async with self._turn:
                if self._qemu.gone.is_set():
                    await self._happens(Event.DIED)
                elif (
                    self._sidecar.code not in (None, 0)
                    or time.monotonic() - self._heard > _SILENCE_S
                ):
                    await self._happens(Event.FAILED)

    async def _complete(self) -> bool:
        """Whether our QEMU has everything, and stands still."""
        qemu = self._qemu
        if qemu is None:
            return False
        try:
            async with asyncio.timeout(_SETTLE_S):
                while True:
                    moved = (await qemu.ask("query-migrate")).get("status")
                    if moved == "completed" and await qemu.status() == "paused":
                        return True
                    if moved not in ("active", "completed", "device"):
                        return False
                    # Its end of the stream came a moment ago.
                    await asyncio.sleep(_LOOK_S)
        except (TimeoutError, MigrationError):
            return False

    async def _act(self, action: Action) -> Event | None:
        match action:
            case Action.RECORD:
                self._site.ledger.write(self.record)
            case Action.RUN:
                return await self._run()
            case Action.DESTROY:
                await self._destroy()
            case Action.ACCEPT:
                self._answer = True
            case Action.REFUSE:
                self._answer = False
        return None

    async def _run(self) -> Event | None:
        """Let the copy run; a machine that is ours for good is started again if need be."""
        site, name = self._site, self.record.machine
        if self.record.state is Arrival.OURS:
            if name in site.ledger.machines and site.machine(name).owner:
                await site.go_on(name)
            return None
        qemu = self._qemu
        if qemu is None or qemu.gone.is_set():
            await self._own(None)
            return Event.DIED
        try:
            status = await qemu.status()
            if status == "paused":
                if self._exports is not None:
                    await self._exports.stop()
                if self._together is not None:
                    await site.meeting.join(self.record.migration, self._together)
                self._resumed_at = await qemu.run()
        except MigrationError:
            return await self._did_not_run(qemu)
        await self._own(qemu)
        if self.record.definition.nics:
            with contextlib.suppress(MigrationError):
                await self.announce()
        return Event.STARTED

    async def _did_not_run(self, qemu: Guest) -> Event:
        """QEMU said no, or nothing: did the guest run?"""
        try:
            if await qemu.status() == "paused":
                return Event.UNABLE
        except MigrationError:
            pass
        await qemu.destroy()
        await self._own(None)
        return Event.DIED

    async def _own(self, qemu: Guest | None) -> None:
        """Write down that the machine is this site's."""
        record = self.record
        machine = Machine(definition=record.definition, epoch=record.epoch, owner=True)
        if qemu is None:
            self._site.ledger.write(machine)
        elif self._site.running.get(record.machine) is not qemu:
            self._site.take(machine.model_copy(update={"process": qemu.copy}), qemu)

    async def _destroy(self) -> None:
        if self._sidecar is not None:
            await self._sidecar.end()
        if self._exports is not None:
            with contextlib.suppress(MigrationError):
                await self._exports.stop()
        if self._qemu is not None:
            await self._site.discard(self._qemu, self.record.definition)
            self._qemu = None
        else:
            await self._site.tidy(self.record.process, self.record.definition)
