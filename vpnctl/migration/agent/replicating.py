"""A machine's disks on their way to another site, for days if need be, while it runs here."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time

from vpnctl.errors import VpnctlError
from vpnctl.migration.agent.alive import while_all_live
from vpnctl.migration.agent.disks import own_disks, tls_to
from vpnctl.migration.agent.messages import (
    Nothing,
    ReplicaReady,
    ReplicaRequest,
    ReplicationView,
)
from vpnctl.migration.agent.mirrors import Mirrors
from vpnctl.migration.agent.peer import LONG_S, AgentClient
from vpnctl.migration.agent.replica import replica_name
from vpnctl.migration.agent.site import Site
from vpnctl.migration.ledger import ReplicationRecord
from vpnctl.sidecar.wan.address import Address

#: Seconds until it is tried again, at first and at most.
_AGAIN_S, _AGAIN_AT_MOST_S = 1.0, 60.0


class Replicating:
    """One per machine; `run` it in a task until `stop`.

    When it is cut off it begins again by itself: what the other site has is not sent again.
    """

    def __init__(self, site: Site, record: ReplicationRecord) -> None:
        self.record = record
        self._site = site
        self._peer = AgentClient(record.to, site.settings.certificates)
        self._mirrors: Mirrors | None = None
        self._phase = "copying"
        self._since = time.time()
        self._cuts = 0
        self._error = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; it goes on until `stop`."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End it, and let the other site close its disks; they stay there, as an old copy."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(VpnctlError):
            await self._peer.post(f"replicas/{self.record.machine}/close", Nothing)
        await self._peer.close()

    def limit(self, bits_per_s: int | None) -> None:
        """Another bandwidth limit."""
        self.record = self.record.model_copy(update={"rate": bits_per_s})
        self._site.ledger.write(self.record)
        if self._mirrors is not None:
            self._mirrors.limit(bits_per_s)

    def view(self) -> ReplicationView:
        """How far it is."""
        traffic = self._mirrors.traffic() if self._mirrors else None
        return ReplicationView(
            machine=self.record.machine,
            from_site=self._site.settings.site,
            to_site=self.record.to.site,
            phase=self._phase,
            since=self._since,
            left=self._mirrors.left if self._mirrors else None,
            disk=traffic.disk if traffic else 0,
            wire=traffic.wire if traffic else 0,
            kept=traffic.kept if traffic else 0,
            cuts=self._cuts + (traffic.cuts if traffic else 0),
            limit=self.record.rate,
            error=self._error,
        )

    async def _run(self) -> None:
        wait_s = _AGAIN_S
        while True:
            began = time.time()
            try:
                await self._follow()
            except VpnctlError as error:
                self._enter("cut off", error.message)
            except OSError as error:
                # A directory that cannot be made, or something that took too long.
                self._enter("cut off", str(error) or type(error).__name__)
            self._cuts += 1
            # One that had followed for a while is not as hopeless as one that never did.
            wait_s = _AGAIN_S if time.time() - began > _AGAIN_AT_MOST_S else wait_s * 2
            wait_s = min(wait_s, _AGAIN_AT_MOST_S)
            await asyncio.sleep(wait_s)

    async def _follow(self) -> None:
        """Copy, and follow; raises `MigrationError` when that ends, `AgentError` when nobody is
        there, `OSError`."""
        site, record = self._site, self.record
        qemu, definition = site.qemu(record.machine), site.machine(record.machine).definition
        self._enter("copying")
        sizes = await qemu.disk_sizes(len(definition.disks))
        ready = await self._peer.post(
            "replicas",
            ReplicaReady,
            ReplicaRequest(definition=definition, sizes=tuple(sizes)),
            LONG_S,
        )
        run = site.settings.places(replica_name(record.machine)).run
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        mirrors = self._mirrors = Mirrors(
            qemu,
            own_disks(definition),
            dict(enumerate(sizes)),
            lambda _: None,
            site.settings.cache(),
        )

        async def follow() -> None:
            await mirrors.start(
                Address.parse(ready.disks),
                tls_to(site.settings, record.to.name),
                replica_name(record.machine),
                record.rate,
                run,
            )
            self._enter("following")
            await mirrors.follow(synchronously=False)

        try:
            # A QEMU that was killed says no more of its mirrors.
            await while_all_live(follow(), record.machine, qemu)
        finally:
            # A guest must never wait for a mirror that nobody answers.
            await asyncio.shield(mirrors.abandon())
            await asyncio.to_thread(shutil.rmtree, run, ignore_errors=True)

    def _enter(self, phase: str, error: str = "") -> None:
        self._phase, self._error, self._since = phase, error, time.time()
