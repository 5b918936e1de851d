"""A machine's own disks on their way out: QEMU's mirrors.

A mirror copies everything once.  From then on it follows asynchronously, or, where QEMU can change
that (8.2), synchronously: a write of the guest's is done when it was taken for the other site, so
that nobody can write faster than the link carries.  When the link stalls, such a mirror would be
the guest's end: it is let go, and begins again, asynchronously, with what the other site has.
How it may end without harm to the guest: see `sweeping`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from vpnctl.errors import MigrationError
from vpnctl.migration.agent.sweeping import (
    ON_ERROR,
    can_synchronize,
    far_node,
    mirror_job,
    mirrored_disk,
    sweep,
    synchronize,
)
from vpnctl.migration.disk.pace import Pace
from vpnctl.migration.disk.sender import Sender, Traffic
from vpnctl.migration.disk.silence import Silence
from vpnctl.migration.hypervisor.command_line import disk_node
from vpnctl.migration.hypervisor.driver import Guest
from vpnctl.sidecar.elimination import SiteCache
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.tls import Tls

#: Seconds that a job has to end once it was told to: what is still to be written waits for that.
_ENDING_S = 60.0
_LOOK_S = 0.5
#: Octets of disk that a mirror sends for a change of one: what most guests write at once.
_GRANULARITY = 4096
_READY, _ERROR = "BLOCK_JOB_READY", "BLOCK_JOB_ERROR"
_EVENTS = (_READY, _ERROR, "BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")
_DONE = {"read": "read", "write": "written"}


class Mirrors:
    """The disks of a machine that leaves; `start`, then `switch` and `close`, or `abandon`.

    ``mark`` is told of every moment that matters; ``cache``: this site's, None if it has none.
    """

    def __init__(
        self,
        qemu: Guest,
        disks: Sequence[int],
        sizes: Mapping[int, int],
        mark: Callable[[str], None],
        cache: SiteCache | None = None,
    ) -> None:
        self.left: int | None = None
        self._qemu = qemu
        self._disks = disks
        self._sizes = sizes
        self._mark = mark
        self._cache = cache
        self._pace = Pace(None)
        self._held = AsyncExitStack()
        self._senders: dict[int, Sender] = {}
        self._paths: dict[int, Path] = {}
        self._nodes: list[int] = []
        self._jobs: list[int] = []
        self._ready: set[int] = set()
        # Whether the mirrors that QEMU has are ours, and not of an agent before us.
        self._ours = False
        self._synchronous = False
        self._switching = False
        self._silence = Silence()

    @property
    def ready(self) -> bool:
        """Whether everything was copied once, and the copies follow."""
        return self._ready == set(self._disks)

    async def start(
        self, peer: Address, tls: Tls | None, migration: str, rate: int | None, run: Path
    ) -> None:
        """Copy everything once; return when the copies follow.  Raises `MigrationError`.

        ``rate``: bits per second for all of them together, None for no limit.
        """
        self._pace.rate = rate
        await sweep(self._qemu)
        self._ours = True
        with self._qemu.listen(*_EVENTS) as events:
            for disk in self._disks:
                sender = self._senders[disk] = Sender(
                    peer, tls, migration, disk, self._pace, self._cache
                )
                path = self._paths[disk] = run / f"nbd{disk}"
                size = await self._held.enter_async_context(sender.serving(path))
                if size != self._sizes[disk]:
                    raise MigrationError(
                        f"disk {disk} has {self._sizes[disk]} octets here, {size} there",
                        hint="remove the old copy at the other site",
                    )
                await self._mirror(disk)
            while not self.ready:
                await self._hear(events)
        self.left = 0

    async def follow(self, *, synchronously: bool) -> None:
        """Let the copies follow until cancelled; raises `MigrationError` when one does not.

        ``synchronously``: as far as QEMU can do that.
        """
        able = synchronously and await can_synchronize(self._qemu)
        with self._qemu.listen(*_EVENTS) as events:
            while True:
                if able and self.ready and not self._synchronous and not self._switching:
                    await self._synchronize()
                if not self._switching:
                    self._check()
                if self._synchronous and not self._switching and self._stalled():
                    await self._begin_again(events)
                await self._hear(events)

    async def switch(self) -> None:
        """The guest stands still: write what is left, and let QEMU go of the other site's disks."""
        if not self.ready:
            # To cancel a mirror that is not ready would leave the disks as they are.
            raise MigrationError("the disks do not follow", hint="is the link well? try again")
        self._switching = True
        with self._qemu.listen(*_EVENTS) as events:
            for disk in self._jobs:
                await self._qemu.ask("block-job-cancel", device=mirror_job(disk), force=False)
            try:
                async with asyncio.timeout(_ENDING_S):
                    while self._jobs:
                        event: Any = await events.get()
                        if (ended := self._checked(event)) is not None:
                            self._jobs.remove(ended)
            except TimeoutError:
                raise MigrationError("a disk does not follow", hint="is the link well?") from None
        while self._nodes:
            await self._qemu.ask("blockdev-del", node_name=far_node(self._nodes[-1]))
            self._nodes.pop()

    async def close(self) -> None:
        """Let go of the other site, too."""
        await self._held.aclose()

    def let_go(self) -> None:
        """Nothing is to become of it: let QEMU, and with it the guest, wait for nobody."""
        for sender in self._senders.values():
            sender.let_go()

    async def abandon(self) -> None:
        """Leave nothing of it, whatever state it is in."""
        if self._ours:
            with contextlib.suppress(MigrationError):
                # What is left when QEMU does not answer is removed before the next migration.
                await self._sweep()
        self._ready.clear()
        await self.close()

    async def _sweep(self) -> None:
        self.let_go()
        await sweep(
            self._qemu, synchronous=self._synchronous, answered=frozenset(self._paths.values())
        )
        self._synchronous = False
        self._jobs.clear()
        self._nodes.clear()

    def traffic(self) -> Traffic:
        """Of all disks together."""
        told = [sender.traffic for sender in self._senders.values()]
        return Traffic(
            sum(one.disk for one in told),
            sum(one.wire for one in told),
            sum(one.kept for one in told),
            sum(one.cuts for one in told),
        )

    def limit(self, bits_per_s: int | None) -> None:
        """Another limit, for all of them together."""
        self._pace.rate = bits_per_s

    def _stalled(self) -> bool:
        owed_s = max(sender.silent_s() for sender in self._senders.values())
        return self._silence.seen(owed_s, asyncio.get_running_loop().time())

    async def _hear(self, events: Any) -> None:
        """What QEMU says next, if it says anything for a while."""
        try:
            # Not `asyncio.wait_for`: until Python 3.12 it loses a cancellation that comes together
            # with an event, and who follows would never end.
            async with asyncio.timeout(_LOOK_S):
                event = await events.get()
        except TimeoutError:
            if not self.ready:
                jobs = await self._qemu.ask("query-block-jobs")
                self.left = sum(int(job["len"]) - int(job["offset"]) for job in jobs)
            return
        if self._checked(event) is not None and not self._switching:
            raise MigrationError(f"the mirror of disk {mirrored_disk(event)} has ended")

    def _check(self) -> None:
        """Raises `MigrationError` when nothing can be sent any more."""
        for sender in self._senders.values():
            if sender.failure is not None:
                raise sender.failure

    def _checked(self, event: Any) -> int | None:
        """The disk whose mirror has ended, if ``event`` tells that one has; raises `MigrationError`
        when it tells of an error."""
        disk, told = mirrored_disk(event), event["data"]
        if disk is None:
            return None
        if event["event"] == _READY:
            self._ready.add(disk)
            return None
        if event["event"] == _ERROR:
            self._check()
            where = "here" if told["operation"] == "read" else "at the other site"
            raise MigrationError(
                f"disk {disk} cannot be {_DONE[told['operation']]} {where}",
                hint="is the device well, and is there room on it?",
            )
        if "error" in told or event["event"] != "BLOCK_JOB_COMPLETED":
            why = told.get("error", "it was cancelled")
            raise MigrationError(f"the mirror of disk {disk} ended: {why}")
        return disk

    async def _synchronize(self) -> None:
        """Let each write of the guest's wait until it was taken for the other site."""
        self._synchronous = True
        for disk in self._jobs:
            if self._switching:
                return
            await synchronize(self._qemu, mirror_job(disk))
        self._mark("disks follow synchronously")

    async def _begin_again(self, events: Any) -> None:
        """The link stalls: let the guest write on, and copy again what it writes meanwhile."""
        self._mark("the link stalls: disks follow asynchronously")
        self._silence = Silence()
        self._ready.clear()
        await self._sweep()
        while not events.empty():
            await events.get()
        for disk in self._disks:
            self._senders[disk].take_again()
            await self._mirror(disk)

    async def _mirror(self, disk: int) -> None:
        await self._qemu.ask(
            "blockdev-add",
            driver="nbd",
            node_name=far_node(disk),
            server={"type": "unix", "path": str(self._paths[disk])},
            export=disk_node(disk),
            discard="unmap",
        )
        self._nodes.append(disk)
        await self._qemu.ask(
            "blockdev-mirror",
            job_id=mirror_job(disk),
            device=await self._qemu.node(disk),
            target=far_node(disk),
            sync="full",
            granularity=_GRANULARITY,
            copy_mode="background",
            on_source_error=ON_ERROR,
            on_target_error=ON_ERROR,
        )
        self._jobs.append(disk)
