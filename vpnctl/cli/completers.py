"""Names for the shell's completion, asked of the controller; none when it does not answer."""

from __future__ import annotations

import os
from pathlib import Path

from vpnctl.cli.client import Client
from vpnctl.cli.settings import Settings
from vpnctl.errors import VpnctlError


def _names(noun: str, incomplete: str) -> list[str]:
    """Completion sees the environment only, not the options before the word."""
    socket = os.environ.get("VPNCTL_SOCKET")
    try:
        answer = Client(Settings(Path(socket) if socket else None)).get(noun)
    except VpnctlError:
        return []
    return [one["name"] for one in answer[noun] if one["name"].startswith(incomplete)]


def complete_vpn(incomplete: str) -> list[str]:
    """VPNs whose name begins so."""
    return _names("vpns", incomplete)


def complete_site(incomplete: str) -> list[str]:
    """Sites whose name begins so."""
    return _names("sites", incomplete)


def complete_peer(incomplete: str) -> list[str]:
    """Peers whose name begins so."""
    return _names("peers", incomplete)
