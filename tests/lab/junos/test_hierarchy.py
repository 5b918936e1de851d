"""What the router calls its statements is what Juniper calls them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provisioning.rendering.junos_yang import complaints_about
from vpnctl.lab.junos.hierarchy import CONFIGURATION
from vpnctl.lab.junos.notation_xml import configuration
from vpnctl.lab.junos.schema import Container, Empty, Kind, Leaf, LeafList, ListOf, Tree

#: Some value of each kind.
VALUES = (
    "bgp", "1", "600", "2", "ge-0/0/1", "ge-0/0/1.100", "10.0.0.1", "10.0.0.0/24", "9000", "vpls",
    "vlan-vpls", "flexible-ethernet-services", "internal", "access", "inet", "term", "vxlan",
    "vlan-based", "bridge", "ethernet", "advertise", "ingress-replication",
)  # fmt: skip


def value(kind: Leaf | LeafList | ListOf) -> str:
    return next(one for one in VALUES if not kind.wrong(one))


def statements(kind: Kind) -> Iterator[object]:
    """Trees with one statement each: some cannot be together."""
    match kind:
        case Leaf():
            yield value(kind)
        case LeafList():
            yield [value(kind)]
        case Empty():
            yield True
        case ListOf():
            for child in children(kind):
                # Add, set and delete are no statements in the schema, but values of one.
                if not kind.verb_first or "add" in child:
                    yield {value(kind): child}
        case Container():
            yield from children(kind)


def children(kind: Container | ListOf) -> Iterator[Tree]:
    if not kind.children:
        yield {}
    for name, child in kind.children.items():
        for tree in statements(child):
            yield {name: tree}


@pytest.mark.parametrize(
    "part",
    ["interfaces", "logical-systems", "policy-options", "protocols", "routing-instances",
     "routing-options"],
)  # fmt: skip
def test_every_statement_is_in_junipers_schema(part: str, tmp_path: Path) -> None:
    found = [
        configuration({part: tree}, CONFIGURATION)
        for tree in statements(CONFIGURATION.children[part])
    ]
    assert complaints_about(found, tmp_path) == ""
