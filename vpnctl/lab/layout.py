"""Where a lab keeps what: names of namespaces, files on the host, and what its nodes see of them.

::

    BASE/NAME/lab.json        what was or will be made, written before it is
    BASE/NAME/processes       one line of JSON for each process, as it starts
    BASE/NAME/wan/3/          of the third WAN link
    BASE/NAME/nodes/pe1/      a node's own directories, seen inside as /run/frr and so on
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import PurePosixPath

from vpnctl.lab.topology import Node, Role, Topology

#: Begins the name of every namespace of a lab.
PREFIX = "vl-"
#: Where the controller's socket is, inside its node, unless VPNCTL_SOCKET says otherwise.
CONTROLLER_SOCKET = "/run/vpnctl/controller.sock"

#: What a node has for itself: a name within its directory, and where the node sees it.
_OWN = {"vpnctl": "/run/vpnctl"}
_OWN_OF_FRR = {
    "frr-etc": "/etc/frr",
    "frr-run": "/run/frr",
    "frr-log": "/var/log/frr",
    "frr-tmp": "/var/tmp/frr",
}


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory of the host (``source``, absolute) as a node sees it (``target``)."""

    source: PurePosixPath
    target: PurePosixPath
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one lab; ``base`` is shared by all labs of this machine."""

    base: PurePosixPath
    name: str

    @property
    def home(self) -> PurePosixPath:
        return self.base / self.name

    @property
    def state(self) -> PurePosixPath:
        return self.home / "lab.json"

    @property
    def processes(self) -> PurePosixPath:
        return self.home / "processes"

    def namespace(self, node: str) -> str:
        """The name of a node's namespace, as in ``/run/netns``."""
        return f"{PREFIX}{self.name}-{node}"

    def node(self, node: str) -> PurePosixPath:
        """A node's directory."""
        return self.home / "nodes" / node

    def log(self, node: str, program: str) -> PurePosixPath:
        """What a program of a node prints."""
        return self.node(node) / f"{program}.log"

    def wan(self, number: int) -> PurePosixPath:
        """A WAN link's directory; its name is short because a socket lies there."""
        return self.home / "wan" / str(number)

    def own(self, node: Node) -> dict[str, PurePosixPath]:
        """A node's own directories: where the node sees each, and its place on the host."""
        names = _OWN | (_OWN_OF_FRR if node.role is Role.FRR else {})
        return {seen: self.node(node.name) / name for name, seen in names.items()}

    def mounts(self, node: Node, topology_directory: PurePosixPath) -> tuple[Mount, ...]:
        """Everything a node sees in another place, its own directories first."""
        own = (Mount(place, PurePosixPath(seen)) for seen, place in sorted(self.own(node).items()))
        binds = (
            Mount(
                PurePosixPath(posixpath.normpath(topology_directory / bind.source)),
                PurePosixPath(bind.target),
                bind.read_only,
            )
            for bind in node.binds
        )
        return (*own, *binds)

    def outside(self, node: Node, path: str) -> PurePosixPath | None:
        """Where a file in one of a node's own directories is on the host; `None`: elsewhere."""
        for seen, place in self.own(node).items():
            if PurePosixPath(path).is_relative_to(seen):
                return place / PurePosixPath(path).relative_to(seen)
        return None


def controllers(topology: Topology, layout: Layout) -> dict[str, PurePosixPath]:
    """The nodes that run ``vpnctl serve``, each with its socket as the host sees it."""
    found = {}
    for node in topology.of_role(Role.PROGRAM):
        words = node.command
        if words[:1] == ("vpnctl",) and "serve" in words and "agent" not in words:
            inside = node.environment.get("VPNCTL_SOCKET", CONTROLLER_SOCKET)
            outside = layout.outside(node, inside)
            if outside is not None:
                found[node.name] = outside
    return found
