"""What the shipped templates make of a policy, kept so that every change of it is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lxml import etree

from tests.provisioning.rendering.network import NETWORK, ROUTERS, intent, profiles, ruleset
from tests.provisioning.rendering.regenerate import golden
from vpnctl.model import Service
from vpnctl.provisioning.documents import load_document, owned_text, subtree_filter
from vpnctl.provisioning.intent import intents
from vpnctl.provisioning.rendering import render


@pytest.mark.parametrize("platform", ROUTERS)
def test_a_router_gets_what_was_looked_at(platform: str) -> None:
    rendered = render(intent(ROUTERS[platform]), None, profiles())
    assert rendered.content == golden(platform).read_text()
    assert rendered.delete == ()


@pytest.mark.parametrize("platform", ROUTERS)
def test_everything_that_was_ours_goes_with_the_last_intent(platform: str) -> None:
    router = intent(ROUTERS[platform])
    nothing = render(None, router, profiles())
    assert nothing.delete == render(router, None, profiles()).owned
    assert nothing.owned == ()


def test_a_retracted_endpoint_goes_and_nothing_else() -> None:
    router = intent("mx")
    fewer = replace(router, attachments=router.attachments[1:])
    rendered = render(fewer, router, profiles())
    system = "/configuration/logical-systems[name='vpnctl']"
    assert rendered.delete == (
        f"{system}/interfaces/interface[name='ge-0/0/1']/unit[name='100']",
        f"{system}/routing-instances/instance[name='E1_cloud1']",
    )
    loaded = etree.fromstring(load_document(rendered))
    gone = loaded.xpath("//*[@delete='delete']/name/text()")
    assert gone == ["100", "E1_cloud1"]
    assert loaded.xpath("//instance[@replace='replace']/name/text()") == [
        "E2_cloud1", "E3_cloud1", "T1_cloud1",
    ]  # fmt: skip


def test_what_goes_with_something_above_it_is_not_named_twice() -> None:
    router = intent("frr")
    fewer = replace(router, attachments=router.attachments[:1])
    assert render(fewer, router, profiles()).delete == (
        "router bgp 65000 / address-family l2vpn evpn / vni 10000",
    )


def test_a_router_of_another_platform_keeps_nothing_of_the_former_one() -> None:
    former = replace(intent("mx"), platform="junos-evpn", attachments=())
    now = replace(intent("mx"), attachments=())
    assert render(now, former, profiles()).delete == (
        "/configuration/protocols/bgp/group[name='vpnctl']",
    )


def test_equal_configurations_have_equal_text_whatever_the_router_wraps_them_in() -> None:
    rendered = render(intent("mx"), None, profiles())
    answer = etree.fromstring(rendered.content)
    for element in answer.iter():
        element.attrib.pop("replace", None)
        element[:] = sorted(element, key=lambda one: (one.tag != "name", one.tag))
    for element in answer.iter():
        element.tag = f"{{http://xml.juniper.net/xnm/1.1/xnm}}{element.tag}"
    reply = f"<rpc-reply><data>{etree.tostring(answer).decode()}</data></rpc-reply>"
    text = owned_text(rendered.content, rendered.owned)
    assert owned_text(reply, rendered.owned) == text
    assert (
        "configuration logical-systems vpnctl routing-instances instance E1_cloud1 "
        "route-distinguisher rd-type 10.0.0.1:1\n" in text
    )
    assert owned_text(reply.replace("10.0.0.1:1<", "10.0.0.1:9<"), rendered.owned) != text
    # What is not ours is not looked at.
    assert "flexible-vlan-tagging" not in text


def test_the_filter_asks_for_what_is_ours() -> None:
    path = "/configuration/logical-systems[name='vpnctl']/routing-instances/instance[name='E1']"
    assert subtree_filter("junos-xml", [path]) == (
        "<configuration><logical-systems><name>vpnctl</name><routing-instances><instance>"
        "<name>E1</name></instance></routing-instances></logical-systems></configuration>"
    )


def test_only_managed_routers_have_an_intent_and_an_l3vpn_is_the_operators() -> None:
    found = intents(ruleset())
    assert sorted(found) == ["evo", "evpn", "frr", "mx", "only"]
    assert {
        one.service for router in found.values() for one in router.attachments
    } == {Service.VPLS, Service.EVPN}  # fmt: skip


def test_an_endpoint_has_the_numbers_of_the_policy() -> None:
    first, second, third, _ = intent("mx").attachments
    assert (first.vlan, first.inner_vlan, first.unit, first.interface) == (
        100, None, 100, "ge-0/0/1.100",
    )  # fmt: skip
    assert (first.ve_id, first.site_range, first.label_block_size) == (2, 16, 8)
    # The other site of E2 has VE-ID 17: the range is that of the whole VPN.
    assert (second.ve_id, second.site_range) == (1, 32)
    # The first outer tag's units follow those of the single tags.
    assert (third.vlan, third.inner_vlan, third.unit) == (4001, 17, 4094 + 17)


def test_a_router_without_vpns_has_its_session() -> None:
    alone = intents(ruleset(NETWORK, e1="vpn: E1\nservice: vpls\nsites: [by-hand]\n"))["mx"]
    rendered = render(alone, None, profiles())
    assert rendered.owned == (
        "/configuration/logical-systems[name='vpnctl']/protocols/bgp/group[name='vpnctl']",
    )
