"""``vpnctl sidecar`` as programs of their own."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Program:
    """A running ``vpnctl sidecar``; ``said``: its standard error so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    async def line(self, pattern: str) -> re.Match[str]:
        """The next line on standard error that matches."""
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.said += line
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"it never said {pattern!r}: {self.said}")

    async def ended(self) -> tuple[int, str]:
        """Its exit code and standard output."""
        out, err = await self.process.communicate()
        self.said += err.decode()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode()


@asynccontextmanager
async def program(*words: object, env: dict[str, str] | None = None) -> AsyncIterator[Program]:
    """``vpnctl sidecar`` with ``words``; killed in the end if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "vpnctl", "sidecar", *map(str, words)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1", **(env or {})},
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
