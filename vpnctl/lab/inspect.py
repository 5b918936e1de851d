"""A lab as it is now: what runs where, which sessions are up, and what the links carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpnctl.errors import ControllerError, LabError
from vpnctl.lab import kernel, namespaces, processes, sessions, state
from vpnctl.lab.lab import Lab
from vpnctl.lab.topology import Link, Node


@dataclass(frozen=True, slots=True)
class ProgramView:
    """A program that the runner started; ``running`` is false when it ended."""

    name: str
    pid: int
    running: bool


@dataclass(frozen=True, slots=True)
class SessionView:
    """A BGP session of a node with a controller; ``state`` as ``vpnctl show peers`` has it."""

    controller: str
    peer: str
    state: str


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node; ``addresses`` as ``INTERFACE ADDRESS/LENGTH``; ``memory_kib``: of all its processes,
    what several share divided among them.
    """

    name: str
    kind: str
    image: str
    group: str
    namespace: str
    there: bool
    programs: tuple[ProgramView, ...]
    addresses: tuple[str, ...]
    sessions: tuple[SessionView, ...]
    memory_kib: int


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link; what follows ``ends`` is for WAN links, `None` or 0 elsewhere.

    ``rate`` in bit/s; ``delay`` and ``jitter`` in seconds one way; ``loss`` a fraction;
    ``forwarded`` and ``dropped`` count frames of both directions since the link was made.
    """

    ends: tuple[str, str]
    wan: str | None = None
    method: str | None = None
    rate: int | None = None
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    cut: bool = False
    forwarded: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class LabView:
    """A lab; ``controllers``: the socket of each as the host sees it, by node."""

    name: str
    file: str
    complete: bool
    controllers: Mapping[str, str]
    nodes: tuple[NodeView, ...]
    links: tuple[LinkView, ...]
    problems: tuple[str, ...]


def view(lab: Lab) -> LabView:
    """The lab as it is now; what cannot be asked is in ``problems``."""
    problems: list[str] = []
    peers: dict[str, list[Mapping[str, Any]]] = {}
    for name, socket in lab.controller_sockets().items():
        try:
            peers[name] = sessions.peers(socket)
        except ControllerError as error:
            problems.append(f"{name}: {error.message}")
    memory = _memory(lab)
    nodes = tuple(_node(lab, node, peers, memory) for node in lab.topology.nodes.values())
    problems += [f"{node.name}: its namespace is gone" for node in nodes if not node.there]
    problems += [
        f"{node.name}: {program.name} ({program.pid}) ended"
        for node in nodes
        for program in node.programs
        if not program.running
    ]
    links = []
    for link in lab.topology.links:
        try:
            links.append(_link(lab, link))
        except LabError as error:
            links.append(LinkView((str(link.ends[0]), str(link.ends[1]))))
            problems.append(f"{link}: {error.message}")
    return LabView(
        lab.name,
        lab.record.file,
        lab.record.complete,
        {name: str(socket) for name, socket in lab.controller_sockets().items()},
        nodes,
        tuple(links),
        tuple(problems),
    )


def _node(
    lab: Lab,
    node: Node,
    peers: Mapping[str, list[Mapping[str, Any]]],
    memory: Mapping[str, int],
) -> NodeView:
    namespace = lab.layout.namespace(node.name)
    there = kernel.exists(namespace)
    found = kernel.interfaces(namespace) if there else ()
    addresses = [(one.name, address) for one in found for address in one.addresses]
    hosts = {address.partition("/")[0] for _, address in addresses}
    return NodeView(
        name=node.name,
        kind=node.kind,
        image=node.image,
        group=node.group,
        namespace=namespace,
        there=there,
        programs=tuple(
            ProgramView(each.program, each.process.pid, _runs(each.process))
            for each in state.started(lab.layout)
            if each.node == node.name
        ),
        addresses=tuple(f"{interface} {address}" for interface, address in addresses),
        sessions=tuple(
            SessionView(controller, peer["name"], peer["state"])
            for controller, its_peers in peers.items()
            for peer in its_peers
            if peer["address"] in hosts
        ),
        memory_kib=memory.get(node.name, 0),
    )


def _runs(known: processes.Process) -> bool:
    return processes.process(known.pid) == known


def _memory(lab: Lab) -> Mapping[str, int]:
    """KiB by node."""
    nodes = {
        inode: node
        for node in lab.topology.nodes
        if (inode := namespaces.identity(lab.layout.namespace(node))) is not None
    }
    used: dict[str, int] = {}
    for inode, each in processes.within(nodes):
        try:
            rollup = Path(f"/proc/{each.pid}/smaps_rollup").read_text()
        except OSError:
            continue
        size = next((line for line in rollup.splitlines() if line.startswith("Pss:")), "Pss: 0 kB")
        used[nodes[inode]] = used.get(nodes[inode], 0) + int(size.split()[1])
    return used


def _link(lab: Lab, link: Link) -> LinkView:
    ends = (str(link.ends[0]), str(link.ends[1]))
    if link.wan is None:
        return LinkView(ends)
    found = lab.wan(link.wan.name).status()
    return LinkView(
        ends,
        wan=link.wan.name,
        method=found.method.value,
        rate=found.figures.rate,
        delay=found.figures.delay,
        jitter=found.figures.jitter,
        loss=found.figures.loss,
        cut=found.is_cut,
        forwarded=sum(direction.forwarded for direction in found.directions),
        dropped=sum(sum(direction.dropped.values()) for direction in found.directions),
    )
