"""The driver for libvirt: it starts the domains, and is told by its own monitor how they fare.

A domain is a transient one: libvirt forgets it when its QEMU has ended, as it does once the machine
runs at the other site.  The memory and the disks move as with plain QEMU, over a monitor of our
own; libvirt's migration is not used, and libvirt marks the domain as one with arguments of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Sequence

from vpnctl.errors import MigrationError
from vpnctl.migration.definition import Definition
from vpnctl.migration.hypervisor.command_line import Places
from vpnctl.migration.hypervisor.domain import domain
from vpnctl.migration.hypervisor.plain import PlainQemu
from vpnctl.migration.hypervisor.qemu import Qemu
from vpnctl.migration.ledger import Copy

_VIRSH = "virsh"
#: Seconds that libvirt has to start a domain, or to end one.
_PATIENCE_S = 60.0
#: Seconds that it has to notice that a QEMU has ended.
_NOTICING_S, _AGAIN_S = 10.0, 0.05
_LAST_WORDS = 600


class Libvirt(PlainQemu):
    """`vpnctl.migration.hypervisor.driver.Driver` by the libvirt at ``uri``.

    ``binary``: the QEMU that it starts, a path or a name.  Its machines are found and attached to
    as any other, by their process and a monitor besides libvirt's own.
    """

    kind = "libvirt"

    def __init__(self, uri: str, binary: str) -> None:
        super().__init__(binary)
        self._uri = uri

    async def start(
        self,
        definition: Definition,
        places: Places,
        taps: Sequence[str],
        copy: Copy,
        record: Callable[[Copy], None],
        *,
        incoming: bool,
    ) -> Qemu:
        """Start a domain, which does not end with the agent."""
        emulator = shutil.which(self._binary) or self._binary
        document = domain(
            definition,
            places,
            taps,
            emulator=emulator,
            owner=(os.getuid(), os.getgid()),
            incoming=incoming,
        )
        file = places.run / "domain.xml"
        file.write_bytes(document)
        await self._until_free(definition.machine)
        words = ("create", *(("--paused",) if incoming else ()), str(file))
        creating = asyncio.create_task(self._virsh(*words))
        try:
            # What libvirt was asked for it does, whoever waits for the answer.
            await asyncio.shield(creating)
            return await Qemu.join(copy, record)
        except BaseException:
            await asyncio.shield(self._undo(creating, definition.machine, places))
            raise

    async def _until_free(self, name: str) -> None:
        """Return when libvirt has noticed that the last QEMU of this name ended; raises
        `MigrationError` where it has a domain of that name that goes on."""
        try:
            async with asyncio.timeout(_NOTICING_S):
                while name in await self._running():  # noqa: ASYNC110 - libvirt is polled
                    await asyncio.sleep(_AGAIN_S)
        except TimeoutError:
            raise MigrationError(
                f"libvirt at {self._uri} has a domain {name} already",
                hint=f"look at it with 'virsh --connect {self._uri} dominfo {name}'",
            ) from None

    async def _undo(self, creating: asyncio.Task[str], name: str, places: Places) -> None:
        """End a domain that was to be started, if it is ours."""
        with contextlib.suppress(MigrationError):
            await asyncio.wait({creating})
            if str(places.qmp) in await self._virsh("dumpxml", name):
                await self._virsh("destroy", name)

    async def _running(self) -> list[str]:
        return (await self._virsh("list", "--name")).split()

    async def _virsh(self, *words: str) -> str:
        """What it prints; raises `MigrationError` with libvirt's words."""
        try:
            child = await asyncio.create_subprocess_exec(
                _VIRSH, "--quiet", "--connect", self._uri, *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ | {"LC_ALL": "C"},
            )  # fmt: skip
        except OSError as error:
            raise MigrationError(
                f"{_VIRSH} cannot be started: {error.strerror}", hint="install libvirt-clients"
            ) from error
        try:
            async with asyncio.timeout(_PATIENCE_S):
                printed, said = await child.communicate()
        except BaseException as error:
            child.kill()
            await child.wait()
            if not isinstance(error, TimeoutError):
                raise
            raise MigrationError(
                f"libvirt at {self._uri} did not answer {words[0]} within {_PATIENCE_S:g} s",
                hint="look at it with 'virsh list --all'",
            ) from None
        if child.returncode:
            told = " ".join(said.decode(errors="replace").replace("error: ", "").split())
            raise MigrationError(
                f"libvirt: {told[-_LAST_WORDS:] or 'it said nothing'}",
                hint=f"is it up, and may the agent use it? virsh --connect {self._uri} list --all",
            )
        return printed.decode(errors="replace")
