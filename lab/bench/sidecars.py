"""``vpnctl sidecar`` as programs over TLS, for benchmarks."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from vpnctl.pki import store
from vpnctl.pki.authority import issue, new_authority

_NAMES = ("cloud1.test", "cloud2.test")


def make_certificates(directory: Path, *more: str) -> None:
    """For both sites and whoever else is named, as ``vpnctl pki`` does."""
    now, day = datetime.now(UTC), timedelta(days=1)
    authority = new_authority("bench", now, day)
    store.save(directory, store.AUTHORITY, authority)
    for name in (*_NAMES, *more):
        store.save(directory, name, issue(authority, [name], now, day))


async def sidecar(
    held: AsyncExitStack, directory: Path, role: str, *words: str, within: Sequence[str] = ()
) -> asyncio.subprocess.Process:
    """``vpnctl sidecar ROLE`` with its certificates; killed with ``held``, if it has not ended.

    ``within``: a command that runs the one behind it elsewhere.
    """
    ours, theirs = _NAMES if role == "source" else reversed(_NAMES)
    return await program(
        held,
        *(*within, sys.executable, "-m", "vpnctl", "sidecar", role),
        *("--peer-name", theirs, "-o", "json", *words),
        VPNCTL_CERT=f"{directory}/{ours}.pem",
        VPNCTL_KEY=f"{directory}/{ours}.key",
        VPNCTL_CA=f"{directory}/ca.pem",
    )


async def program(
    held: AsyncExitStack, *words: str, **environment: str
) -> asyncio.subprocess.Process:
    """A program whose words are heard; killed with ``held``, if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        *words,
        env=os.environ | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    async def end() -> None:
        if process.returncode is None:
            process.kill()
            await process.wait()

    held.push_async_callback(end)
    return process


async def ready(process: asyncio.subprocess.Process) -> str:
    """The last word of the line that says so."""
    assert process.stderr is not None
    said = []
    while line := (await process.stderr.readline()).decode():
        if line.startswith("ready: "):
            return line.split()[-1]
        said.append(line)
    raise RuntimeError(f"a sidecar did not start: {''.join(said)}")


async def last_progress(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """What it said last on standard output, once it has ended well."""
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"a sidecar failed: {err.decode()}")
    return dict(json.loads(out.splitlines()[-1]))
