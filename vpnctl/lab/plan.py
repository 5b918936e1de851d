"""A topology to the steps that build it, in order.  Pure: the same topology, the same steps.

::

    namespaces, bridges -> links -> FRR -> exec -> programs -> sessions

FRR runs before ``exec`` as it does in a container; a program runs after, when its node has its
addresses, which our container image awaits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vpnctl.lab.images import KNOWN_IMAGES
from vpnctl.lab.layout import Layout, controllers
from vpnctl.lab.reading import topology_error
from vpnctl.lab.topology import Link, Node, Role, Topology
from vpnctl.yamltree.mistake import Mistake


@dataclass(frozen=True, slots=True)
class MakeNamespace:
    """A node's namespace with ``lo`` up, its directories, sysctls, and, if it is one, bridge."""

    node: Node

    def __str__(self) -> str:
        return f"namespace of {self.node.name}"


@dataclass(frozen=True, slots=True)
class MakeLink:
    """Two interfaces joined, both up; ``number`` counts the WAN links from 1, 0 for no WAN link."""

    link: Link
    number: int = 0

    def __str__(self) -> str:
        return f"link {self.link}"


@dataclass(frozen=True, slots=True)
class StartFrr:
    """FRR's daemons at all of these nodes, side by side."""

    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return f"FRR at {', '.join(node.name for node in self.nodes)}"


@dataclass(frozen=True, slots=True)
class Execute:
    """A node's ``exec``, one command after the other."""

    node: Node

    def __str__(self) -> str:
        return f"exec at {self.node.name}"


@dataclass(frozen=True, slots=True)
class StartProgram:
    """A node's ``cmd``."""

    node: Node

    def __str__(self) -> str:
        return f"{self.node.command[0]} at {self.node.name}"


@dataclass(frozen=True, slots=True)
class AwaitSessions:
    """Until the controllers at these nodes have every session of their policy."""

    nodes: tuple[str, ...]

    def __str__(self) -> str:
        return f"sessions of {', '.join(self.nodes)}"


Step = MakeNamespace | MakeLink | StartFrr | Execute | StartProgram | AwaitSessions


def plan(topology: Topology, layout: Layout) -> tuple[Step, ...]:
    """The steps in order.

    Raises `TopologyError` where nodes need containerlab, with every one of them.
    """
    foreign = tuple(_foreign(topology))
    if foreign:
        raise topology_error(foreign)
    return tuple(_steps(topology, layout))


def _steps(topology: Topology, layout: Layout) -> Iterator[Step]:
    yield from (MakeNamespace(node) for node in topology.nodes.values())
    number = 0
    for link in topology.links:
        number += link.wan is not None
        yield MakeLink(link, number if link.wan is not None else 0)
    routers = topology.of_role(Role.FRR)
    if routers:
        yield StartFrr(routers)
    yield from (Execute(node) for node in topology.nodes.values() if node.execs)
    # Controllers first: the others' sessions come up at their first attempt.
    listening = controllers(topology, layout)
    programs = [node for node in topology.of_role(Role.PROGRAM) if node.command]
    yield from map(StartProgram, sorted(programs, key=lambda node: node.name not in listening))
    if listening:
        yield AwaitSessions(tuple(listening))


def _foreign(topology: Topology) -> Iterable[Mistake]:
    for node in topology.of_role(Role.FOREIGN):
        if node.kind == "linux":
            what = f"no program is known for the image {node.image!r}"
            hint = (
                f"use one of {', '.join(KNOWN_IMAGES)}, or say with the label"
                " `vpnctl.role: program` that its `cmd` is on this machine"
            )
        else:
            what = f"a node of kind {node.kind} needs a virtual machine or container"
            hint = f"run the topology with containerlab: containerlab deploy -t {topology.file}"
        yield Mistake(node.place, f"topology.nodes.{node.name}", what, hint)
