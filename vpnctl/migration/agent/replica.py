"""The old copy of a machine's disks that follows them while the machine runs somewhere else."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence

from vpnctl.errors import VpnctlError
from vpnctl.migration.agent.disks import exports_socket, make_disks, own_disks, tls_to
from vpnctl.migration.agent.messages import ReplicaReady
from vpnctl.migration.agent.site import Site
from vpnctl.migration.disk.receiver import Receiver
from vpnctl.migration.hypervisor.storage import StorageDaemon
from vpnctl.migration.ledger import ReplicaRecord


def replica_name(machine: str) -> str:
    """What the disks of a replica are asked for by, instead of a migration's name."""
    return f"replica-{machine}"


class Replica:
    """``record``: whose disks these are, and who may write them; `open` comes first."""

    def __init__(self, site: Site, record: ReplicaRecord) -> None:
        self.record = record
        self._site = site
        self._run = site.settings.places(replica_name(record.machine)).run
        self._daemon: StorageDaemon | None = None
        self._receiver: Receiver | None = None
        self._watching: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def open(self, sizes: Sequence[int], *, known: bool) -> ReplicaReady:
        """Let the owner write from now on; raises `MigrationError`, and nothing is left then.

        ``known``: files of these disks are old copies of them.
        """
        async with self._turn:
            await self._close()
            site, definition = self._site, self.record.definition
            places = site.settings.places(replica_name(self.record.machine))
            blank = await make_disks(definition, places, sizes, known=known)
            site.ledger.write(self.record)
            self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
            own = own_disks(definition)
            disks = {
                index: (definition.disks[index], places.disk(definition, index)) for index in own
            }
            exports = exports_socket(self._run)
            try:
                self._daemon = await StorageDaemon.start(disks, exports)
                self._receiver = Receiver(
                    replica_name(self.record.machine),
                    exports,
                    frozenset(disks),
                    blank,
                    tls_to(site.settings, self.record.owner),
                    site.settings.cache(),
                )
                where = await self._receiver.open(site.settings.data)
                self._watching = asyncio.create_task(self._watch(self._daemon, self._receiver))
            except (VpnctlError, OSError):
                await self._close()
                raise
            return ReplicaReady(disks=str(where))

    async def close(self) -> None:
        """Nobody writes to the disks any more; they stay."""
        async with self._turn:
            await self._close()

    async def _watch(self, daemon: StorageDaemon, receiver: Receiver) -> None:
        """Whoever sends hears of it when the daemon has ended, and asks for the replica again."""
        await daemon.ended()
        receiver.hang_up()

    async def _close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        if self._receiver is not None:
            await self._receiver.close()
            self._receiver = None
        if self._daemon is not None:
            await self._daemon.stop()
            self._daemon = None
        await asyncio.to_thread(shutil.rmtree, self._run, ignore_errors=True)
