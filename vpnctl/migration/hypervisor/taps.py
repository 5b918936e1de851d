"""Tap devices for a machine's nics, each in its bridge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from vpnctl.errors import MigrationError
from vpnctl.migration.definition import Nic


async def make_taps(incarnation: str, nics: Sequence[Nic]) -> list[str]:
    """The interfaces' names; raises `MigrationError` when one cannot be made, and leaves none."""
    made: list[str] = []
    try:
        for index, nic in enumerate(nics):
            name = f"vt{incarnation[:10]}{index}"
            await _ip("tuntap", "add", "dev", name, "mode", "tap")
            made.append(name)
            await _ip("link", "set", "dev", name, "master", nic.bridge, "up")
    except BaseException:
        await remove_taps(made)
        raise
    return made


def tap_names(incarnation: str, nics: Sequence[Nic]) -> list[str]:
    """What `make_taps` calls them."""
    return [f"vt{incarnation[:10]}{index}" for index in range(len(nics))]


async def remove_taps(names: Sequence[str]) -> None:
    """Remove them; those that are gone already are well, too."""
    for name in names:
        with contextlib.suppress(MigrationError):
            await _ip("link", "del", "dev", name)


async def _ip(*words: str) -> None:
    try:
        child = await asyncio.create_subprocess_exec(
            "ip", *words, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        raise MigrationError(
            f"ip cannot be started: {error.strerror}", hint="install iproute2"
        ) from error
    _, said = await child.communicate()
    if child.returncode:
        raise MigrationError(
            f"ip {' '.join(words)}: {said.decode(errors='replace').strip()}",
            hint="the bridge of each nic must be there, and the agent needs CAP_NET_ADMIN",
        )
