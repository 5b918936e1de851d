"""What a schema lets pass and the router refuses."""

from __future__ import annotations

import pytest

from tests.lab.junos.sample import tree
from vpnctl.lab.junos.checks import complaints
from vpnctl.lab.junos.comparing import comparison
from vpnctl.lab.junos.hierarchy import CONFIGURATION

A = "logical-systems a"
E1 = f"{A} routing-instances E1"
UNIT = f"{A} interfaces ge-0/0/1 unit 100"
E2 = f"{A} routing-instances E2"
#: A second instance that is right.
SECOND = f"""
set {A} interfaces ge-0/0/1 unit 101 encapsulation vlan-vpls
set {A} interfaces ge-0/0/1 unit 101 vlan-id 601
set {E2} instance-type vpls
set {E2} interface ge-0/0/1.101
set {E2} route-distinguisher 10.0.0.1:2
set {E2} vrf-target target:65000:2
set {E2} protocols vpls site hq site-identifier 1
"""


def said(commands: str, platform: str = "mx") -> list[str]:
    found = complaints(tree(commands, of=tree()), platform)
    return [f"[edit {one.where}] {one.message}" for one in found]


def test_what_is_right_is_taken() -> None:
    assert said("") == []
    assert said(SECOND) == []


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        (f"set {UNIT} vlan-id 0", "VLAN-ID 0 is not within"),
        ("set interfaces ge-0/0/1 encapsulation vlan-bridge", "vlan-vpls is not allowed"),
        ("delete interfaces ge-0/0/1 flexible-vlan-tagging", "needs vlan-tagging"),
        (f"delete {UNIT} vlan-id", "needs vlan-id or vlan-tags"),
        (f"set {UNIT} vlan-tags outer 5", "cannot be together"),
        (f"set {UNIT} family inet", "cannot be together"),
        (f"delete {UNIT} encapsulation", "needs encapsulation vlan-vpls"),
        ("set interfaces ge-0/0/1 unit 100 vlan-id 700", "is configured in [edit"),
        (f"{SECOND}set {A} interfaces ge-0/0/1 unit 101 vlan-id 600", "duplicate VLAN-ID 600"),
        (f"{SECOND}set {E2} interface ge-0/0/1.100", "belongs to instance E1 already"),
        (f"{SECOND}set {E2} route-distinguisher 10.0.0.1:1", "10.0.0.1:1 is that of"),
        (f"set {E1} interface ge-0/0/2.7", "ge-0/0/2.7 is not configured"),
        (f"set {E1} route-distinguisher 192.0.2.999:1", "format is"),
        (f"set {E1} route-distinguisher 70000:70000", "format is"),
        (f"delete {E1} route-distinguisher", "route-distinguisher is missing"),
        (f"set {E1} vrf-target targt:65000:1", "format is target:"),
        (f"set {E1} vrf-import nowhere", "policy nowhere is not defined"),
        (f"delete {E1} vrf-export", "vrf-import and vrf-export, is missing"),
        (f"set {E1} protocols vpls site hq site-identifier 17", "above site-range 16"),
        (f"delete {E1} protocols vpls site hq site-identifier", "site-identifier is missing"),
        (f"delete {E1} protocols", "protocols vpls is missing"),
        (f"set {E1} protocols vpls site b site-identifier 1", "is that of site hq"),
        (f"set {E1} protocols vpls site hq interface ge-0/0/9.1", "not an interface of the inst"),
        (f"delete {A} policy-options community red", "community red is not defined"),
        (f"set {A} policy-options community red members target:1", "is no community"),
        (f"delete {A} routing-options", "local autonomous system is not configured"),
        (f"set {A} protocols bgp group rs peer-as 1", "is not our own"),
        (f"set {A} protocols bgp group rs type external", "peer AS number must be configured"),
        (f"set {A} protocols bgp group rs export nowhere", "policy nowhere is not defined"),
        (f"set {A} routing-instances M instance-type mac-vrf", "service-type is missing"),
        (f"delete {E1} instance-type", "instance-type is missing"),
    ],
)
def test_what_is_wrong_is_refused_where_it_is(commands: str, words: str) -> None:
    found = said(commands)
    assert any(words in one for one in found), found


def test_a_port_for_vpls_only_has_its_vlans_above_511() -> None:
    commands = "set interfaces ge-0/0/1 encapsulation vlan-vpls\n"
    assert said(commands) == []
    assert any("512 to 4094" in one for one in said(f"{commands}set {UNIT} vlan-id 100"))


def test_other_platforms_have_other_instances() -> None:
    assert any("not supported" in one for one in said("", "evo"))
    assert any("not supported" in one for one in said("", "crpd"))


def test_a_comparison_is_as_the_command_line_has_it() -> None:
    after = tree(
        f"delete {UNIT} vlan-id\nset {UNIT} vlan-id 700\ndelete {A} policy-options community red\n"
        "set system host-name pe",
        of=tree(),
    )
    assert (
        comparison(tree(), after, CONFIGURATION)
        == """\
[edit]
+   system {
+       host-name pe;
+   }
[edit logical-systems a interfaces ge-0/0/1 unit 100]
-   vlan-id 600;
+   vlan-id 700;
[edit logical-systems a policy-options]
-   community red {
-       members target:65000:1;
-   }
"""
    )
    assert comparison(tree(), tree(), CONFIGURATION) == ""
