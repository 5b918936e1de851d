"""Real QEMU guests that check their own memory, and their migration.

A guest's first process is ``tests/guests/agent.c``.  Its console and QEMU's monitor (QMP) are unix
sockets to which QEMU connects, so that nothing it says at the start is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient

from tests.support.guest_image import MissingError

#: What a step may take on a machine that does much else; a step that takes longer has failed.
PATIENCE = 120.0
#: Octets that are read from a socket at once.
READ_SIZE = 1 << 18
QEMU = "qemu-system-x86_64"
#: Where tests/guests/fetch puts another version.
NEWER_QEMU = Path("/var/cache/vpnctl/newer-qemu/usr/bin") / QEMU


_SETTINGS = (
    "text", "updates", "rewrites", "random",
    "touch_updates", "touch_rewrites", "touch_random", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A guest's machine and load, see agent.c: sizes of regions in MiB, pages changed per round.

    RAM is no multiple of 256 KiB: QEMU before 9.0 under TCG corrupts such guests in migration.
    """

    machine: str = "q35"
    ram_kib: int = 96 * 1024 - 8
    text: int = 8
    updates: int = 8
    rewrites: int = 4
    random: int = 4
    touch_updates: int = 20
    touch_rewrites: int = 10
    touch_random: int = 5
    seed: int = 1

    def command_line(self) -> str:
        """What the kernel and the agent are told."""
        settings = " ".join(f"{name}={getattr(self, name)}" for name in _SETTINGS)
        # A guest that measures its own clock on a busy machine may measure nonsense and hang.
        return f"console=ttyS0 quiet panic=-1 tsc_early_khz=2000000 {settings}"


def find_qemu() -> str:
    """QEMU's path; `MissingError` if it is not installed."""
    found = shutil.which(QEMU)
    if found is None:
        raise MissingError("qemu-system-x86 is not installed")
    return found


def find_newer_qemu() -> str:
    """The path of a QEMU beside the installed one; `MissingError` if there is none."""
    if not os.access(NEWER_QEMU, os.X_OK):
        raise MissingError("there is no second QEMU here: tests/guests/fetch gets one on Debian 12")
    return str(NEWER_QEMU)


def qemu_version(binary: str) -> tuple[int, ...]:
    """For example ``(7, 2, 22)``."""
    shown = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", shown)
    assert found, shown
    return tuple(int(part) for part in found.groups())


class GuestError(Exception):
    """A guest did not do what it should; the message has its console's last words."""


@dataclass
class Guest:
    """A running QEMU with a test guest, see `start_guest`."""

    name: str
    shape: Shape
    process: asyncio.subprocess.Process
    qmp: QMPClient
    log: Path
    _lines: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    _heard: list[str] = field(default_factory=list)
    _console: asyncio.StreamWriter | None = None

    async def line(self, prefix: str) -> str:
        """The next line of the console that begins with ``prefix``.

        Raises `GuestError` if the guest finds its memory corrupt, or says nothing for `PATIENCE`.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    line = await self._lines.get()
                    if line.startswith(("corrupt", "failed")):
                        raise GuestError(f"{self.name}: {line}")
                    if line.startswith(prefix):
                        return line
        except TimeoutError:
            raise GuestError(
                f"{self.name} never said {prefix!r}; its last words: {self._heard[-8:]}; "
                f"QEMU: {self.log.read_text()[-800:]!r}"
            ) from None

    async def verify(self) -> int:
        """Let the guest check all its pages; how many rounds it has worked since it booted."""
        assert self._console is not None
        self._console.write(b"verify\n")
        answer = await self.line("verified")
        return int(answer.split()[-2])

    async def execute(self, command: str, **arguments: object) -> Any:
        """A QMP command; ``_`` in names of arguments stands for ``-``."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        return await self.qmp.execute(command, named or None)

    async def set_capabilities(self, capabilities: Mapping[str, bool]) -> None:
        states = [{"capability": name, "state": on} for name, on in capabilities.items()]
        await self.execute("migrate-set-capabilities", capabilities=states)

    async def migrated(self, patience: float = PATIENCE) -> str:
        """Wait for the end of a migration: "completed", "failed" or "cancelled".

        ``patience``: seconds.

        Asks as well as listens, because QEMU tells of failures before a listener may exist.
        """
        with self.qmp.listener("MIGRATION") as events:
            status = (await self.execute("query-migrate")).get("status", "none")
            async with asyncio.timeout(patience):
                while status not in ("completed", "failed", "cancelled"):
                    event = await events.get()
                    status = event["data"]["status"]
        return str(status)

    async def stop(self) -> None:
        """End QEMU; does nothing if it has ended."""
        with contextlib.suppress(Exception):
            await self.qmp.disconnect()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()
        if self._console is not None:
            self._console.close()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._console = writer
        while line := await reader.readline():
            text = line.decode("ascii", "replace").strip()
            self._heard.append(text)
            self._lines.put_nowait(text)


@contextlib.asynccontextmanager
async def start_guest(
    directory: Path,
    kernel: Path,
    image: Path,
    shape: Shape,
    *,
    name: str = "guest",
    binary: str = "",
    incoming: str = "",
    paused: bool = False,
) -> AsyncIterator[Guest]:
    """Run a guest in software emulation, connected and ready to be asked; not yet booted.

    ``directory`` gets sockets and a log; its path must be short, as unix sockets want.
    ``incoming``: a URI like ``unix:/path``: wait for a migration.  ``paused``: with ``-S``.
    """
    monitor, console, log = (directory / f"{name}.{kind}" for kind in ("qmp", "tty", "log"))
    program = binary or find_qemu()
    started: asyncio.Future[Guest] = asyncio.get_running_loop().create_future()
    connected = asyncio.Event()

    async def console_connected(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
        guest = await started
        connected.set()
        await guest._listen(r, w)

    qmp = QMPClient(name)
    await qmp.start_server(str(monitor))
    server = await asyncio.start_unix_server(console_connected, console)
    arguments = [
        "-name", name, "-nodefaults", "-no-user-config", "-display", "none",
        "-machine", shape.machine, "-accel", "tcg,thread=single",
        "-m", f"{shape.ram_kib}K",
        "-kernel", str(kernel), "-initrd", str(image), "-append", shape.command_line(),
        "-chardev", f"socket,id=tty,path={console}", "-serial", "chardev:tty",
        "-chardev", f"socket,id=mon,path={monitor}", "-mon", "chardev=mon,mode=control",
        *(("-incoming", incoming) if incoming else ()),
        *(("-S",) if paused else ()),
    ]  # fmt: skip
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    guest = Guest(name, shape, process, qmp, log)
    started.set_result(guest)
    try:
        async with asyncio.timeout(PATIENCE):
            accepted = asyncio.ensure_future(qmp.accept())
            ended = asyncio.ensure_future(process.wait())
            await asyncio.wait({accepted, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                accepted.cancel()
                raise GuestError(f"QEMU ended at once: {log.read_text()[-800:]}")
            await accepted
            ended.cancel()
            await connected.wait()
            await guest.set_capabilities({"events": True})
        yield guest
    finally:
        await guest.stop()
        server.close()


@contextlib.asynccontextmanager
async def recording(path: Path, out: Path) -> AsyncIterator[asyncio.Future[int]]:
    """A unix socket at ``path`` that writes what comes to ``out``; the future is its size."""
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with out.open("wb") as file:
            while octets := await reader.read(READ_SIZE):
                file.write(octets)
            size = file.tell()
        writer.close()
        ended.set_result(size)

    server = await asyncio.start_unix_server(receive, path, limit=READ_SIZE)
    try:
        yield ended
    finally:
        server.close()


@contextlib.asynccontextmanager
async def relaying(
    path: Path, onward: Path, change: Callable[[bytes], bytes]
) -> AsyncIterator[asyncio.Future[None]]:
    """A unix socket at ``path`` joined to the one at ``onward``, as two sidecars would be.

    ``change`` is given what goes forward and says what goes on; the return path is left alone.
    The future ends with the connection, or with what ``change`` raised.
    """
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(READ_SIZE):
            writer.write(change(octets))
            await writer.drain()
        writer.write_eof()

    async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(READ_SIZE):
            writer.write(octets)
            await writer.drain()

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(onward, limit=READ_SIZE)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(forward(reader, far_writer))
                directions.create_task(back(far_reader, writer))
            far_writer.close()
            ended.set_result(None)
        except BaseException as error:
            ended.set_exception(error)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(joined, path, limit=READ_SIZE)
    try:
        yield ended
    finally:
        server.close()


__all__ = [
    "PATIENCE",
    "Guest",
    "GuestError",
    "Shape",
    "find_newer_qemu",
    "find_qemu",
    "qemu_version",
    "recording",
    "relaying",
    "start_guest",
]
