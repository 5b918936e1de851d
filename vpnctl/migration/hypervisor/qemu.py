"""The driver for plain QEMU: its process, and its monitor (QMP)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qemu.qmp import EventListener, QMPClient, QMPError

from vpnctl.errors import MigrationError
from vpnctl.migration.hypervisor.command_line import disk_node
from vpnctl.migration.hypervisor.driver import seconds
from vpnctl.migration.hypervisor.process import Process, born
from vpnctl.migration.ledger import Copy

#: Seconds that QEMU has to open its monitor, and to answer what takes it no time.
_PATIENCE_S = 30.0
#: Seconds that QEMU has to end when told; then it is killed.
_QUIT_S = 5.0
_LAST_WORDS = 600
#: Milliseconds between the rounds of an announcement, and how many of them.
_ANNOUNCE: dict[str, Any] = {"initial": 20, "max": 200, "rounds": 4, "step": 60}
_CREDENTIALS = struct.Struct("3i")
#: The device of a disk as we name it, and as libvirt takes such a name from its user.
_DEVICE = re.compile(r"/machine/peripheral/(?:ua-)?vd(\d+)/")


class Qemu:
    """A running QEMU with its monitor; `gone` is set when its process has ended."""

    def __init__(self, copy: Copy, process: Process, client: QMPClient) -> None:
        self.copy = copy
        self.gone = process.gone
        self._process = process
        self._client = client
        self._nodes: dict[int, str] = {}

    @classmethod
    async def start(
        cls, binary: str, arguments: Sequence[str], copy: Copy, record: Callable[[Copy], None]
    ) -> Qemu:
        """Start it; ``record`` is told its process as soon as there is one.

        Raises `MigrationError` with its last words when it ends at once.
        """
        with Path(copy.log).open("ab") as log:  # noqa: ASYNC230 - a local file, and at once
            try:
                # A session of its own: it lives on when the agent ends or is restarted.
                child = await asyncio.create_subprocess_exec(
                    binary,
                    *arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise MigrationError(
                    f"{binary} cannot be started: {error.strerror}",
                    hint="install qemu-system-x86, or name another QEMU with --qemu",
                ) from error
        birth = born(child.pid)
        process = Process.find(child.pid, birth) if birth is not None else None
        if process is None:
            raise _ended(copy)
        copy = copy.model_copy(update={"pid": child.pid, "born": birth})
        record(copy)
        return await cls._joined(copy, process)

    @classmethod
    async def find(cls, copy: Copy) -> Qemu | None:
        """The one that an agent before us started or attached to; None if it has ended."""
        pid, birth = copy.pid, copy.born
        if not pid:
            # It was to be started when the agent died.
            found = _with_monitor(copy.qmp)
            if found is None:
                return None
            pid, birth = found
        process = Process.find(pid, birth)
        if process is None:
            return None
        return await cls._joined(copy.model_copy(update={"pid": pid, "born": birth}), process)

    @classmethod
    async def attach(cls, qmp: Path) -> Qemu:
        """One that somebody else started, by its monitor; raises `MigrationError`."""
        return await cls.join(Copy(incarnation=secrets.token_hex(8), qmp=str(qmp)))

    @classmethod
    async def join(cls, copy: Copy, record: Callable[[Copy], None] = lambda _: None) -> Qemu:
        """The one behind ``copy``'s monitor; ``record`` is told its process.

        Raises `MigrationError`.
        """
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(copy.qmp)
                pid, _, _ = _CREDENTIALS.unpack(
                    probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                )
        except OSError as error:
            raise MigrationError(
                f"no QEMU monitor answers at {copy.qmp}: {error.strerror}",
                hint="give QEMU one that nobody else uses: -qmp unix:PATH,server=on,wait=off",
            ) from error
        birth = born(pid)
        process = Process.find(pid, birth) if birth is not None else None
        if process is None:
            raise MigrationError(f"the QEMU behind {copy.qmp} has ended", hint="start it again")
        copy = copy.model_copy(update={"pid": pid, "born": birth})
        record(copy)
        return await cls._joined(copy, process)

    @classmethod
    async def _joined(cls, copy: Copy, process: Process) -> Qemu:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    client = QMPClient(copy.incarnation)
                    try:
                        await client.connect(copy.qmp)
                        return cls(copy, process, client)
                    except (QMPError, OSError):
                        # It opens its monitor a moment after it has begun.
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(process.gone.wait(), 0.02)
                    if process.gone.is_set():
                        raise _ended(copy)
        except TimeoutError:
            process.close()
            raise MigrationError(
                f"QEMU's monitor at {copy.qmp} does not answer",
                hint="is somebody else connected to it? give the agent one of its own",
            ) from None
        except BaseException:
            process.close()
            raise

    async def ask(self, command: str, timeout_s: float = _PATIENCE_S, **arguments: Any) -> Any:
        """A QMP command; ``_`` in names of arguments stands for ``-``.

        Raises `MigrationError` when QEMU refuses, is silent or has gone.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            async with asyncio.timeout(timeout_s):
                return await self._client.execute(command, named or None)
        except TimeoutError:
            raise MigrationError(
                f"QEMU did not answer {command} within {timeout_s:g} s", hint="see its log"
            ) from None
        except (QMPError, OSError) as error:
            said = str(error) or "it has gone"
            raise MigrationError(f"QEMU: {command}: {said}", hint="see its log") from error

    def listen(self, *names: str) -> contextlib.AbstractContextManager[EventListener]:
        """Events of these names while the block runs."""
        return self._client.listener(names)

    async def status(self) -> str:
        """QEMU's run state: running, paused, inmigrate, postmigrate ..."""
        return str((await self.ask("query-status"))["status"])

    async def run(self) -> float | None:
        """Let the guest run; when it did, by the wall's clock, None if it ran already."""
        with self.listen("RESUME") as events:
            await self.ask("cont")
            # QEMU tells of it before it answers.
            if events.empty():
                return None
            return seconds(await events.get())

    async def disk_sizes(self, disks: int) -> list[int]:
        """Octets of each of the guest's disks, of which there are ``disks``."""
        nodes = await self.ask("query-named-block-nodes", flat=True)
        sizes = {node["node-name"]: int(node["image"]["virtual-size"]) for node in nodes}
        return [sizes[await self.node(index)] for index in range(disks)]

    async def node(self, disk: int) -> str:
        """What QEMU calls the node of a disk: our name for it, or libvirt's, by the device."""
        if not self._nodes:
            for found in map(_node, await self.ask("query-block")):
                self._nodes.update(found)
        return self._nodes.get(disk, disk_node(disk))

    async def announce(self) -> None:
        """Send RARP from the machine's nics, a few times, so that bridges learn where it is."""
        await self.ask("announce-self", **_ANNOUNCE)

    async def disconnect(self) -> None:
        """Leave it running, and let go of it."""
        with contextlib.suppress(Exception):
            await self._client.disconnect()
        self._process.close()

    async def destroy(self) -> None:
        """End it, whatever it does, and return when it has ended."""
        if not self.gone.is_set():
            with contextlib.suppress(MigrationError):
                # It flushes its disks; a monitor that is blocked gets no long time.
                await self.ask("quit", _QUIT_S)
            try:
                await asyncio.wait_for(self.gone.wait(), _QUIT_S)
            except TimeoutError:
                self._process.kill()
                await self.gone.wait()
        await self.disconnect()


def _node(device: Any) -> dict[int, str]:
    """The number of a disk and its node, of an answer to ``query-block``."""
    found = _DEVICE.match(str(device.get("qdev")))
    if found is None or "inserted" not in device:
        return {}
    return {int(found[1]): str(device["inserted"]["node-name"])}


def _with_monitor(qmp: str) -> tuple[int, int] | None:
    """The process that was told to have its monitor at ``qmp``, by number and birth."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                birth = born(int(entry.name))
                if birth is not None and qmp.encode() in (entry / "cmdline").read_bytes():
                    return int(entry.name), birth
    return None


def _ended(copy: Copy) -> MigrationError:
    words = ""
    if copy.log:
        with contextlib.suppress(OSError):
            words = Path(copy.log).read_text(errors="replace")[-_LAST_WORDS:].strip()
    return MigrationError(
        f"QEMU ended at once: {words or 'it said nothing'}",
        hint="correct the definition; the memory, files and names in it must suit this host",
    )
