"""What a router uses already is found, whoever configured it, but not what is ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.provisioning.rendering.network import ROUTERS, intent, profiles
from vpnctl.errors import ProvisioningError
from vpnctl.model import InUse, RouteDistinguisher, RouteTarget
from vpnctl.provisioning.inuse import in_use, wildcards
from vpnctl.provisioning.numbers import Taking, clashes
from vpnctl.provisioning.profile import Profile
from vpnctl.provisioning.rendering import render

JUNOS = """\
<rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><data>
<configuration xmlns="http://xml.juniper.net/xnm/1.1/xnm">
  <interfaces>
    <interface>
      <name>ge-0/0/1</name>
      <unit><name>7</name><vlan-id>214</vlan-id></unit>
      <unit><name>20000</name><vlan-tags><outer>0x8100.4001</outer><inner>17</inner></vlan-tags></unit>
      <unit><name>0</name><vlan-id-list>300-302</vlan-id-list><vlan-id-list>305</vlan-id-list></unit>
      <unit><name>*</name><vlan-id>none</vlan-id></unit>
    </interface>
    <interface><name>ge-0/0/2</name><unit><name>5</name><vlan-id>5</vlan-id></unit></interface>
  </interfaces>
  <policy-options>
    <policy-statement>
      <name>in</name><term><name>1</name><from><community>blue</community></from></term>
    </policy-statement>
    <community><name>blue</name><members>target:65000:150</members><members>no-export</members></community>
    <community><name>odd</name><members>target:6.*:1</members></community>
  </policy-options>
  <routing-instances>
    <instance>
      <name>legacy</name>
      <route-distinguisher><rd-type>10.0.0.1:5</rd-type></route-distinguisher>
      <vrf-import>in</vrf-import>
      <vrf-target><export>target:4200000000L:7</export></vrf-target>
      <protocols><vpls><site><name>x</name><site-identifier>3</site-identifier></site></vpls></protocols>
      <vlans><vlan><name>v</name><vxlan><vni>10000</vni></vxlan></vlan></vlans>
    </instance>
  </routing-instances>
  <logical-systems>
    <name>vpnctl</name>
    <routing-instances>
      <instance>
        <name>E1_cloud1</name>
        <route-distinguisher><rd-type>10.0.0.1:1</rd-type></route-distinguisher>
      </instance>
    </routing-instances>
  </logical-systems>
</configuration></data></rpc-reply>
"""


#: The numbers in it.
NUMBERS = re.compile(
    r">[^<>\n]+</(vlan-id|outer|inner|vlan-id-list|members|rd-type|vni|site-identifier|export)>"
)


def found(form: str, text: str, owned: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Kind and value of each number, once."""
    uses = in_use(profiles().platforms[form].profile, text, owned)
    return list(dict.fromkeys((one.kind, one.value) for one in uses))


def test_a_junos_router_is_read() -> None:
    ours = (
        "/configuration/logical-systems[name='vpnctl']/routing-instances/instance[name='E1_cloud1']"
    )
    assert found("junos-mx", JUNOS, (ours,)) == [
        ("rd", "10.0.0.1:5"),
        ("route-target", "4200000000:7"),
        ("route-target", "65000:150"),
        ("ve-id", "3"),
        ("vlan", "214"),
        ("vlan", "300"),
        ("vlan", "301"),
        ("vlan", "302"),
        ("vlan", "305"),
        ("vlan", "4001/17"),
        ("vlan", "5"),
        ("vlan", "7"),
        ("vni", "10000"),
    ]
    assert ("rd", "10.0.0.1:1") in found("junos-mx", JUNOS)


def test_a_number_knows_where_it_is() -> None:
    uses = in_use(profiles().platforms["junos-mx"].profile, JUNOS)
    assert (
        InUse(
            "vlan",
            "4001/17",
            "/interfaces/interface[name='ge-0/0/1']/unit[name='20000']",
            "ge-0/0/1",
        )
        in uses
    )
    instance = "/routing-instances/instance[name='legacy']"
    assert InUse("ve-id", "3", instance, targets=("4200000000:7", "65000:150")) in uses


@pytest.mark.parametrize("platform", ROUTERS)
def test_what_we_rendered_is_found_and_is_ours(platform: str) -> None:
    rendered = render(intent(ROUTERS[platform]), None, profiles())
    uses = found(platform, rendered.content)
    for endpoint in intent(ROUTERS[platform]).attachments:
        if platform != "junos-bgp-only":
            assert ("rd", str(endpoint.rd)) in uses
    assert found(platform, rendered.content, rendered.owned) == []


def test_an_frr_router_is_read() -> None:
    cloudnet = Path(__file__).parents[3] / "lab" / "cloudnet" / "pe-c1" / "frr.conf"
    ours = ("router bgp 65000 / address-family l2vpn evpn / vni 100",)
    assert found("frr-evpn", cloudnet.read_text(), ours) == [
        ("rd", "10.0.0.3:200"), ("route-target", "65000:202"), ("vni", "200"),
    ]  # fmt: skip
    vrf = (
        "vrf blue\n vni 4000\nexit-vrf\nrouter bgp 65000 vrf blue\n address-family ipv4 unicast\n"
        "  rd vpn export 10.0.0.3:9\n  rt vpn both 65000:7 65000:8\n exit-address-family\nexit\n"
    )
    assert found("frr-evpn", vrf) == [
        ("rd", "10.0.0.3:9"), ("route-target", "65000:7"), ("route-target", "65000:8"),
        ("vni", "4000"),
    ]  # fmt: skip


DERIVING = """\
vrf red
 vni 4001
exit-vrf
router bgp 4200000000
 address-family l2vpn evpn
  advertise-all-vni
  vni 300
  exit-vni
  vni 301
   route-target import 65000:1
  exit-vni
  vni 302
   rd 10.0.0.3:302
  exit-vni
 exit-address-family
exit
router bgp 65000 vrf red
 address-family l2vpn evpn
  advertise ipv4 unicast
 exit-address-family
exit
"""


def test_the_targets_that_frr_derives_for_a_vni_are_in_use() -> None:
    ours = ("router bgp 4200000000 / address-family l2vpn evpn / vni 302",)
    targets = {value for kind, value in found("frr-evpn", DERIVING, ours) if kind == "route-target"}
    assert targets == {"59904:300", "65000:1", "65000:4001"}  # 4200000000 ends in 59904
    patterns = wildcards(profiles().platforms["frr-evpn"].profile, DERIVING, ours)
    assert [where for where, _ in patterns] == [
        "router bgp 4200000000 / address-family l2vpn evpn / vni 300, which gives no target",
        "vrf red / vni 4001, which gives no target",
    ]
    # It takes them in from any AS.
    assert patterns[0][1].fullmatch("65000:300")
    given = DERIVING.replace("advertise ipv4", "route-target import 65000:2\n  advertise ipv4")
    assert ("route-target", "65000:4001") not in found("frr-evpn", given)


def test_of_another_platform_the_profile_says_where_numbers_are() -> None:
    profile = Profile(
        format="netconf-xml",
        families=("evpn",),
        templates=("t.j2",),
        in_use={
            "vlan": ("interface/vlan-id",), "rd": ("vpn/rd",), "route-target": ("import",),
            "vni": ("vpn/vni",),
        },
    )  # fmt: skip
    data = (
        '<data xmlns="urn:base"><interfaces xmlns="urn:if"><interface><name>eth1</name>'
        "<vlan-id>12</vlan-id><mtu>1500</mtu></interface></interfaces>"
        '<vpns xmlns="urn:acme"><vpn><name>a</name><rd>10.0.0.1:9</rd><vni>77</vni>'
        "<import>65000:3</import><import>none</import></vpn></vpns></data>"
    )
    assert [(one.kind, one.value, one.port) for one in in_use(profile, data)] == [
        ("rd", "10.0.0.1:9", ""), ("route-target", "65000:3", ""), ("vlan", "12", "eth1"),
        ("vni", "77", ""),
    ]  # fmt: skip


@given(st.text("0123456789-.xL:/ \nvnirdtgeo", max_size=60))
def test_whatever_a_router_shows_is_a_number_or_passed_over(text: str) -> None:
    texts = [
        ("frr-evpn", text),
        ("frr-evpn", f"router bgp 1\n vni {text}\n rd {text}\n route-target both {text}\n"),
        ("frr-evpn", "\n".join(" " * depth + text for depth in range(2000))),
        ("junos-mx", NUMBERS.sub(rf">{text}</\1>", JUNOS)),
    ]
    for form, shown in texts:
        for kind, value in found(form, shown):
            if kind == "vlan":
                assert all(1 <= int(tag) <= 4094 for tag in value.split("/"))
            elif kind == "rd":
                RouteDistinguisher.parse(value)
            elif kind == "route-target":
                RouteTarget.parse(value)
            else:
                assert 1 <= int(value) <= 0xFFFFFF


def test_a_configuration_with_numbers_without_end_is_refused() -> None:
    units = "".join(
        f"<interface><name>ge-0/0/{n}</name><unit><name>0</name>"
        "<vlan-id-list>1-4094</vlan-id-list></unit></interface>"
        for n in range(150)
    )
    text = f"<configuration><interfaces>{units}</interfaces></configuration>"
    with pytest.raises(ProvisioningError, match="more than 524,288 numbers"):
        found("junos-mx", text)


def test_an_empty_router_uses_nothing() -> None:
    assert found("junos-mx", "<data/>") == []
    assert found("frr-evpn", "") == []


WILD = """\
<configuration>
  <policy-options>
    <community><name>all</name><members>target:65000:*</members></community>
    <community><name>tens</name><members>target:65000:1..</members></community>
    <community><name>exact</name><members>target:10.0.0.1:7</members></community>
    <community><name>hard</name><members>target:(65000|65001):[0-9]+</members></community>
    <community><name>ours</name><members>target:6*:7</members></community>
  </policy-options>
</configuration>
"""


def test_what_stands_for_many_targets_is_known_by_what_it_means() -> None:
    ours = "/configuration/policy-options/community[name='ours']"
    found = wildcards(profiles().platforms["junos-mx"].profile, WILD, (ours,))
    assert [where for where, _ in found] == [
        "/policy-options/community[name='all']",
        "/policy-options/community[name='tens']",
    ]
    every, tens = (pattern for _, pattern in found)
    assert every.fullmatch("65000:1")
    assert not every.fullmatch("65001:1")
    assert tens.fullmatch("65000:123")
    assert not tens.fullmatch("65000:1234")
    frr = "router bgp 1\n address-family l2vpn evpn\n  route-target import *:100\n"
    ((_, pattern),) = wildcards(profiles().platforms["frr-evpn"].profile, frr)
    assert pattern.fullmatch("65000:100")


def test_targets_stand_in_other_places_than_instances_too() -> None:
    text = (
        "<configuration><switch-options><vrf-target><community>target:1:1</community></vrf-target>"
        "</switch-options><protocols><evpn><vni-options><vni><name>7</name><vrf-target><export>"
        "target:1:2</export></vrf-target></vni></vni-options></evpn></protocols></configuration>"
    )
    assert found("junos-evpn", text) == [("route-target", "1:1"), ("route-target", "1:2")]


@given(st.text("0123456789:.*+[]()", max_size=50), st.integers(0, 65535))
def test_no_pattern_of_a_router_takes_long(text: str, number: int) -> None:
    document = WILD.replace("65000:*", text)
    for _, pattern in wildcards(profiles().platforms["junos-mx"].profile, document):
        pattern.fullmatch(f"65000:{number}")


def test_who_has_a_number_of_ours_is_found_but_not_what_is_ours() -> None:
    profile = profiles().platforms["junos-mx"].profile
    ours = (
        "/configuration/logical-systems[name='vpnctl']/routing-instances/instance[name='E1_cloud1']"
    )
    wanted = (
        InUse("route-target", "65000:150", "E1 at cloud1"),
        InUse("rd", "10.0.0.1:1", "E1 at cloud1"),
        InUse("vlan", "5", "E1 at cloud1", "ge-0/0/1"),
        InUse("vlan", "214", "E1 at cloud1", "ge-0/0/1"),
        InUse("ve-id", "3", "E1 at cloud1", targets=("65000:150",)),
        InUse("ve-id", "3", "E2 at cloud1", targets=("65000:151",)),
    )
    taken = clashes(Taking(wanted, profile), JUNOS, (ours,))
    assert [(one.ours.kind, one.ours.value, one.ours.where) for one in taken] == [
        ("route-target", "65000:150", "E1 at cloud1"),
        ("ve-id", "3", "E1 at cloud1"),
        ("vlan", "214", "E1 at cloud1"),
    ]
    assert str(taken[0]) == (
        "route target 65000:150, which is for E1 at cloud1, is in use in"
        " /policy-options/community[name='blue']"
    )
