"""A machine's own disks: which they are, files for them, and exports of those that come."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from vpnctl.errors import MigrationError
from vpnctl.migration.agent.settings import AgentSettings
from vpnctl.migration.definition import Definition
from vpnctl.migration.disk.receiver import Receiver
from vpnctl.migration.hypervisor.command_line import Places, disk_node
from vpnctl.migration.hypervisor.driver import Guest
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.tls import Tls


def own_disks(definition: Definition) -> list[int]:
    """The disks that are not shared, by their numbers."""
    return [index for index, disk in enumerate(definition.disks) if not disk.shared]


def tls_to(settings: AgentSettings, name: str) -> Tls | None:
    """For a connection with the site whose certificate has ``name``."""
    own = settings.certificates
    return Tls(own.certificate, own.key, own.ca, name) if own else None


class Exports:
    """The disks of a machine that comes."""

    def __init__(self, qemu: Guest, run: Path, receiver: Receiver) -> None:
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
                node_name=await self._qemu.node(disk),
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


async def make_disks(
    definition: Definition, places: Places, sizes: Sequence[int], *, known: bool
) -> frozenset[int]:
    """Files for the disks of a machine that comes, of ``sizes`` octets; gives those that are new.

    ``known``: files that are there already are old copies of them.  Raises `MigrationError` when
    they are not, or cannot be used.
    """
    blank = set()
    for index, disk in enumerate(definition.disks):
        path = places.disk(definition, index)
        if not disk.shared and not path.exists():
            await make_blank(path, sizes[index], disk.format)
            blank.add(index)
        elif not disk.shared and not known:
            raise MigrationError(
                f"{path} is there already, and is no old copy of {definition.machine}",
                hint="move it out of the way",
            )
        if not os.access(path, os.R_OK | os.W_OK):
            raise MigrationError(
                f"{path} is not there, or may not be written",
                hint="mount the shared directory at both sites" if disk.shared else "",
            )
    return frozenset(blank)


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
