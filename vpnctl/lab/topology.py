"""A lab as values: the part of a containerlab topology that the namespace runner understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from vpnctl.lab.wan.figures import WanFigures
from vpnctl.model import Place

#: Longest name of an interface, in octets (IFNAMSIZ without its NUL).
LONGEST_INTERFACE = 15


class Role(Enum):
    """What the runner makes of a node."""

    FRR = "frr"
    """FRR's daemons, as in its container image."""
    PROGRAM = "program"
    """``cmd``, started when every address is there; without one, a plain host."""
    BRIDGE = "bridge"
    """A Linux bridge whose ports are the node's links."""
    FOREIGN = "foreign"
    """Checked, drawn, and left to containerlab: a virtual machine or an image of somebody else."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory seen inside the node; ``source`` is relative to the topology file."""

    source: str
    target: str
    read_only: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Node:
    """A node with everything that ``defaults``, ``kinds`` and ``groups`` say about it.

    ``execs``: commands run in order when the node is linked; ``command``: what it runs, empty for
    nothing; ``sysctls``: keyed as ``net.ipv4.ip_forward``.
    """

    name: str
    kind: str
    image: str
    role: Role
    place: Place
    group: str = ""
    binds: tuple[Bind, ...] = ()
    execs: tuple[tuple[str, ...], ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An interface of a node."""

    node: str
    interface: str

    def __str__(self) -> str:
        return f"{self.node}:{self.interface}"


@dataclass(frozen=True, slots=True)
class Wan:
    """What makes a link a WAN link: a name to call it by, and its figures."""

    name: str
    figures: WanFigures


@dataclass(frozen=True, slots=True)
class Link:
    """Two interfaces joined; ``mtu`` in octets, if given; ``wan``: it is long and narrow."""

    ends: tuple[Endpoint, Endpoint]
    mtu: int | None
    wan: Wan | None
    place: Place

    def __str__(self) -> str:
        return f"{self.ends[0]} -- {self.ends[1]}"


@dataclass(frozen=True, slots=True)
class Topology:
    """A checked topology; ``ignored`` names what it says and the namespace runner does not heed."""

    name: str
    file: str
    nodes: Mapping[str, Node]
    links: tuple[Link, ...]
    ignored: tuple[str, ...] = ()

    @property
    def wans(self) -> Mapping[str, Link]:
        """The WAN links by name."""
        return {link.wan.name: link for link in self.links if link.wan is not None}

    def of_role(self, role: Role) -> tuple[Node, ...]:
        """The nodes of a role, in the file's order."""
        return tuple(node for node in self.nodes.values() if node.role is role)
