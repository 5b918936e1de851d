"""A machine's own disks on their way: QEMU's mirrors here, its exports at the other site."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from vpnctl.errors import MigrationError
from vpnctl.migration.agent.settings import AgentSettings
from vpnctl.migration.definition import Definition
from vpnctl.migration.disk.receiver import Receiver
from vpnctl.migration.disk.sender import Sender, Traffic
from vpnctl.migration.hypervisor.command_line import disk_node
from vpnctl.migration.hypervisor.qemu import Qemu
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.tls import Tls

#: Seconds that a job has to end once it was told to: what is still to be written waits for that.
_ENDING_S = 60.0
_LOOK_S = 0.5
_SHORT_S = 0.05
#: What our jobs and nodes are called.
_JOB, _FAR = re.compile(r"mirror\d+"), re.compile(r"far\d+")
#: Octets of disk that a mirror looks at together.
_GRANULARITY = 64 * 1024


def own_disks(definition: Definition) -> list[int]:
    """The disks that are not shared, by their numbers."""
    return [index for index, disk in enumerate(definition.disks) if not disk.shared]


def tls_to(settings: AgentSettings, name: str) -> Tls | None:
    """For a connection with the site whose certificate has ``name``."""
    own = settings.certificates
    return Tls(own.certificate, own.key, own.ca, name) if own else None


class Mirrors:
    """The disks of a machine that leaves; `start`, then `switch` or `abandon`."""

    def __init__(self, qemu: Qemu, disks: Sequence[int], sizes: Mapping[int, int]) -> None:
        self.left: int | None = None
        self._qemu = qemu
        self._disks = disks
        self._sizes = sizes
        self._senders: list[Sender] = []
        self._held = AsyncExitStack()
        self._nodes: list[int] = []
        self._jobs: list[int] = []

    async def start(
        self, peer: Address, tls: Tls | None, migration: str, rate: int | None, run: Path
    ) -> None:
        """Copy everything once; return when the copies follow.  Raises `MigrationError`."""
        with self._qemu.listen("BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED") as events:
            for disk in self._disks:
                sender = Sender(peer, tls, migration, disk, rate)
                self._senders.append(sender)
                path = run / f"nbd{disk}"
                size = await self._held.enter_async_context(sender.serving(path))
                if size != self._sizes[disk]:
                    raise MigrationError(
                        f"disk {disk} has {self._sizes[disk]} octets here, {size} there",
                        hint="remove the old copy at the other site",
                    )
                await self._mirror(disk, path)
            waiting = set(self._jobs)
            while waiting:
                try:
                    event: Any = await asyncio.wait_for(events.get(), _LOOK_S)
                except TimeoutError:
                    await self._look()
                    continue
                disk = _disk_of(event)
                if event["event"] == "BLOCK_JOB_COMPLETED":
                    raise _ended(event)
                waiting.discard(disk)
        self.left = 0

    async def failed(self) -> None:
        """Raise `MigrationError` when a mirror fails; until cancelled."""
        with self._qemu.listen("BLOCK_JOB_COMPLETED") as events:
            while True:
                event: Any = await events.get()
                if "error" in event["data"]:
                    raise _ended(event)

    async def switch(self) -> None:
        """The guest stands still: write what is left, and let go of the other site's disks."""
        with self._qemu.listen("BLOCK_JOB_COMPLETED") as events:
            for disk in self._jobs:
                await self._qemu.ask("block-job-cancel", device=_job(disk), force=False)
            async with asyncio.timeout(_ENDING_S):
                while self._jobs:
                    event: Any = await events.get()
                    if "error" in event["data"]:
                        raise MigrationError(f"a disk did not follow: {event['data']['error']}")
                    self._jobs.remove(_disk_of(event))
        await self._let_go()

    async def abandon(self) -> None:
        """Leave nothing of it, whatever state it is in."""
        await sweep(self._qemu)
        self._jobs.clear()
        self._nodes.clear()
        await self._held.aclose()

    def traffic(self) -> Traffic:
        """Of all disks together."""
        told = [sender.traffic for sender in self._senders]
        return Traffic(
            sum(one.disk for one in told),
            sum(one.wire for one in told),
            sum(one.kept for one in told),
            sum(one.cuts for one in told),
        )

    def limit(self, bits_per_s: int | None) -> None:
        for sender in self._senders:
            sender.rate = bits_per_s

    async def _mirror(self, disk: int, path: Path) -> None:
        await self._qemu.ask(
            "blockdev-add",
            driver="nbd",
            node_name=_far(disk),
            server={"type": "unix", "path": str(path)},
            export=disk_node(disk),
            discard="unmap",
        )
        self._nodes.append(disk)
        await self._qemu.ask(
            "blockdev-mirror",
            job_id=_job(disk),
            device=disk_node(disk),
            target=_far(disk),
            sync="full",
            granularity=_GRANULARITY,
            copy_mode="background",
        )
        self._jobs.append(disk)

    async def _let_go(self) -> None:
        while self._nodes:
            await self._qemu.ask("blockdev-del", node_name=_far(self._nodes[-1]))
            self._nodes.pop()
        await self._held.aclose()

    async def _look(self) -> None:
        jobs = await self._qemu.ask("query-block-jobs")
        self.left = sum(int(job["len"]) - int(job["offset"]) for job in jobs)


async def sweep(qemu: Qemu) -> None:
    """Remove the mirrors that QEMU has, also those of an agent that died.

    A broken one that is left behind makes the next migration fail without a word.
    """
    with contextlib.suppress(MigrationError, TimeoutError):
        async with asyncio.timeout(_ENDING_S):
            while jobs := [
                job["device"]
                for job in await qemu.ask("query-block-jobs")
                if _JOB.fullmatch(job["device"])
            ]:
                for job in jobs:
                    await qemu.ask("block-job-cancel", device=job, force=True)
                await asyncio.sleep(_SHORT_S)
        for node in await qemu.ask("query-named-block-nodes", flat=True):
            if _FAR.fullmatch(node["node-name"]):
                await qemu.ask("blockdev-del", node_name=node["node-name"])


class Exports:
    """The disks of a machine that comes."""

    def __init__(self, qemu: Qemu, run: Path, receiver: Receiver) -> None:
        self._qemu = qemu
        self._run = run
        self._receiver = receiver
        self._open = False

    async def start(self, disks: Sequence[int], where: Address) -> Address:
        """Where the sender connects to; raises `MigrationError`."""
        path = exports_socket(self._run)
        await self._qemu.ask("nbd-server-start", addr={"type": "unix", "data": {"path": str(path)}})
        self._open = True
        for disk in disks:
            await self._qemu.ask(
                "block-export-add",
                type="nbd",
                id=f"export{disk}",
                node_name=disk_node(disk),
                name=disk_node(disk),
                writable=True,
            )
        return await self._receiver.open(where)

    async def stop(self) -> None:
        """Nobody writes to the disks any more; raises `MigrationError`."""
        await self._receiver.close()
        if self._open:
            await self._qemu.ask("nbd-server-stop")
            self._open = False


def exports_socket(run: Path) -> Path:
    """Where QEMU exports."""
    return run / "exports"


async def make_blank(path: Path, size: int, form: str) -> None:
    """A disk of zeroes; raises `MigrationError`."""
    try:
        child = await asyncio.create_subprocess_exec(
            "qemu-img", "create", "-q", "-f", form, str(path), str(size),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise MigrationError(
            f"qemu-img cannot be started: {error.strerror}", hint="install qemu-utils"
        ) from error
    _, said = await child.communicate()
    if child.returncode:
        raise MigrationError(
            f"{path} cannot be made: {said.decode(errors='replace').strip()}",
            hint="make room in the directory that the agent was given with --disks",
        )


def _job(disk: int) -> str:
    return f"mirror{disk}"


def _far(disk: int) -> str:
    return f"far{disk}"


def _disk_of(event: Any) -> int:
    return int(str(event["data"]["device"]).removeprefix("mirror"))


def _ended(event: Any) -> MigrationError:
    why = event["data"].get("error", "it was cancelled")
    return MigrationError(f"the mirror of disk {_disk_of(event)} ended: {why}")
