"""Make a WAN link, find it again, and what can be done with it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from vpnctl.errors import LabError
from vpnctl.lab.wan.devices import LinkEnd
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.netem import NetemLink, kernel_has_netem
from vpnctl.lab.wan.relayed import RelayedLink
from vpnctl.lab.wan.status import Direction, Method, WanStatus

__all__ = [
    "Direction",
    "LinkEnd",
    "Method",
    "WanLink",
    "WanStatus",
    "attach",
    "create",
    "method",
]

#: Octets of a path to a link's directory: what lies in it must fit into a socket's address.
_LONGEST_PATH = 90
_LONGEST_NAME = 15
_FILE = "link.json"


class WanLink(Protocol):
    """A link that runs.  Everything raises `LabError`."""

    @property
    def pid(self) -> int | None:
        """The relay's process id, ``None`` where there is none."""

    def change(self, figures: WanFigures) -> None:
        """From now on; what is under way keeps its time, and a cut stays one."""

    def cut(self) -> None:
        """Let nothing pass until `heal`; what is under way is lost."""

    def heal(self) -> None:
        """Let frames pass again."""

    def status(self) -> WanStatus:
        """Figures and counters of now."""

    def remove(self) -> None:
        """Delete the interfaces and end the relay; to do so twice is fine."""


@functools.cache
def method() -> Method:
    """How this kernel emulates a link, tried once.  Raises `LabError`."""
    return Method.NETEM if kernel_has_netem() else Method.RELAY


_LINKS: dict[Method, Callable[[Path, tuple[LinkEnd, LinkEnd], int], NetemLink | RelayedLink]] = {
    Method.NETEM: NetemLink,
    Method.RELAY: RelayedLink,
}


def create(
    directory: Path,
    ends: tuple[LinkEnd, LinkEnd],
    figures: WanFigures,
    *,
    mtu: int = 1600,
    by: Method | None = None,
) -> WanLink:
    """Make a link and run it; see the package for what is made.

    ``by``: a way other than the one that is best here.  Raises `LabError`, and leaves nothing
    behind then.
    """
    if len(str(directory.absolute())) > _LONGEST_PATH:
        raise LabError(
            f"{directory} is a path of more than {_LONGEST_PATH} octets, too long for a socket",
            hint="set the lab's directory to a shorter one",
        )
    for end in ends:
        if not 0 < len(end.interface.encode()) <= _LONGEST_NAME:
            raise LabError(f"{end.interface!r} is no interface name of 1 to {_LONGEST_NAME} octets")
    chosen = by or method()
    link = _LINKS[chosen](directory, ends, mtu)
    written = {
        "method": chosen.value,
        "ends": [[end.namespace, end.interface] for end in ends],
        "mtu": mtu,
    }
    try:
        (directory / _FILE).write_text(json.dumps(written))
    except OSError as error:
        raise LabError(f"{directory / _FILE} cannot be written: {error.strerror}") from error
    link.start(figures)
    return link


def attach(directory: Path) -> WanLink:
    """A link that `create` made, perhaps in another process.  Raises `LabError`."""
    try:
        written = json.loads((directory / _FILE).read_text())
        (first, second) = (LinkEnd(*end) for end in written["ends"])
        return _LINKS[Method(written["method"])](directory, (first, second), int(written["mtu"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{directory} holds no WAN link: {error}", hint="'vpnctl lab inspect' lists the links"
        ) from error
