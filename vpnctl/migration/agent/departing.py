"""A machine on its way out: from the request to the commit, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Coroutine, Iterable
from typing import Any

from vpnctl.errors import MigrationError, UsageError, VpnctlError
from vpnctl.migration.agent import sidecars
from vpnctl.migration.agent.alive import while_all_live
from vpnctl.migration.agent.bandwidth import Bandwidth
from vpnctl.migration.agent.counterpart import Counterpart
from vpnctl.migration.agent.disks import own_disks, tls_to
from vpnctl.migration.agent.figures import disk_figures, memory_figures
from vpnctl.migration.agent.half import Half
from vpnctl.migration.agent.memory import MemoryMove
from vpnctl.migration.agent.messages import (
    ENDS,
    ArrivalRequest,
    Mark,
    MigrateRequest,
    MigrationView,
    Moment,
)
from vpnctl.migration.agent.mirrors import Mirrors
from vpnctl.migration.agent.peer import AgentClient
from vpnctl.migration.agent.site import Site
from vpnctl.migration.agent.sweeping import sweep
from vpnctl.migration.commit import Action, Departure, Event, departure
from vpnctl.migration.ledger import DepartureRecord
from vpnctl.sidecar.wan.address import Address

#: Seconds between two offers while the other site does not answer.
_AGAIN_S = 0.5
_SEEN_FIRST = "preparing"


class Departing(Half[DepartureRecord, Departure]):
    """One migration at the site that owns the machine.

    `run` does all of it; `resume` goes on with what an agent before us had recorded.
    """

    def __init__(self, site: Site, record: DepartureRecord, request: MigrateRequest | None) -> None:
        super().__init__(site, record, departure)
        self._request = request
        peer = AgentClient(record.to, site.settings.certificates)
        self._peer = Counterpart(peer, record.migration)
        before = request.moments if request else ()
        self._began = min((time.time(), *(one.at for one in before)))
        self._phase = _SEEN_FIRST
        self._timeline = [Mark(at_s=one.at - self._began, what=one.what) for one in before]
        self._error: VpnctlError | None = None
        self._cancelled = False
        self._memory: MemoryMove | None = None
        self._mirrors: Mirrors | None = None
        self._bandwidth: Bandwidth | None = None
        self._sidecar: sidecars.Sidecar | None = None
        self._loading: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._ran_at: float | None = None
        self._resumed_at: float | None = None
        self._ended: float | None = None
        self.changed = asyncio.Event()
        self.finished = asyncio.Event()

    # What an operator may do.

    async def cancel(self) -> None:
        """Leave the machine where it is; raises `UsageError` when it is too late for that."""
        if self.record.state is not Departure.OPEN or self._request is None:
            raise UsageError(
                f"{self.record.machine} cannot be kept any more: it was offered to"
                f" {self.record.to.site}",
                hint=f"see 'vpnctl migrate status {self.record.machine}'; it may be moved back",
            )
        self._cancelled = True
        if self._loading is not None:
            self._loading.cancel()

    def memory(self) -> MemoryMove:
        """To hold, release or stop it; raises `UsageError` when it does not move now."""
        if self._memory is None or self.record.state is not Departure.OPEN:
            raise self._nothing_moves()
        return self._memory

    def _nothing_moves(self) -> UsageError:
        return UsageError(
            f"the memory of {self.record.machine} is not moving now",
            hint=f"see 'vpnctl migrate status {self.record.machine}'",
        )

    async def limit(self, bits_per_s: int | None) -> None:
        """Another bandwidth limit, for memory and disks together; raises `UsageError` when nothing
        moves now."""
        if self._bandwidth is None or self.record.state is not Departure.OPEN:
            raise self._nothing_moves()
        await self._bandwidth.change(bits_per_s)
        self.mark(f"limited to {bits_per_s} b/s" if bits_per_s else "no limit")

    def note(self, moments: Iterable[Moment]) -> None:
        """Write what happened outside of the sites into the timeline, each thing once."""
        known = {mark.what for mark in self._timeline}
        for one in moments:
            if one.what not in known:
                self.mark(one.what, one.at)
        if self.finished.is_set():
            self._site.history.write(self.view())

    def view(self) -> MigrationView:
        """How far it is."""
        sidecar, mirrors = self._sidecar, self._mirrors
        return MigrationView(
            migration=self.record.migration,
            machine=self.record.machine,
            from_site=self._site.settings.site,
            to_site=self.record.to.site,
            phase=self._shown_phase(),
            began=self._began,
            elapsed_s=(self._ended or time.time()) - self._began,
            error=self._error.message if self._error else "",
            hint=self._error.hint if self._error else "",
            resumed_at=self._resumed_at,
            timeline=tuple(sorted(self._timeline, key=lambda mark: mark.at_s)),
            **memory_figures(
                self._memory,
                sidecar.progress if sidecar else {},
                limit=self._bandwidth.rate if self._bandwidth else None,
                ran_at=self._ran_at,
                moving=self._phase not in ENDS,
            ),
            **disk_figures(mirrors.traffic() if mirrors else None, mirrors.left if mirrors else 0),
        )

    def _shown_phase(self) -> str:
        memory = self._memory
        if self._phase != "memory" or memory is None:
            return self._phase
        if memory.stopped_at is not None or memory.stopping:
            return "pausing"
        return "held" if memory.held or memory.waiting else "memory"

    def mark(self, what: str, at: float | None = None) -> None:
        """Write a moment, by the wall's clock, into the timeline."""
        at_s = (time.time() if at is None else at) - self._began
        self._timeline.append(Mark(at_s=at_s, what=what))
        self.changed.set()
        self.changed = asyncio.Event()

    # What happens.

    async def run(self) -> None:
        """Move it.  Never raises: what went wrong is in `view`, and the guest runs on here."""
        assert self._request is not None
        self._loading = asyncio.create_task(self._load(self._request))
        if self._cancelled:
            self._loading.cancel()
        await asyncio.wait((self._loading,))
        try:
            await self._loading_result()
        except VpnctlError as error:
            self._error = error
            self.mark(f"failed: {error.message}")
            await self._happens(Event.FAILED)
        else:
            await self._happens(Event.LOADED)
        await self._finish()

    async def resume(self) -> None:
        """Go on with what was recorded before the agent was restarted."""
        self._error = MigrationError(
            "the agent was restarted in mid-migration", hint="start the migration again"
        )
        self.mark("the agent was restarted")
        await self._happens(Event.RESTARTED)
        await self._finish()

    async def _loading_result(self) -> None:
        assert self._loading is not None
        if self._loading.cancelled():
            raise MigrationError("cancelled" if self._cancelled else "the agent was stopped")
        failure = self._loading.exception()
        if failure is not None and not isinstance(failure, VpnctlError):
            raise MigrationError(f"a defect of vpnctl: {failure!r}") from failure
        self._loading.result()

    async def _finish(self) -> None:
        await self._end_sidecar()
        for task in (self._announcing, self._settling):
            if task is not None:
                await task
        await self._peer.close()
        run = self._site.settings.places(f"m-{self.record.migration}").run
        await asyncio.to_thread(shutil.rmtree, run, ignore_errors=True)
        if self.record.state is Departure.GONE:
            self._phase = "done"
            self._error = None
        else:
            self._phase = "cancelled" if self._cancelled else "failed"
        self._ended = time.time()
        self.record = self.record.model_copy(update={"ended": True})
        self._site.ledger.write(self.record)
        self.mark(self._phase)
        self._site.history.write(self.view())
        self.finished.set()

    async def _load(self, request: MigrateRequest) -> None:
        """Everything until the other site has a complete copy, and the guest here is stopped."""
        site, record = self._site, self.record
        machine, qemu = site.machine(record.machine), site.qemu(record.machine)
        sizes = await qemu.disk_sizes(len(machine.definition.disks))
        ready = await self._peer.prepare(
            ArrivalRequest(
                migration=record.migration,
                definition=machine.definition,
                epoch=record.epoch,
                sizes=tuple(sizes),
                together=request.together,
            )
        )
        self.mark(f"{record.to.site} is ready")
        entry = site.settings.places(f"m-{record.migration}").run / "out"
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sidecar = await sidecars.start_source(
            entry,
            ready.listen,
            record.to.name,
            site.settings.certificates,
            record.migration,
            request.rate,
            site.settings.site_cache,
            site.settings.nice,
        )
        await self._sidecar.until_ready()
        self.mark("sidecars connected")
        own = own_disks(machine.definition)
        if own:
            self._phase = "disk"
            self._mirrors = Mirrors(
                qemu, own, dict(enumerate(sizes)), self.mark, site.settings.cache()
            )
            self._bandwidth = Bandwidth(request.rate, self._sidecar, self._mirrors)
            starting = self._mirrors.start(
                Address.parse(ready.disks),
                tls_to(site.settings, record.to.name),
                record.migration,
                request.rate,
                entry.parent,
            )
            await self._while_all_live(starting, self._sidecar)
            self.mark("disks follow")
        self._bandwidth = self._bandwidth or Bandwidth(request.rate, self._sidecar, None)
        self._memory = MemoryMove(
            qemu,
            self._guest_rate,
            self.mark,
            self._announce_soon,
            self._before_switch,
            lambda: self._mirrors is None or self._mirrors.ready,
            self._tell_far,
            max_pause_s=request.max_pause_s,
            throttle=request.throttle,
            hold=request.hold or request.together is not None,
            began=self._began,
        )
        self._phase = "memory"
        await self._while_all_live(self._memory.run(f"unix:{entry}"), self._sidecar)

    async def _while_all_live(
        self, moving: Coroutine[Any, Any, None], sidecar: sidecars.Sidecar
    ) -> None:
        """``moving`` to its end, unless anything that it needs fails before."""
        machine = self.record.machine
        qemu = self._site.qemu(machine)
        watches = (self._peer.stay_in_touch(), self._disks_follow(), self._share())
        await while_all_live(moving, machine, qemu, sidecar, watches)

    async def _disks_follow(self) -> None:
        """Raises when a disk does not follow any more."""
        if self._mirrors is not None and self._phase == "memory":
            await self._mirrors.follow(synchronously=True)
        await asyncio.Event().wait()

    async def _share(self) -> None:
        """Memory and disks share the limit."""
        if self._bandwidth is not None and self._phase == "memory":
            await self._bandwidth.share()
        await asyncio.Event().wait()

    def _announce_soon(self) -> None:
        """Let the network learn the way to the other site while the last memory is under way."""
        if self._site.machine(self.record.machine).definition.nics:
            self._announcing = asyncio.create_task(self._announce())

    async def _announce(self) -> None:
        try:
            await self._peer.announce()
        except VpnctlError as error:
            # It is announced again when it runs there.
            self.mark(f"not announced early: {error.message}")
        else:
            self.mark(f"announced at {self.record.to.site}")

    async def _before_switch(self) -> None:
        """The guest stands still: its disks are made equal at both sites."""
        if self._mirrors is not None:
            await self._mirrors.switch()
            self.mark("disks are equal")
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        """Let the other site close its disks to us while the last memory is under way."""
        if self._bandwidth is not None:
            await self._bandwidth.memory_alone()
        if self._mirrors is not None:
            await self._mirrors.close()
        with contextlib.suppress(VpnctlError):
            await self._peer.settled()

    async def _tell_far(self, far: bool) -> None:
        # A sidecar that has ended need not know; whoever waits for it says what that means.
        if self._sidecar is not None:
            with contextlib.suppress(VpnctlError):
                await self._sidecar.pause_is_far(far)

    def _guest_rate(self) -> float:
        told = self._sidecar.progress if self._sidecar else {}
        return float(told.get("guest_rate") or 0)

    # The commit protocol.

    async def _act(self, action: Action) -> Event | None:
        match action:
            case Action.RECORD:
                self._site.ledger.write(self.record)
            case Action.SEND_OFFER:
                return await self._offer()
            case Action.SEND_CANCEL:
                if self._mirrors is not None:
                    self._mirrors.let_go()
                await self._end_sidecar()
                await self._peer.cancel()
            case Action.RUN:
                await self._keep()
            case Action.DESTROY:
                await self._leave()
        return None

    async def _offer(self) -> Event:
        self._phase = "committing"
        try:
            answer = await self._peer.offer()
        except VpnctlError as error:
            if self._phase != "in doubt":
                self._phase = "in doubt"
                self.mark(f"{self.record.to.site} was offered the machine and is silent")
            self._error = error
            await asyncio.sleep(_AGAIN_S)
            return Event.SILENCE
        if answer.accepted:
            self._ran_at, self._resumed_at = time.time(), answer.resumed_at
            self.mark(f"runs at {self.record.to.site}", self._ran_at)
            return Event.ACCEPTANCE
        self.mark(f"refused by {self.record.to.site}")
        self._error = self._error or MigrationError(
            f"{self.record.to.site} lost its copy before it ran there", hint="try again"
        )
        return Event.REFUSAL

    async def _keep(self) -> None:
        """The machine stays: let it go on, which needs no mirror to have ended before."""
        try:
            await self._site.go_on(self.record.machine)
        except MigrationError as error:
            self._error = error
            self.mark(f"does not go on: {error.message}")
        else:
            self.mark(f"runs at {self._site.settings.site}")
            await self._announce_here()
        await self._sweep()

    async def _sweep(self) -> None:
        """Remove what is left of its mirrors."""
        if self._mirrors is not None:
            await self._mirrors.abandon()
        elif (qemu := self._site.running.get(self.record.machine)) is not None:
            try:
                await sweep(qemu)
            except MigrationError as error:
                if not qemu.gone.is_set():
                    self.mark(error.message)

    async def _announce_here(self) -> None:
        """The network may have learnt the way to the other site already."""
        qemu = self._site.running.get(self.record.machine)
        if qemu is not None and self._announcing is not None:
            with contextlib.suppress(MigrationError):
                await qemu.announce()

    async def _leave(self) -> None:
        """The machine has gone: remove what is left of it, but for its disks."""
        name = self.record.machine
        machine = self._site.machine(name)
        if machine.process is None or machine.process.incarnation == self.record.incarnation:
            self._site.ledger.write(machine.model_copy(update={"owner": False, "process": None}))
            await self._site.drop(name)
        self.mark(f"released at {self._site.settings.site}")

    async def _end_sidecar(self) -> None:
        if self._sidecar is not None:
            if self.record.state in (Departure.OPEN, Departure.KEPT):
                await self._sidecar.end()
            else:
                await self._sidecar.ended.wait()
