"""A containerlab topology file to a `Topology`: bytes in, values out, every mistake at once.

What containerlab's schema allows and the namespace runner does not support is refused by its
name, except on nodes of `Role.FOREIGN`, which containerlab alone can run.
"""

from __future__ import annotations

from collections.abc import Iterable

from vpnctl.errors import TopologyError
from vpnctl.lab.reading.fields import SUBSET, Fields
from vpnctl.lab.reading.links import LinkReader
from vpnctl.lab.reading.nodes import NAME, NodeReader
from vpnctl.lab.topology import Topology
from vpnctl.yamltree import tree as yaml
from vpnctl.yamltree.mistake import Mistake, quote

#: Longest name of a lab: it is part of the names of namespaces and sockets.
LONGEST_LAB = 20

_LAB = yaml.Genre(
    "name: my-lab",
    "a topology: `name:` and `topology: {nodes: ..., links: ...}`",
    "lab/README.md",
)
_TOP = ("name", "prefix", "mgmt", "topology")
_SECTIONS = ("defaults", "kinds", "groups", "nodes", "links")


def read_topology(file: str, content: bytes) -> Topology:
    """The topology in ``content``; ``file`` is how mistakes call it.

    Raises `TopologyError` with every mistake.
    """
    fields = Fields()
    try:
        topology = _read(file, yaml.parse(file, content, _LAB), fields)
    except yaml.DocumentError as error:
        raise topology_error(error.mistakes) from None
    if fields.mistakes:
        raise topology_error(fields.mistakes)
    return topology


def topology_error(mistakes: Iterable[Mistake]) -> TopologyError:
    """The error that reports these mistakes, sorted by place."""
    found = tuple(sorted(set(mistakes)))
    count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    return TopologyError(
        f"{count} in the topology", hint="correct them and try again", mistakes=found
    )


def _read(file: str, root: yaml.Mapping, fields: Fields) -> Topology:
    """The topology; of no use when there are mistakes."""
    fields.only(root, _TOP, SUBSET)
    name = _name(root, fields)
    if "mgmt" in root.entries:
        fields.ignored["mgmt: namespaces have no management network"] = None
    sections = fields.mapping(root, "topology", required=True)
    if sections is None:
        return Topology(name, file, {}, ())
    fields.only(sections, _SECTIONS, SUBSET)
    nodes = NodeReader(fields).nodes(sections)
    links = LinkReader(fields).links(sections, nodes)
    return Topology(name, file, nodes, links, tuple(fields.ignored))


def _name(root: yaml.Mapping, fields: Fields) -> str:
    found = root.entries.get("name")
    if found is None:
        fields.wrong(root, "the lab has no name", "write `name: my-lab`")
        return ""
    name = fields.text(found[1], "a name")
    if name and (not NAME.match(name) or len(name) > LONGEST_LAB):
        fields.wrong(
            found[1],
            f"{quote(name)} cannot be a lab's name",
            f"at most {LONGEST_LAB} letters, digits, '-', '_' and '.', the first a letter or digit",
        )
    return name
