"""The data path's processes: ``vpnctl sidecar``, each for one migration."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vpnctl.errors import MigrationError, VpnctlError
from vpnctl.migration.agent.settings import Certificates
from vpnctl.migration.hypervisor.tied import tied
from vpnctl.sidecar.run.control import ask

#: Seconds until it has to say that it is ready: Python starts, and the sites shake hands.
_READY_S = 60.0
#: Seconds to end in order.
_END_S = 5.0
_READY = "ready: "
_LONGEST_LINE = 1 << 20
#: Nobody stands back further; see nice(1).
_LAST = 19


class Sidecar:
    """A running sidecar: `progress` is the last that it said, `ended` its exit code."""

    def __init__(self, process: asyncio.subprocess.Process, control: Path | None) -> None:
        self.progress: dict[str, Any] = {}
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.words: list[str] = []
        self._control = control
        self._process = process
        self._reading = asyncio.gather(self._hear(), self._see(), return_exceptions=True)
        self._waiting = asyncio.create_task(self._wait())

    @property
    def code(self) -> int | None:
        return self._process.returncode

    async def until_ready(self) -> str:
        """What it says when it is; raises `MigrationError` when it ends before."""
        try:
            # Not `asyncio.wait_for`: until Python 3.12 it loses a cancellation that comes together
            # with what is waited for, and the machine would move on.
            async with asyncio.timeout(_READY_S):
                return await asyncio.shield(self.ready)
        except TimeoutError:
            raise MigrationError(
                f"the sidecar was not ready within {_READY_S:g} s",
                hint="can the two sites reach each other?",
            ) from None

    async def limit(self, bits_per_s: int | None) -> None:
        """Another bandwidth limit."""
        assert self._control is not None
        await asyncio.to_thread(ask, self._control, {"command": "limit", "rate": bits_per_s})

    async def pause_is_far(self, far: bool) -> None:
        """Whether the machine goes on for a while: then more may be under way."""
        assert self._control is not None
        await asyncio.to_thread(ask, self._control, {"command": "pause", "far": far})

    def error(self) -> MigrationError:
        """What it said at its end."""
        said = " ".join(word.strip() for word in self.words[-4:])
        _, found, message = said.partition("error: ")
        return MigrationError(f"the sidecar ended: {message if found else said or self.code}")

    async def end(self) -> None:
        """End it: QEMU's socket closes, and what was not complete is given up."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_END_S):
                    await self.ended.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        await self.ended.wait()

    async def _wait(self) -> None:
        await self._process.wait()
        await self._reading
        if not self.ready.done():
            self.ready.set_exception(self.error())
            # Nobody may have asked yet; then the exception is not lost but not needed either.
            self.ready.exception()
        self.ended.set()

    async def _hear(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            text = line.decode(errors="replace").rstrip()
            self.words.append(text)
            del self.words[:-20]
            if text.startswith(_READY) and not self.ready.done():
                self.ready.set_result(text.removeprefix(_READY))

    async def _see(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            with contextlib.suppress(ValueError):
                self.progress = json.loads(line)


async def start_source(
    entry: Path,
    connect: str,
    peer_name: str,
    certificates: Certificates | None,
    migration: str,
    rate: int | None,
    site_cache: Path | None = None,
    nice: int = 0,
) -> Sidecar:
    """Beside the QEMU that a machine leaves: it migrates to ``unix:ENTRY``.

    ``nice``: how far it stands back behind other programs, see nice(1).
    """
    control = entry.with_name(entry.name + ".c")
    # Octets between sites cost; and where the processor is what is short, at either site, sending
    # more of them has hardly moved a guest sooner.
    words = [
        "source", "--qemu", str(entry), "--connect", connect, "--migration", migration,
        "--control", str(control), "--limit", "none" if rate is None else str(rate), "--resume",
        "20", "--no-adapt", *_security(certificates, peer_name), *_cache(site_cache),
    ]  # fmt: skip
    return await _start(words, control, nice)


async def start_destination(
    incoming: Path,
    listen: str,
    peer_name: str,
    certificates: Certificates | None,
    site_cache: Path | None = None,
    nice: int = 0,
) -> tuple[Sidecar, str]:
    """Beside the QEMU that waits at ``incoming``; also where it listens."""
    words = [
        "destination", "--qemu", str(incoming), "--listen", listen, "--resume", "20",
        *_security(certificates, peer_name), *_cache(site_cache),
    ]  # fmt: skip
    sidecar = await _start(words, None, nice)
    try:
        said = await sidecar.until_ready()
    except VpnctlError:
        await sidecar.end()
        raise
    return sidecar, said.removeprefix("listening on ")


async def _start(words: Sequence[str], control: Path | None, nice: int) -> Sidecar:
    process = await asyncio.create_subprocess_exec(
        *tied(sys.executable, "-m", "vpnctl", "sidecar", *words, "-o", "json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )  # fmt: skip
    if nice:
        # All its threads are still to come.
        behind = min(os.getpriority(os.PRIO_PROCESS, 0) + nice, _LAST)
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, behind)
    return Sidecar(process, control)


def _security(certificates: Certificates | None, peer_name: str) -> list[str]:
    if certificates is None:
        return ["--plain"]
    return [
        "--cert", str(certificates.certificate), "--key", str(certificates.key),
        "--ca", str(certificates.ca), "--peer-name", peer_name,
    ]  # fmt: skip


def _cache(directory: Path | None) -> list[str]:
    return [] if directory is None else ["--site-cache", str(directory)]
