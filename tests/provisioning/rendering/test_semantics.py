"""What a router cannot have is told before anything is sent, all of it at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.provisioning.rendering.network import intent, profiles
from vpnctl.errors import RenderError
from vpnctl.model import FAMILIES, RouteDistinguisher, RouteTarget, Service
from vpnctl.model.family import FLOW4
from vpnctl.provisioning.intent import RouterIntent
from vpnctl.provisioning.rendering import render


def refusals(router: RouterIntent) -> list[str]:
    """What is said of it, without the hints."""
    with pytest.raises(RenderError) as caught:
        render(router, None, profiles())
    return [f"{one.path}: {one.message}" for one in caught.value.mistakes]


def first(router: str, **changes: Any) -> RouterIntent:
    """The router with something of its first endpoint changed."""
    whole = intent(router)
    return replace(
        whole, attachments=(replace(whole.attachments[0], **changes), *whole.attachments[1:])
    )


@pytest.mark.parametrize(
    ("router", "messages"),
    [
        (
            first("mx", vlan=5000, unit=5000),
            ["E1 at cloud1, mx: VLAN 5000 is outside 1 to 4094 on junos-mx"],
        ),
        (
            first("mx", ve_id=65535, site_range=65535),
            ["E1 at cloud1, mx: VE-ID 65535 is outside 1 to 65534 on junos-mx"],
        ),
        (
            first("mx", ve_id=17),
            ["E1 at cloud1, mx: VE-ID 17 is above the site range 16"],
        ),
        (
            first("mx", label_block_size=7),
            ["E1 at cloud1, mx: a label block of 7 is none on junos-mx"],
        ),
        (
            first("mx", unit=16386),
            ["E1 at cloud1, mx: interface unit 16386 is outside 0 to 16385 on junos-mx"],
        ),
        (
            first("evpn", vni=16777215),
            ["T1 at cloud2, evpn: VNI 16777215 is outside 1 to 16777214 on junos-evpn"],
        ),
        (
            first("evo", service=Service.EVPN),
            ["E1 at hq, evo: junos-evo provisions vpls, no evpn"],
        ),
        (
            first("evo", inner_vlan=5),
            ["E1 at hq, evo: VLAN 5 in 301: junos-evo is not configured for two tags"],
        ),
        (
            first("mx", unit=101),
            ["E2 at cloud1, mx: interface ge-0/0/1.101 is that of E1 at cloud1 already"],
        ),
        (
            first("mx", rd=RouteDistinguisher.parse("10.0.0.1:2")),
            [
                "E2 at cloud1, mx: the route distinguisher 10.0.0.1:2 is that of E1 at cloud1 "
                "already"
            ],
        ),
        (
            first("mx", vpn="E2"),
            ["E2 at cloud1, mx: the instance name E2_cloud1 is that of E2 at cloud1 already"],
        ),
        (
            first("frr", vni=10000),
            ["T2 at cloud2, frr: VNI 10000 is that of T1 at cloud2 already"],
        ),
        (
            first("frr", import_targets=(RouteTarget.parse("65000L:7"),)),
            ["T1 at cloud2, frr: 65000L:7: frr-evpn has no way to write a small AS in four octets"],
        ),
        (
            first("mx", vlan=None, unit=0),
            ["E1 at cloud1, mx: has no VLAN and so the whole of ge-0/0/1, where others have VLANs"],
        ),
        (replace(intent("mx"), port=""), ["pes.mx.port: has no port for its customers"]),
        (
            replace(intent("frr"), families=(FAMILIES["vpls"],)),
            ["pes.frr.families: frr-evpn cannot be configured for vpls"],
        ),
        (
            replace(intent("only"), passive=True, controller_port=1790),
            [
                "pes.only.passive: a router of this platform connects to TCP port 179 only, and "
                "the controller waits at 1790"
            ],
        ),
        (
            replace(intent("mx"), platform="junos-xm"),
            [
                "pes.mx.platform: there are no router templates for 'junos-xm'; did you mean "
                "'junos-mx'?"
            ],
        ),
    ],
)
def test_what_a_router_cannot_have_is_named(router: RouterIntent, messages: list[str]) -> None:
    assert refusals(router) == messages


def test_everything_is_told_at_once_with_its_place() -> None:
    router = first("mx", vlan=5000, ve_id=0, unit=101)
    with pytest.raises(RenderError) as caught:
        render(router, None, profiles())
    assert len(caught.value.mistakes) == 3
    assert {str(one.place) for one in caught.value.mistakes} == {"e1.yaml:3", "e2.yaml:4"}
    assert caught.value.exit_code == 3


def test_a_router_of_which_only_the_session_is_ours_may_host_anything() -> None:
    content = render(intent("only"), None, profiles()).content
    assert "routing-instances" not in content
    assert "<inet>\n            <flow/>" in content


def test_frr_hears_flow_specifications_where_the_session_has_them() -> None:
    router = intent("frr")
    content = render(replace(router, families=(FLOW4, *router.families)), None, profiles()).content
    assert " address-family ipv4 flowspec\n  neighbor 10.0.0.100 activate\n" in content


def test_frr_in_another_as_gets_the_policy_that_it_asks_for() -> None:
    rendered = render(replace(intent("frr"), asn=65001), None, profiles())
    assert "  neighbor 10.0.0.100 route-map vpnctl out\n" in rendered.content
    assert "route-map vpnctl permit 10" in rendered.owned
