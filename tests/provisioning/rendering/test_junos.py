"""What is rendered for Junos: the schema takes it, and we see what the schema lets pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from tests.provisioning.rendering.junos_yang import complaints
from tests.provisioning.rendering.network import ROUTERS
from tests.provisioning.rendering.regenerate import golden
from vpnctl.provisioning.documents import parse_document
from vpnctl.provisioning.semantics_junos import check_document

JUNOS = [platform for platform in ROUTERS if platform.startswith("junos")]


def configuration(platform: str, *changes: tuple[str, str]) -> etree._Element:
    """What the templates make, with each first text replaced by the second."""
    text = golden(platform).read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return parse_document(text)


@pytest.mark.parametrize("platform", JUNOS)
def test_the_schema_takes_what_is_rendered(platform: str, tmp_path: Path) -> None:
    assert complaints(configuration(platform), tmp_path) == ""


@pytest.mark.parametrize("platform", JUNOS)
def test_nothing_that_is_rendered_is_refused(platform: str) -> None:
    assert check_document(configuration(platform)) == []


def test_the_schema_is_a_judge(tmp_path: Path) -> None:
    wrong = configuration("junos-mx", ("label-block-size>8<", "label-block-size>7<"))
    assert "label-block-size" in complaints(wrong, tmp_path)


#: What the schema of a router takes, and what is wrong with it in our words.
PASSED_BY_THE_SCHEMA = {
    "VLAN": (
        [("vlan-id>100<", "vlan-id>5000<")],
        "logical system vpnctl, ge-0/0/1.100: VLAN 5000 is outside 1 to 4094",
    ),
    "target": (
        [("community>target:65000:101<", "community>targt:65000:101<")],
        "logical system vpnctl, instance E1_cloud1: targt:65000:101 is no route target; they "
        "begin with target:",
    ),
    "route distinguisher": (
        [("10.0.0.1:1<", "192.0.2.999:1<")],
        "logical system vpnctl, instance E1_cloud1: '192.0.2.999:1' is no route distinguisher: "
        "192.0.2.999 is no IPv4 address",
    ),
    "policy": (
        [("vrf-import>vpnctl-E2_cloud1-import<", "vrf-import>vpnctl-E2-import<")],
        "logical system vpnctl, E2_cloud1: vrf-import names no policy: vpnctl-E2-import",
    ),
    "community": (
        [("community-name>vpnctl-E2_cloud1-export<", "community-name>nobody<")],
        "logical system vpnctl, policy vpnctl-E2_cloud1-export: no community is nobody",
    ),
}


@pytest.mark.parametrize("what", PASSED_BY_THE_SCHEMA)
def test_we_see_what_the_schema_lets_pass(what: str) -> None:
    changes, message = PASSED_BY_THE_SCHEMA[what]
    assert check_document(configuration("junos-mx", *changes)) == [message]


def test_the_schema_lets_all_of_it_pass(tmp_path: Path) -> None:
    changes = [change for changes, _ in PASSED_BY_THE_SCHEMA.values() for change in changes]
    assert complaints(configuration("junos-mx", *changes), tmp_path) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [("<name>103</name>", "<name>104</name>")],
            "logical system vpnctl, instance T1_cloud1: interface ge-0/0/1.103 is not there",
        ),
        (
            [("<vlan-id>101</vlan-id>", "<vlan-id>100</vlan-id>")],
            "logical system vpnctl, ge-0/0/1: VLAN 100 has 2 units",
        ),
        (
            [("<encapsulation>flexible-ethernet-services<", "<encapsulation>ethernet-vpls<")],
            "logical system vpnctl, ge-0/0/1.100: encapsulation vlan-vpls on a port with "
            "encapsulation ethernet-vpls",
        ),
        (
            [("<encapsulation>flexible-ethernet-services<", "<encapsulation>vlan-vpls<")],
            "logical system vpnctl, ge-0/0/1.100: VLAN 100 is below 512, on a port that is all "
            "vlan-vpls",
        ),
        (
            [("<vlan-id>100</vlan-id>", "")],
            "logical system vpnctl, ge-0/0/1.100: encapsulation vlan-vpls without a VLAN",
        ),
        (
            [("<family><vpls/></family>", "")],
            "logical system vpnctl, instance E1_cloud1: interface ge-0/0/1.100 is not of family "
            "vpls",
        ),
        (
            [("<rd-type>10.0.0.1:1<", "<rd-type>10.0.0.1:2<")],
            "logical system vpnctl: 2 instances have the route distinguisher 10.0.0.1:2",
        ),
        (
            [("<site-identifier>2<", "<site-identifier>17<")],
            "logical system vpnctl, instance E1_cloud1: site-identifier 17 is outside 1 to "
            "site-range 16",
        ),
        (
            [("<label-block-size>8<", "<label-block-size>7<")],
            "logical system vpnctl, instance E1_cloud1: label-block-size 7 is none of 2, 4, 8, 16",
        ),
        (
            [("<site-range>16<", "<site-range>70000<")],
            "logical system vpnctl, instance E1_cloud1: site-range 70000 is outside 1 to 65534",
        ),
        (
            [("<vrf-import>vpnctl-E2_cloud1-import</vrf-import>", "")],
            "logical system vpnctl, instance E2_cloud1: neither vrf-target nor both of vrf-import "
            "and vrf-export",
        ),
        (
            [("<members>target:10.9.9.9:7<", "<members>target:10.9.9.9:70000<")],
            "logical system vpnctl, vpnctl-E2_cloud1-export: '10.9.9.9:70000' is no route target: "
            "70000 is above 65535",
        ),
        (
            [("<neighbor><name>10.0.0.100</name></neighbor>", "")],
            "logical system vpnctl, BGP group vpnctl: has no neighbor",
        ),
        (
            [("<type>internal<", "<type>external<")],
            "logical system vpnctl, BGP group vpnctl: is external and has no peer-as",
        ),
        (
            [("<instance-type>evpn</instance-type>", "")],
            "logical system vpnctl, instance T1_cloud1: has no instance-type",
        ),
    ],
)
def test_what_a_template_can_get_wrong_is_named(
    changes: list[tuple[str, str]], message: str
) -> None:
    compact = etree.tostring(configuration("junos-mx")).decode()
    for old, new in changes:
        assert old in compact
        compact = compact.replace(old, new)
    assert message in check_document(parse_document(compact))
