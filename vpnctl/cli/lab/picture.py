"""A topology as a picture: bands of sites for SVG, a tree of links for the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import networkx as nx
from rich.console import Console
from rich.tree import Tree

from vpnctl.cli.graphs.drawing import Arrow, Box, Drawing, Group, Layout
from vpnctl.cli.graphs.svg import render
from vpnctl.lab.topology import Link, Node, Topology

_WIDTH = 120


@dataclass(frozen=True, slots=True)
class _Walk:
    """From the best linked node of each part outwards.

    ``depths``: links between a node and its part's middle; ``along``: the link by which each node
    was reached, and from where; ``others``: the links that were not needed.
    """

    middles: tuple[str, ...]
    depths: dict[str, int]
    along: dict[str, tuple[str, Link]]
    others: tuple[Link, ...]


def _walk(topology: Topology) -> _Walk:
    graph: nx.MultiGraph[str] = nx.MultiGraph()
    graph.add_nodes_from(topology.nodes)
    for link in topology.links:
        graph.add_edge(link.ends[0].node, link.ends[1].node)
    links: dict[str, list[tuple[str, Link]]] = {name: [] for name in topology.nodes}
    for link in topology.links:
        one, other = (end.node for end in link.ends)
        links[one].append((other, link))
        links[other].append((one, link))
    middles = []
    depths: dict[str, int] = {}
    along: dict[str, tuple[str, Link]] = {}
    for part in nx.connected_components(graph):
        middle = max((name for name in topology.nodes if name in part), key=graph.degree)
        middles.append(middle)
        depths[middle] = 0
        waiting = [middle]
        for name in waiting:
            for other, link in links[name]:
                if other not in depths:
                    depths[other] = depths[name] + 1
                    along[other] = (name, link)
                    waiting.append(other)
    used = {id(link) for _, link in along.values()}
    others = tuple(link for link in topology.links if id(link) not in used)
    return _Walk(tuple(middles), depths, along, others)


def svg(topology: Topology) -> str:
    """An SVG document: one band for each group, hosts at the left, the middle at the right."""
    walk = _walk(topology)
    deepest = max(walk.depths.values(), default=0)
    groups: dict[str, list[Box]] = {}
    for node in topology.nodes.values():
        box = Box(
            node.name, node.name, tuple(_lines(node, topology)), deepest - walk.depths[node.name]
        )
        groups.setdefault(node.group or "no group", []).append(box)
    arrows = []
    for link in topology.links:
        near, far = sorted((end.node for end in link.ends), key=lambda name: walk.depths[name])
        arrows.append(Arrow(far, near, both=True, dashed=link.wan is not None))
    return render(
        Drawing(
            f"{topology.name}{' (dashed: WAN)' if topology.wans else ''}",
            Layout.COLUMNS,
            tuple(Group(name, _caption(boxes), tuple(boxes)) for name, boxes in groups.items()),
            tuple(arrows),
            ("",) * (deepest + 1),
        )
    )


def _caption(boxes: Sequence[Box]) -> str:
    return "1 node" if len(boxes) == 1 else f"{len(boxes)} nodes"


def _lines(node: Node, topology: Topology) -> Iterator[str]:
    yield node.image.rpartition("/")[2] or node.kind
    for link in topology.links:
        if link.wan is not None and node.name == link.ends[0].node:
            yield f"{link.wan.name}: {link.wan.figures}"


def text(topology: Topology) -> str:
    """Trees of nodes, each with the link by which it is reached."""
    walk = _walk(topology)
    console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, highlight=False)
    branches: dict[str, Tree] = {}
    for name in walk.middles:
        branches[name] = Tree(_title(topology.nodes[name]))
    for name, (nearer, link) in walk.along.items():
        wan = f"  ~ {link.wan.name}: {link.wan.figures}" if link.wan is not None else ""
        branches[name] = branches[nearer].add(_title(topology.nodes[name]) + wan)
    for name in walk.middles:
        console.print(branches[name], markup=False)
    for link in walk.others:
        console.print(f"also linked: {link}", markup=False)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def _title(node: Node) -> str:
    image = node.image.rpartition("/")[2] or node.kind
    return f"{node.name}  ({', '.join(filter(None, (node.group, image)))})"
