"""Tap devices for a machine's nics, each in its bridge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from vpnctl.errors import MigrationError
from vpnctl.migration.definition import Nic


def bridges_of(nics: Sequence[Nic], known: Mapping[str, str]) -> list[str]:
    """The bridge of each nic; ``known``: the site's, by VPN.  Raises `MigrationError`."""
    found = []
    for nic in nics:
        bridge = nic.bridge or known.get(nic.vpn or "")
        if bridge is None:
            raise MigrationError(
                f"no bridge is known for the VPN {nic.vpn} of the nic {nic.mac}",
                hint=no_bridge_remedy(nic.vpn or ""),
            )
        found.append(bridge)
    return found


def no_bridge_remedy(vpn: str) -> str:
    """What to do where a site has no bridge for a VPN."""
    return f"start its agent with --bridge {vpn}=NAME, of the bridge that the VPN's VLAN is in"


async def make_taps(incarnation: str, bridges: Sequence[str]) -> list[str]:
    """One in each bridge; raises `MigrationError` when one cannot be made, and leaves none."""
    made: list[str] = []
    try:
        for name, bridge in zip(tap_names(incarnation, len(bridges)), bridges, strict=True):
            await _ip("tuntap", "add", "dev", name, "mode", "tap")
            made.append(name)
            await _ip("link", "set", "dev", name, "master", bridge, "up")
    except BaseException:
        await remove_taps(made)
        raise
    return made


def tap_names(incarnation: str, count: int) -> list[str]:
    """What `make_taps` calls them."""
    return [f"vt{incarnation[:10]}{index}" for index in range(count)]


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
