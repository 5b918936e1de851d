"""Disks that no machine has open, exported by QEMU's storage daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

from vpnctl.errors import MigrationError
from vpnctl.migration.definition import Disk
from vpnctl.migration.hypervisor.command_line import disk_node
from vpnctl.migration.hypervisor.tied import tied

_BINARY = "qemu-storage-daemon"
#: Seconds that it has to open its socket, and to end.
_PATIENCE_S = 30.0
_LOOK_S = 0.02


class StorageDaemon:
    """A running one; it ends with the agent."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, disks: Mapping[int, tuple[Disk, Path]], exports: Path) -> StorageDaemon:
        """Export ``disks``, by their numbers, over NBD at the unix socket ``exports``.

        Raises `MigrationError`, with its last words, when it ends at once.
        """
        words = ["--nbd-server", f"addr.type=unix,addr.path={str(exports).replace(',', ',,')}"]
        for index, (disk, path) in disks.items():
            node = {
                "driver": disk.format,
                "node-name": disk_node(index),
                "file": {"driver": "file", "filename": str(path)},
            }
            name = disk_node(index)
            words += ["--blockdev", json.dumps(node)]
            words += ["--export", f"type=nbd,id=e{index},node-name={name},name={name},writable=on"]
        try:
            process = await asyncio.create_subprocess_exec(
                *tied(_BINARY, *words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise MigrationError(
                f"{_BINARY} cannot be started: {error.strerror}", hint="install qemu-system-common"
            ) from error
        daemon = cls(process)
        await daemon._until_open(exports)
        return daemon

    async def ended(self) -> None:
        """Return when it has ended."""
        await self._process.wait()

    async def stop(self) -> None:
        """End it, what was written safely on its disks."""
        if self._process.returncode is None:
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _PATIENCE_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _until_open(self, exports: Path) -> None:
        ended = asyncio.create_task(self._process.wait())
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not exports.exists() and not ended.done():  # noqa: ASYNC240 - one call, at once
                    await asyncio.wait((ended,), timeout=_LOOK_S)
        except TimeoutError:
            await self.stop()
        finally:
            ended.cancel()
        if self._process.returncode is not None:
            assert self._process.stderr is not None
            said = (await self._process.stderr.read()).decode(errors="replace").strip()
            raise MigrationError(
                f"{_BINARY} did not start: {said or 'it said nothing'}",
                hint="is another program using the disks?",
            )
