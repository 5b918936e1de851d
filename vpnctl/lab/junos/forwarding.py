"""A VPLS PE that does what is committed on the router in front of it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from vpnctl.errors import PolicyError
from vpnctl.lab.junos.router import RouterError
from vpnctl.lab.junos.schema import Tree
from vpnctl.lab.junos.vpls import Labels, UnfitError, pe_file
from vpnctl.lab.vplspe.config import read_config

#: Seconds that a PE has to end its sessions and remove its devices.
_FAREWELL = 15.0


class VplsPe:
    """The process `vpnctl.lab.vplspe` in this network namespace, with its files in ``directory``.

    It reads its file when it starts: a commit that changes something starts it once more, and the
    sessions of its other VPNs begin anew.
    """

    def __init__(self, directory: Path, *, tagged: bool) -> None:
        self._directory = directory
        self._tagged = tagged
        self._labels = Labels()
        self._file = directory / "pe.yaml"
        self._content: str | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def activate(self, tree: Tree) -> None:
        """Do what a committed configuration says.  Raises `RouterError`, nothing changed then."""
        try:
            content = pe_file(tree, self._labels, tagged=self._tagged)
            if content is not None:
                read_config(str(self._file), content.encode())
        except UnfitError as error:
            raise RouterError(str(error)) from error
        except PolicyError as error:
            raise RouterError("; ".join(map(str, error.mistakes))) from error
        if content == self._content:
            return
        await self.stop()
        self._content = content
        if content is not None:
            self._file.write_text(content)
            await self._start()

    async def _start(self) -> None:
        with (self._directory / "pe.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "vpnctl.lab.vplspe", str(self._file),
                "--directory", str(self._directory),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    async def stop(self) -> None:
        """End it, with its sessions and devices."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _FAREWELL)
        except TimeoutError:
            process.kill()
            await process.wait()
