"""Waits until a lab's controllers have every session of their policy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpnctl.cli.client import Client
from vpnctl.cli.settings import Settings
from vpnctl.errors import ControllerError, LabError
from vpnctl.lab import state
from vpnctl.lab.lab import Lab
from vpnctl.lab.processes import process

#: Seconds until waiting is given up.
PATIENCE_S = 60.0
_POLL_S = 0.05


class NotEstablishedError(LabError):
    """Sessions did not come up."""


def wait(lab: Lab) -> None:
    """Until every session is established.

    Raises `NotEstablishedError` with those that are not, or with what an ended program said.
    """
    deadline = time.monotonic() + PATIENCE_S
    for name, socket in lab.controller_sockets().items():
        while waiting := _waiting(socket):
            _check_programs(lab)
            if time.monotonic() > deadline:
                raise NotEstablishedError(
                    f"after {PATIENCE_S:.0f} s {name} still waits for: {', '.join(waiting)}"
                )
            time.sleep(_POLL_S)


def wait_routes(lab: Lab) -> None:
    """Until every PE has announced something, for labs in which every PE has something to say.

    Raises `NotEstablishedError` with those that have not.
    """
    deadline = time.monotonic() + PATIENCE_S
    for name, socket in lab.controller_sockets().items():
        while silent := [peer["name"] for peer in peers(socket) if not _heard(peer)]:
            if time.monotonic() > deadline:
                raise NotEstablishedError(
                    f"after {PATIENCE_S:.0f} s {name} has heard no route of {', '.join(silent)}"
                )
            time.sleep(_POLL_S)


def _heard(peer: Mapping[str, Any]) -> int:
    return sum(int(family["heard"]) for family in peer["families"])


def peers(socket: Path) -> list[Mapping[str, Any]]:
    """A controller's peers as ``vpnctl show peers -o json`` lists them; `ControllerError`."""
    found: list[Mapping[str, Any]] = Client(Settings(socket)).get("peers")["peers"]
    return found


def _waiting(socket: Path) -> list[str]:
    try:
        found = peers(socket)
    except ControllerError:
        return ["the controller itself"]
    return [
        f"{peer['name']} ({peer['address']}, {peer['state']})"
        for peer in found
        if peer["state"] != "established"
    ]


def _check_programs(lab: Lab) -> None:
    for each in state.started(lab.layout):
        if process(each.process.pid) == each.process:
            continue
        log = Path(lab.layout.log(each.node, each.program))
        said = log.read_text(errors="replace").strip()[-800:] if log.exists() else ""
        raise NotEstablishedError(
            f"{each.program} at {each.node} ended: {said or 'it said nothing'}"
        )
