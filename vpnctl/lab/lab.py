"""A lab that was built, or is being: its nodes, WAN links and controllers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vpnctl.errors import LabError, NotFoundError
from vpnctl.lab import state
from vpnctl.lab.enter import Shell
from vpnctl.lab.layout import CONTROLLER_SOCKET, Layout, controllers
from vpnctl.lab.reading import read_topology
from vpnctl.lab.state import LabRecord
from vpnctl.lab.topology import Node, Topology
from vpnctl.lab.wan.link import WanLink, attach


@dataclass(frozen=True, slots=True)
class Lab:
    """A recorded lab; ``topology`` is the file's as it was when the lab was built."""

    record: LabRecord
    topology: Topology
    layout: Layout

    @property
    def name(self) -> str:
        return self.record.name

    def node(self, name: str) -> Node:
        """The node of this name; raises `NotFoundError`."""
        try:
            return self.topology.nodes[name]
        except KeyError:
            raise NotFoundError(
                f"the lab {self.name!r} has no node {name!r}",
                hint=f"its nodes: {', '.join(self.topology.nodes)}",
            ) from None

    def shell(self, name: str) -> Shell:
        """How to run a program at a node; raises `NotFoundError`."""
        return shell_at(self.node(name), self.layout, self.record.directory)

    def controller_sockets(self) -> Mapping[str, Path]:
        """The nodes that run ``vpnctl serve``, each with its socket on the host."""
        found = controllers(self.topology, self.layout)
        return {name: Path(socket) for name, socket in found.items()}

    def wan(self, name: str) -> WanLink:
        """The running WAN link of this name, or the only one of a node, interface or group.

        Raises `NotFoundError`.
        """
        numbers = {wan: number for number, wan in enumerate(self.topology.wans, 1)}
        number = numbers.get(name)
        if number is None:
            ends = {
                wan
                for wan, link in self.topology.wans.items()
                for end in link.ends
                if name in (end.node, str(end), self.topology.nodes[end.node].group)
            }
            if len(ends) != 1:
                known = ", ".join(numbers) or "none"
                several = f"{name!r} has several WAN links" if ends else f"no WAN link {name!r}"
                raise NotFoundError(
                    f"{several} in the lab {self.name!r}", hint=f"its WAN links: {known}"
                )
            number = numbers[ends.pop()]
        return attach(Path(self.layout.wan(number)))


def shell_at(node: Node, layout: Layout, directory: str) -> Shell:
    """How to run a program at a node of a topology that lies in ``directory``."""
    return Shell(
        node.name,
        layout.namespace(node.name),
        layout.mounts(node, PurePosixPath(directory)),
        Path(layout.node(node.name)) / "root",
        {"VPNCTL_SOCKET": CONTROLLER_SOCKET, **node.environment},
    )


def find(name: str = "") -> Lab:
    """The lab of this name, or the only one; raises `NotFoundError`, `LabError`."""
    known = state.names()
    if not name:
        if len(known) != 1:
            raise NotFoundError(
                "no lab is there" if not known else f"there are {len(known)} labs",
                hint="'vpnctl lab up FILE' builds one"
                if not known
                else f"say which: {', '.join(known)}",
            )
        name = known[0]
    layout = state.layout_of(name)
    record = state.read(layout) if name in known else None
    if record is None:
        raise NotFoundError(
            f"no lab {name!r} is there",
            hint=f"there are: {', '.join(known)}" if known else "'vpnctl lab up FILE' builds one",
        )
    return Lab(record, read_topology(record.file, record.topology.encode()), layout)


def find_complete(name: str = "") -> Lab:
    """Like `find`, and built to the end."""
    found = find(name)
    if not found.record.complete:
        raise LabError(
            f"the lab {found.name!r} is being built, or was not built to the end",
            hint=f"if nobody builds it now: vpnctl lab down {found.name}",
        )
    return found
