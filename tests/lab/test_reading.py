"""A topology file is read to the end, and every mistake in it is named with its place."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.small import small
from tests.support.lab import ROOT
from vpnctl.errors import TopologyError
from vpnctl.lab.reading import read_topology
from vpnctl.lab.topology import Endpoint, Role, Topology
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.yamltree.mistake import Mistake

SHIPPED = sorted((ROOT / "lab").glob("*.clab.yml"))


def read(text: str) -> Topology:
    return read_topology("net.clab.yml", text.encode())


def mistakes(text: str) -> list[Mistake]:
    with pytest.raises(TopologyError) as caught:
        read(text)
    return [mistake for mistake in caught.value.mistakes if isinstance(mistake, Mistake)]


def said(found: Iterable[Mistake]) -> list[tuple[int, str, str]]:
    return [(mistake.place.line, mistake.path, mistake.message) for mistake in found]


def topology(nodes: str, links: str = "") -> str:
    return f"name: net\ntopology:\n  nodes:\n{nodes}" + (f"  links:\n{links}" if links else "")


TWO = "    a: {kind: linux, image: alpine}\n    b: {kind: linux, image: alpine}\n"


def test_defaults_kinds_groups_and_nodes_add_up() -> None:
    found = read("""\
name: net
topology:
  defaults:
    kind: linux
    env: {A: default, B: default}
    binds: ["all:/all"]
  kinds:
    linux: {image: alpine, env: {B: kind}, exec: [echo kind]}
  groups:
    site: {labels: {where: there}, exec: [echo group]}
  nodes:
    one:
    two: {group: site, image: "quay.io/frrouting/frr:8", env: {A: node}, exec: ["echo 'a node'"]}
""")
    one, two = found.nodes["one"], found.nodes["two"]
    assert (one.kind, one.image, one.role) == ("linux", "alpine", Role.PROGRAM)
    assert one.environment == {"A": "default", "B": "kind"}
    assert two.role is Role.FRR
    assert two.environment == {"A": "node", "B": "kind"}
    assert two.labels == {"where": "there"}
    assert two.execs == (("echo", "kind"), ("echo", "group"), ("echo", "a node"))
    assert [(bind.source, bind.target) for bind in two.binds] == [("all", "/all")]


def test_a_wan_link_has_a_name_and_figures() -> None:
    found = read(
        topology(
            TWO,
            '    - endpoints: ["a:eth1", "b:eth1"]\n      mtu: 1600\n'
            "      vars: {wan: {rate: 465mbit, delay: 6.75ms, jitter: 1ms, loss: 1%}}\n",
        )
    )
    (link,) = found.links
    assert link.ends == (Endpoint("a", "eth1"), Endpoint("b", "eth1"))
    assert link.mtu == 1600
    assert link.wan is not None
    assert link.wan.name == "a"
    assert link.wan.figures == WanFigures(465_000_000, 0.00675, 0.001, 0.01)


def test_extended_links_of_type_veth_are_links() -> None:
    found = read(
        topology(
            TWO,
            "    - type: veth\n      endpoints:\n"
            "        - {node: a, interface: eth1}\n        - {node: b, interface: eth1}\n",
        )
    )
    assert [str(link) for link in found.links] == ["a:eth1 -- b:eth1"]


def test_what_only_containerlab_heeds_is_told_of() -> None:
    text = "mgmt: {network: m}\n" + topology(
        "    a: {kind: linux, image: alpine, mgmt-ipv4: 172.20.20.2}\n"
    )
    assert read(text).ignored == (
        "mgmt: namespaces have no management network",
        "mgmt-ipv4: for containerlab only",
    )


def test_junos_nodes_are_read_with_all_that_they_need() -> None:
    found = read(
        topology("    mx: {kind: juniper_vjunosrouter, image: v, startup-config: mx.cfg, cpu: 4}\n")
    )
    assert found.nodes["mx"].role is Role.FOREIGN


def test_every_mistake_of_a_file_at_once() -> None:
    text = """\
name: net
settings: {}
topology:
  nodes:
    a: {kind: linux, image: alpine, ports: ["80:80"]}
    b: {kind: arista_ceos, image: ceos}
    c: {kind: linux}
    d: {kind: linux, image: alpine, binds: [x], exec: ["echo 'open"], sysctls: {kernel.core: 1}}
  links:
    - endpoints: ["a:eth1", "z:eth1"]
    - endpoints: ["a:eth2"]
    - endpoints: ["a:eth1", "c:eth1"]
    - endpoints: ["a:much-too-long-a-name", "c:eth2"]
    - {type: macvlan, endpoint: {node: a, interface: eth9}, host-interface: eth0}
    - endpoints: ["a:eth5", "c:eth5"]
      mtu: huge
      vars: {wan: {rate: fast, delay: 1ms, jitter: 2ms, speed: 1}}
"""
    assert said(mistakes(text)) == [
        (2, "settings", "the key 'settings' is not supported here"),
        (5, "topology.nodes.a.ports", "the key 'ports' is not supported here"),
        (6, "topology.nodes.b.kind", "the kind 'arista_ceos' is not supported"),
        (7, "topology.nodes.c", "the node 'c' has no image"),
        (8, "topology.nodes.d.binds[0]", "'x' is no bind"),
        (
            8,
            "topology.nodes.d.exec[0]",
            "the command cannot be split into words: No closing quotation",
        ),
        (
            8,
            "topology.nodes.d.sysctls.kernel.core",
            "the sysctl 'kernel.core' is not one of a network namespace",
        ),
        (10, "topology.links[0].endpoints[1]", "no node is called 'z'"),
        (11, "topology.links[1].endpoints", "a link has two endpoints, this one has 1 endpoint"),
        (
            12,
            "topology.links[2].endpoints[0]",
            "the interface a:eth1 is linked already, in line 10",
        ),
        (
            13,
            "topology.links[3].endpoints[0]",
            "'much-too-long-a-name' cannot be the name of an interface",
        ),
        (14, "topology.links[4].type", "links of type 'macvlan' are not supported"),
        (16, "topology.links[5].mtu", "'huge' is no MTU"),
        (
            17,
            "topology.links[5].vars.wan",
            "a jitter of 2 ms is not within 0 and the delay, 1 ms",
        ),
        (
            17,
            "topology.links[5].vars.wan.rate",
            "'fast' is no rate: write 465mbit or 2.5gbit",
        ),
        (17, "topology.links[5].vars.wan.speed", "the key 'speed' is not supported here"),
    ]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.name)
def test_shipped_topologies_are_valid_for_us_and_for_containerlab(file: Path) -> None:
    content = file.read_bytes()
    read_topology(str(file), content)
    validate(yaml.safe_load(content))


def test_the_tests_own_topology_is_valid_for_containerlab() -> None:
    validate(small())


def validate(document: Any) -> None:
    """Check a topology with containerlab's own schema."""
    import jsonschema_rs

    path = Path(os.environ.get("VPNCTL_CLAB_SCHEMA", ""), "clab.schema.json")
    if not path.is_file():
        pytest.skip("VPNCTL_CLAB_SCHEMA names no directory with containerlab's clab.schema.json")
    jsonschema_rs.validator_for(json.loads(path.read_text())).validate(document)


_TEXT = st.text(max_size=12)
_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), _TEXT),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(
            st.one_of(
                st.sampled_from(("kind", "endpoints", "wan", "vars", "binds", "exec")), _TEXT
            ),
            below,
            max_size=3,
        ),
    ),
    max_leaves=12,
)


@given(nodes=_VALUE, links=_VALUE, rest=_VALUE)
def test_any_document_is_a_topology_or_has_mistakes(nodes: Any, links: Any, rest: Any) -> None:
    document = {
        "name": "net",
        "topology": {"nodes": nodes, "links": links, "defaults": rest, "kinds": rest},
    }
    with contextlib.suppress(TopologyError):
        read(yaml.safe_dump(document, allow_unicode=True))


def test_names_of_wan_links_are_their_own() -> None:
    links = "".join(
        f'    - endpoints: ["a:eth{n}", "b:eth{n}"]\n      vars: {{wan: {{delay: 1ms}}}}\n'
        for n in (1, 2)
    )
    assert said(mistakes(topology(TWO, links))) == [
        (9, "topology.links[1]", "the WAN link's name 'a' is taken by the one in line 7")
    ]


def test_what_is_no_text_in_a_list_is_a_mistake() -> None:
    text = topology("    a: {kind: linux, image: alpine, exec: [{ip: link}, [x], ok]}\n")
    assert said(mistakes(text)) == [
        (4, f"topology.nodes.a.exec[{n}]", "a text is expected here: commands") for n in (0, 1)
    ]


def test_an_empty_file_says_what_to_write() -> None:
    (mistake,) = mistakes("")
    assert mistake.message == "the file is empty"
    assert "nodes" in mistake.hint


def test_a_label_says_what_an_unknown_image_is() -> None:
    text = topology(
        "    a: {kind: linux, image: mine, labels: {vpnctl.role: frr}}\n"
        "    b: {kind: linux, image: mine, labels: {vpnctl.role: program}, cmd: sleep 1}\n"
    )
    assert [node.role for node in read(text).nodes.values()] == [Role.FRR, Role.PROGRAM]
    assert said(mistakes(text.replace("role: frr", "role: rfr"))) == [
        (4, "topology.nodes.a", "the label vpnctl.role of 'a' is 'rfr'; did you mean 'frr'?")
    ]


def test_names_end_where_they_seem_to() -> None:
    text = topology('    "a\\n": {kind: linux, image: alpine}\n').replace("net", '"net\\n"', 1)
    assert said(mistakes(text)) == [
        (1, "name", r"'net\n' cannot be a lab's name"),
        (4, "topology.nodes", r"'a\n' cannot be a node's name"),
    ]


@pytest.mark.parametrize("name", [".", "..", "e%d", "lo", "a b"])
def test_an_interface_has_a_name_that_the_kernel_keeps(name: str) -> None:
    found = said(mistakes(topology(TWO, f'    - endpoints: ["a:{name}", "b:eth1"]\n')))
    assert [message for _, _, message in found] == [f"{name!r} cannot be the name of an interface"]


def test_nothing_that_is_written_can_command_a_terminal_or_end_a_text_early() -> None:
    text = topology(
        '    a: {kind: linux, image: "alpine\\e[3m", group: "\\a", exec: ["e \\0"], cmd: "s\\0"}\n'
        '    b: {kind: linux, image: alpine, env: {A: "\\0", "B=C": d}, binds: ["a\\0:/b"]}\n'
    )
    assert {path: message for _, path, message in said(mistakes(text))} == {
        "topology.nodes.a.image": r"the character '\x1b' is not allowed",
        "topology.nodes.a.group": r"the character '\x07' is not allowed",
        "topology.nodes.a.exec[0]": r"the character '\x00' is not allowed",
        "topology.nodes.a.cmd": r"the character '\x00' is not allowed",
        "topology.nodes.b.env.A": r"the character '\x00' is not allowed",
        "topology.nodes.b.env": "'B=C' cannot be the name of a variable",
        "topology.nodes.b.binds[0]": r"the character '\x00' is not allowed",
    }


def test_a_command_may_be_written_over_several_lines() -> None:
    found = read(
        topology(
            "    a:\n      kind: linux\n      image: alpine\n      cmd: |\n        a\n        b\n"
        )
    )
    assert found.nodes["a"].command == ("a", "b")


@pytest.mark.parametrize("target", ["/", "//", "/nosuch/../etc/new", "/x/.."])
def test_a_bind_leads_where_it_says(target: str) -> None:
    text = topology(f'    a: {{kind: linux, image: alpine, binds: ["f:{target}"]}}\n')
    assert said(mistakes(text)) == [
        (4, "topology.nodes.a.binds[0]", f"nothing can be bound to {target!r}")
    ]
