"""XML, braces and ``set`` commands say the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.lab.junos.sample import GROUND, tree
from vpnctl.lab.junos.editing import EditError, apply
from vpnctl.lab.junos.hierarchy import CONFIGURATION
from vpnctl.lab.junos.notation_set import blocks, set_edits, statements, text_edits
from vpnctl.lab.junos.notation_xml import configuration, edits
from vpnctl.lab.junos.schema import Tree

LINES = GROUND.splitlines()


def read(found: list) -> Tree:
    made: Tree = {}
    for edit in found:
        apply(made, CONFIGURATION, edit)
    return made


@given(st.lists(st.sampled_from(LINES), unique=True, min_size=1), st.randoms())
def test_what_is_written_in_one_notation_is_read_again(
    lines: list[str], shuffled: random.Random
) -> None:
    shuffled.shuffle(lines)
    whole = tree("\n".join(lines))
    by_set = read(
        list(
            set_edits(
                "\n".join(f"set {line}" for line in statements(whole, CONFIGURATION)), CONFIGURATION
            )
        )
    )
    by_text = read(list(text_edits("\n".join(blocks(whole, CONFIGURATION)), CONFIGURATION)))
    by_xml = read(list(edits(configuration(whole, CONFIGURATION), CONFIGURATION)))
    assert by_set == by_text == by_xml == whole


def test_names_that_the_text_leaves_out() -> None:
    whole = tree()
    text = "\n".join(blocks(whole, CONFIGURATION))
    assert "    vrf-import in;" in text
    assert "mac-table-size 2048;" in text
    assert "community [ red blue ];" in text
    assert "community add red;" in text
    xml = etree.tostring(configuration(whole, CONFIGURATION)).decode()
    assert "<instance><name>E1</name>" in xml
    assert "<mac-table-size><limit>2048</limit></mac-table-size>" in xml
    assert "<community><add/><community-name>red</community-name></community>" in xml


@pytest.mark.parametrize(
    "command",
    [
        "set routing-instances E1 instance-typo vpls",
        "set routing-instances E1 instance-type vpws",
        "set routing-instances E1 protocols vpls site a site-identifier 70000",
        "set routing-instances E1 protocols vpls label-block-size 7",
        "set interfaces ge-0/0/1 unit 1 vlan-id 5000",
        "set interfaces ge-0/0/1 unit 1 vlan-id",
        "set interfaces wan0 unit 1",
        "set logical-systems a interfaces ge-0/0/1 encapsulation flexible-ethernet-services",
        "set protocols bgp group g neighbor 10.0.0.300",
        'set routing-instances "E 1" instance-type vpls',
        "unset interfaces",
        'set system host-name "a',
    ],
)
def test_what_a_router_does_not_know_is_a_mistake(command: str) -> None:
    with pytest.raises(EditError):
        tree(command)


@pytest.mark.parametrize(
    "text", ["interfaces {", "interfaces }", "interfaces { ge-0/0/1 { unit 1 { family vpls } } }"]
)
def test_braces_that_do_not_match(text: str) -> None:
    with pytest.raises(EditError):
        read(list(text_edits(text, CONFIGURATION)))


def xml(content: str, of: Tree) -> Tree:
    element = etree.fromstring(f"<configuration>{content}</configuration>")
    for edit in edits(element, CONFIGURATION):
        apply(of, CONFIGURATION, edit)
    return of


UNIT = "<interfaces><interface><name>ge-0/0/1</name>{}</interface></interfaces>"


def test_merging_keeps_replacing_does_not() -> None:
    start = "set interfaces ge-0/0/1 unit 1 vlan-id 7\nset interfaces ge-0/0/1 unit 1 description a"
    unit = "<unit{}><name>1</name><vlan-id>8</vlan-id></unit>"
    merged = xml(UNIT.format(unit.format("")), tree(start))
    replaced = xml(UNIT.format(unit.format(' replace="replace"')), tree(start))
    assert merged["interfaces"]["interface"]["ge-0/0/1"]["unit"]["1"] == {
        "vlan-id": "8",
        "description": "a",
    }
    assert replaced["interfaces"]["interface"]["ge-0/0/1"]["unit"]["1"] == {"vlan-id": "8"}


def test_deleting_takes_what_is_empty_along_and_nothing_else() -> None:
    start = "set interfaces ge-0/0/1 unit 1\nset protocols bgp group g family l2vpn signaling"
    gone = xml(UNIT.format('<unit delete="delete"><name>1</name></unit>'), tree(start))
    assert gone["interfaces"] == {"interface": {"ge-0/0/1": {}}}
    deep = tree("delete protocols bgp group g family l2vpn signaling", of=tree(start))
    assert deep["protocols"]["bgp"]["group"] == {"g": {}}


def test_deleting_and_creating_what_is_not_and_what_is_there() -> None:
    with pytest.raises(EditError, match="statement not found"):
        xml(UNIT.format('<unit operation="delete"><name>1</name></unit>'), {})
    xml(UNIT.format('<unit operation="remove"><name>1</name></unit>'), {})
    with pytest.raises(EditError, match="already exists"):
        xml(
            UNIT.format('<unit operation="create"><name>1</name></unit>'),
            tree("set interfaces ge-0/0/1 unit 1"),
        )


@pytest.mark.parametrize(
    "content",
    [
        "<interfaces><interface><unit><name>1</name></unit></interface></interfaces>",
        '<interfaces xmlns="urn:somebody"/>',
        '<interfaces colour="red"/>',
        "<interfaces>words</interfaces>",
        "<system><host-name/></system>",
        '<system operation="turn"/>',
    ],
)
def test_xml_that_a_router_does_not_take(content: str) -> None:
    with pytest.raises(EditError):
        xml(content, {})
