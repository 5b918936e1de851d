"""A machine on its way out: from the request to the commit, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Coroutine
from typing import Any

from vpnctl.errors import AgentError, MigrationError, UsageError, VpnctlError
from vpnctl.migration.agent import sidecars
from vpnctl.migration.agent.disks import Mirrors, own_disks, sweep, tls_to
from vpnctl.migration.agent.figures import disk_figures, memory_figures
from vpnctl.migration.agent.memory import MemoryMove
from vpnctl.migration.agent.messages import (
    ENDS,
    ArrivalReady,
    ArrivalRequest,
    Mark,
    MigrateRequest,
    MigrationView,
    Nothing,
    OfferAnswer,
)
from vpnctl.migration.agent.peer import LONG_S, AgentClient
from vpnctl.migration.agent.site import Site
from vpnctl.migration.commit import Action, Departure, Event, departure
from vpnctl.migration.hypervisor.command_line import disk_node
from vpnctl.migration.ledger import DepartureRecord
from vpnctl.sidecar.wan.address import Address

#: Seconds between two offers while the other site does not answer.
_AGAIN_S = 0.5
#: Seconds between two signs of life, without which the other site gives up.
_ALIVE_S = 5.0
#: Times that a cancel is sent to a site that does not answer; it gives up by itself, too.
_CANCELS = 3
_SEEN_FIRST = "preparing"


class Departing:
    """One migration at the site that owns the machine.

    `run` does all of it; `resume` goes on with what an agent before us had recorded.
    """

    def __init__(self, site: Site, record: DepartureRecord, request: MigrateRequest | None) -> None:
        self.record = record
        self._site = site
        self._request = request
        self._peer = AgentClient(record.to, site.settings.certificates)
        self._began = time.time()
        self._phase = _SEEN_FIRST
        self._timeline: list[Mark] = []
        self._error: VpnctlError | None = None
        self._cancelled = False
        self._memory: MemoryMove | None = None
        self._mirrors: Mirrors | None = None
        self._sidecar: sidecars.Sidecar | None = None
        self._loading: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._ran_at: float | None = None
        self._ended: float | None = None
        self.changed = asyncio.Event()
        self.finished = asyncio.Event()

    # What an operator may do.

    async def cancel(self) -> None:
        """Leave the machine where it is; raises `UsageError` when it is too late for that."""
        if self.record.state is not Departure.OPEN or self._loading is None:
            raise UsageError(
                f"{self.record.machine} cannot be kept any more: it was offered to"
                f" {self.record.to.site}",
                hint=f"see 'vpnctl migrate status {self.record.machine}'; it may be moved back",
            )
        self._cancelled = True
        self._loading.cancel()

    def memory(self) -> MemoryMove:
        """To hold, release or stop it; raises `UsageError` when it does not move now."""
        if self._memory is None or self.record.state is not Departure.OPEN:
            raise UsageError(
                f"the memory of {self.record.machine} is not moving now",
                hint=f"see 'vpnctl migrate status {self.record.machine}'",
            )
        return self._memory

    async def limit(self, bits_per_s: int | None) -> None:
        """Another bandwidth limit."""
        self.memory()
        assert self._sidecar is not None
        await self._sidecar.limit(bits_per_s)
        if self._mirrors is not None:
            self._mirrors.limit(bits_per_s)
        self.mark(f"limited to {bits_per_s} b/s" if bits_per_s else "no limit")

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
            timeline=tuple(self._timeline),
            **memory_figures(
                self._memory,
                sidecar.progress if sidecar else {},
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
        if self._announcing is not None:
            await self._announcing
        await self._peer.close()
        if self.record.state is Departure.GONE:
            self._phase = "done"
            self._error = None
        else:
            self._phase = "cancelled" if self._cancelled else "failed"
        self._ended = time.time()
        self.record = self.record.model_copy(update={"ended": True})
        self._site.ledger.write(self.record)
        self.mark(self._phase)
        self.finished.set()

    async def _load(self, request: MigrateRequest) -> None:
        """Everything until the other site has a complete copy, and the guest here is stopped."""
        site, record = self._site, self.record
        machine, qemu = site.machine(record.machine), site.qemu(record.machine)
        sizes = await self._sizes(len(machine.definition.disks))
        ready = await self._peer.post(
            "arrivals",
            ArrivalReady,
            ArrivalRequest(
                migration=record.migration,
                definition=machine.definition,
                epoch=record.epoch,
                sizes=tuple(sizes),
            ),
            LONG_S,
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
        )
        await self._sidecar.until_ready()
        self.mark("sidecars connected")
        own = own_disks(machine.definition)
        if own:
            await sweep(qemu)
            self._phase = "disk"
            self._mirrors = Mirrors(qemu, own, dict(enumerate(sizes)))
            starting = self._mirrors.start(
                Address.parse(ready.disks),
                tls_to(site.settings, record.to.name),
                record.migration,
                request.rate,
                entry.parent,
            )
            await self._while_all_live(starting, self._sidecar)
            self.mark("disks follow")
        self._memory = MemoryMove(
            qemu,
            self._guest_rate,
            self.mark,
            self._announce_soon,
            self._before_switch,
            max_pause_s=request.max_pause_s,
            throttle=request.throttle,
            hold=request.hold,
        )
        self._phase = "memory"
        await self._while_all_live(self._memory.run(f"unix:{entry}"), self._sidecar)

    async def _while_all_live(
        self, moving: Coroutine[Any, Any, None], sidecar: sidecars.Sidecar
    ) -> None:
        """``moving`` to its end, unless the sidecar, QEMU or the other site fails before."""
        qemu = self._site.qemu(self.record.machine)
        move = asyncio.create_task(moving)
        broken = asyncio.create_task(sidecar.ended.wait())
        dead = asyncio.create_task(qemu.gone.wait())
        silent = asyncio.create_task(self._stay_in_touch())
        following = asyncio.create_task(self._disks_follow())
        tasks = (move, broken, dead, silent, following)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not move.done() and broken.done() and sidecar.code == 0:
                # It saw the guest loaded a moment before QEMU says so here.
                await asyncio.wait((move, dead), return_when=asyncio.FIRST_COMPLETED)
            if dead.done() and not move.done():
                raise MigrationError(f"the QEMU of {self.record.machine} has ended")
            if broken.done() and sidecar.code != 0:
                raise sidecar.error()
            for watch in (silent, following):
                if watch.done() and not move.done():
                    watch.result()
            await move
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _disks_follow(self) -> None:
        """Raises when a disk does not follow any more."""
        if self._mirrors is not None and self._phase == "memory":
            await self._mirrors.failed()
        await asyncio.Event().wait()

    async def _stay_in_touch(self) -> None:
        """Let the other site know that we live; raises what it says when it has given up."""
        while True:
            await asyncio.sleep(_ALIVE_S)
            with contextlib.suppress(AgentError):
                await self._peer.get(f"arrivals/{self.record.migration}", Nothing)

    def _announce_soon(self) -> None:
        """Let the network learn the way to the other site while the last memory is under way."""
        if self._site.machine(self.record.machine).definition.nics:
            self._announcing = asyncio.create_task(self._announce())

    async def _announce(self) -> None:
        try:
            await self._peer.post(f"arrivals/{self.record.migration}/announce", Nothing)
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

    async def _sizes(self, disks: int) -> list[int]:
        qemu = self._site.qemu(self.record.machine)
        nodes = await qemu.ask("query-named-block-nodes", flat=True)
        sizes = {node["node-name"]: int(node["image"]["virtual-size"]) for node in nodes}
        return [sizes[disk_node(index)] for index in range(disks)]

    def _guest_rate(self) -> float:
        told = self._sidecar.progress if self._sidecar else {}
        return float(told.get("guest_rate") or 0)

    # The commit protocol.

    async def _happens(self, event: Event) -> None:
        """Take a step of the protocol, and those that follow from it."""
        following: Event | None = event
        while following is not None:
            step = departure(self.record.state, following)
            self.record = self.record.model_copy(update={"state": step.state})
            following = None
            for action in step.actions:
                following = await self._act(action) or following

    async def _act(self, action: Action) -> Event | None:
        match action:
            case Action.RECORD:
                self._site.ledger.write(self.record)
            case Action.SEND_OFFER:
                return await self._offer()
            case Action.SEND_CANCEL:
                await self._end_sidecar()
                if self._mirrors is not None:
                    await self._mirrors.abandon()
                await self._send_cancel()
            case Action.RUN:
                await self._keep()
            case Action.DESTROY:
                await self._leave()
        return None

    async def _offer(self) -> Event:
        self._phase = "committing"
        try:
            answer = await self._peer.post(
                f"arrivals/{self.record.migration}/offer", OfferAnswer, timeout_s=LONG_S
            )
        except VpnctlError as error:
            if self._phase != "in doubt":
                self._phase = "in doubt"
                self.mark(f"{self.record.to.site} was offered the machine and is silent")
            self._error = error
            await asyncio.sleep(_AGAIN_S)
            return Event.SILENCE
        if answer.accepted:
            self._ran_at = time.time()
            self.mark(f"runs at {self.record.to.site}", self._ran_at)
            return Event.ACCEPTANCE
        self.mark(f"refused by {self.record.to.site}")
        self._error = self._error or MigrationError(
            f"{self.record.to.site} lost its copy before it ran there", hint="try again"
        )
        return Event.REFUSAL

    async def _send_cancel(self) -> None:
        for _ in range(_CANCELS):
            try:
                await self._peer.post(f"arrivals/{self.record.migration}/cancel", Nothing)
            except AgentError:
                await asyncio.sleep(_AGAIN_S)
            except VpnctlError:
                # It does not know of this migration, or has given up already.
                return
            else:
                return

    async def _keep(self) -> None:
        """The machine stays: let it go on."""
        if (qemu := self._site.running.get(self.record.machine)) is not None:
            await sweep(qemu)
        try:
            await self._site.go_on(self.record.machine)
        except MigrationError as error:
            self._error = error
            self.mark(f"does not go on: {error.message}")
        else:
            self.mark(f"runs at {self._site.settings.site}")
            await self._announce_here()

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
        run = self._site.settings.places(f"m-{self.record.migration}").run
        await asyncio.to_thread(shutil.rmtree, run, ignore_errors=True)
