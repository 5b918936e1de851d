"""Flow routes as ExaBGP passes them on, and what the PE filters because of them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flowspec.draws import flows as drawn_flows
from tests.lab.vplspe.test_selection import CONFIG, E1, E2, OTHER, SECOND, SERVER
from tests.routing import wire
from tests.support.daemons import require
from tests.support.namespaces import namespaces
from vpnctl.flowspec import actions
from vpnctl.flowspec.components import Flow
from vpnctl.flowspec.flows import flows
from vpnctl.flowspec.nlri import flow_family, frame, make_key
from vpnctl.lab.vplspe.events import FlowAnnounced, FlowWithdrawn, read_event
from vpnctl.lab.vplspe.filters import Heard, filters
from vpnctl.lab.vplspe.flow_events import FlowKey, FlowRoute
from vpnctl.lab.vplspe.values import Filtered
from vpnctl.model import RouteDistinguisher, RouteTarget
from vpnctl.model.access import Fragment, Match, Span
from vpnctl.model.family import FLOW_VPN4

RD = RouteDistinguisher.parse("10.0.0.1:1")
BOTH = frozenset((4, 6))
DROP = actions.rate_bytes(0.0)
HQ = ip_network("10.1.0.1/32")
SSH = Match(BOTH, (HQ,), protocols=(Span(6, 6),), destination_ports=(Span(22, 22),))


def route(flow: Flow, does: bytes = DROP, target: RouteTarget = E1, version: int = 4) -> FlowRoute:
    key = FlowKey(flow_family(version, vpn=True), make_key(RD, version, flow))
    return FlowRoute(key, frozenset((target,)), does)


def of(match: Match, does: bytes = DROP, target: RouteTarget = E1, version: int = 4) -> FlowRoute:
    (flow,) = flows(match, version)
    return route(flow, does, target, version)


def heard(*routes: FlowRoute, neighbor: str = SERVER) -> Heard:
    return {neighbor: {one.key: one for one in routes}}


def test_flows_without_targets_are_for_a_pe_with_one_table() -> None:
    (flow,) = flows(SSH, 4)
    family = flow_family(4, vpn=False)
    plain = FlowRoute(FlowKey(family, make_key(None, 4, flow)), frozenset(), DROP)
    both = heard(plain, of(SSH))
    of_vpns = ("flow4/10.0.0.1:1/destination=10.1.0.1/32,protocol=6,destination-port=22",)
    assert filters(CONFIG.filtered, both).enforced["E1"] == of_vpns
    found = filters((Filtered("E1", None, ("eth2",)),), both)
    assert found.enforced["E1"] == ("flow4/destination=10.1.0.1/32,protocol=6,destination-port=22",)
    assert 'iifname { "eth2" } goto v0' in found.script


def test_a_flow_is_a_chain_of_its_own() -> None:
    found = filters(CONFIG.filtered, heard(of(SSH)))
    assert found.enforced == {
        "E1": ("flow4/10.0.0.1:1/destination=10.1.0.1/32,protocol=6,destination-port=22",),
        "E2": (),
    }
    assert found.refusals == ()
    assert (
        found.script
        == """\
table bridge pe_filters {
  chain v0f0 {
    counter
    drop
  }
  chain v0 {
    ether type ip ip daddr 10.1.0.1/32 ip protocol { 6 } @th,16,16 { 22 } goto v0f0
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname { "eth1" } goto v0
    oifname { "eth1" } goto v0
  }
}
"""
    )


def test_without_flows_nothing_is_filtered() -> None:
    assert filters(CONFIG.filtered, {}).script == ""
    assert filters(CONFIG.filtered, heard(of(SSH, target=OTHER))).script == ""


def test_each_vpn_has_its_own_and_its_own_ports() -> None:
    two = replace(CONFIG, vpns=(CONFIG.vpns[0], replace(CONFIG.vpns[1], vlan=7)))
    found = filters(two.filtered, heard(of(SSH, target=E2)))
    assert [len(flows) for flows in found.enforced.values()] == [0, 1]
    assert 'iifname { "eth1.7" } goto v1' in found.script
    assert '"eth1"' not in found.script


def test_what_two_route_servers_say_is_one_flow() -> None:
    found = filters(CONFIG.filtered, heard(of(SSH)) | heard(of(SSH), neighbor=SECOND))
    assert len(found.enforced["E1"]) == 1


def test_flows_stand_in_the_order_of_rfc_8955_whoever_came_first() -> None:
    less = of(Match(BOTH, (HQ,)))
    more = of(replace(SSH, sources=(ip_network("10.1.0.3/32"),)), b"")
    for routes in ((less, of(SSH), more), (more, of(SSH), less)):
        found = filters(CONFIG.filtered, heard(*routes)).enforced["E1"]
        assert [flow.count(",") for flow in found] == [3, 2, 0]


@pytest.mark.parametrize(
    ("does", "lines"),
    [
        (b"", ["accept"]),
        (actions.NO_ACTION, ["accept"]),
        (
            actions.rate_bytes(1_250_000.0) + actions.mark(46),
            [
                "limit rate over 1250000 bytes/second burst 125000 bytes drop",
                "ip dscp set 46",
                "accept",
            ],
        ),
        (
            actions.rate_packets(100.0),
            ["limit rate over 100/second burst 10 packets drop", "accept"],
        ),
        (actions.rate_bytes(float("nan")), ["drop"]),
    ],
)
def test_what_a_flow_does(does: bytes, lines: list[str]) -> None:
    script = filters(CONFIG.filtered, heard(of(SSH, does))).script
    chain = script.split("chain v0f0 {\n")[1].split("  }")[0]
    assert [line.strip() for line in chain.splitlines()] == ["counter", *lines]


def test_what_cannot_be_enforced_is_refused_and_said() -> None:
    to = actions.redirect(RouteTarget.parse("65000:9101"))
    found = filters(CONFIG.filtered, heard(of(SSH, to)))
    assert found.script == ""
    (refusal,) = found.refusals
    assert (refusal.vpn, refusal.neighbor) == ("E1", SERVER)
    assert refusal.why == "a bridge cannot redirect to another VPN"


def test_alternatives_are_rules_of_one_chain() -> None:
    script = filters(CONFIG.filtered, heard(of(Match(BOTH, ports=(Span(53, 53),))))).script
    jumps = [line.strip() for line in script.splitlines() if line.endswith("goto v0f0")]
    assert jumps == [
        "ether type ip ip protocol { 6, 17, 132 } @th,16,16 { 53 } goto v0f0",
        "ether type ip ip protocol { 6, 17, 132 } @th,0,16 { 53 } goto v0f0",
    ]


def test_a_length_of_ipv6_is_counted_without_its_header() -> None:
    match = Match(BOTH, lengths=(Span(0, 128),))
    assert "ip6 length { 0-88 }" in filters(CONFIG.filtered, heard(of(match, version=6))).script


@st.composite
def _heard(draw: st.DrawFn) -> Heard:
    routes = []
    for version in (4, 6):
        for flow in draw(st.lists(drawn_flows(version), max_size=4)):
            does = draw(st.sampled_from((b"", DROP, actions.rate_packets(5.0), actions.mark(1))))
            routes.append(route(flow, does, version=version))
    fragments = draw(st.lists(st.sampled_from(Fragment), max_size=2, unique=True))
    if fragments:
        match = Match(BOTH, fragments=tuple(fragments))
        routes += [of(match, version=version) for version in (4, 6)]
    return heard(*routes)


@pytest.mark.daemon
def test_the_kernel_takes_whatever_flows_there_are() -> None:
    require("nft")
    with namespaces(1) as (name,):

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(_heard())
        def taken(heard: Heard) -> None:
            script = filters(CONFIG.filtered, heard).script
            done = subprocess.run(
                ["ip", "netns", "exec", name, "nft", "-c", "-f", "-"],
                input=script, capture_output=True, text=True, check=False, timeout=30,
            )  # fmt: skip
            assert done.returncode == 0, script + done.stderr

        taken()


# -- events ---------------------------------------------------------------------------------------


def line(octets: bytes) -> str:
    """An UPDATE as ExaBGP writes it with `consolidate`; ``octets``: the whole message."""
    said: dict[str, Any] = {
        "type": "update",
        "body": f"0x{octets[19:].hex().upper()}",
        "neighbor": {"address": {"peer": SERVER}, "message": {"update": {}}},
    }
    return json.dumps(said)


def test_flow_routes_are_read_from_the_octets() -> None:
    first, second = of(SSH), of(Match(BOTH, (HQ,)))
    nlris = [frame(one.key.octets) for one in (first, second)]
    communities = wire.targets("65000:101", others=DROP)
    reach = wire.reach(FLOW_VPN4, *nlris, next_hop=b"")
    assert read_event(line(wire.update(reach, wire.BASIC, communities))) == [
        FlowAnnounced(SERVER, first),
        FlowAnnounced(SERVER, second),
    ]
    assert read_event(line(wire.update(wire.unreach(FLOW_VPN4, nlris[0])))) == [
        FlowWithdrawn(SERVER, first.key)
    ]


def test_updates_of_other_families_have_none() -> None:
    octets = wire.update(wire.reach(wire.VPLS, wire.vpls(1, 2)), wire.BASIC, wire.targets("1:1"))
    assert read_event(line(octets)) == []


@pytest.mark.parametrize("nlri", [b"\x20\x01", b"\x09" + RD.octets + b"\x63"])
def test_what_is_no_flow_route_is_no_event(nlri: bytes) -> None:
    octets = wire.update(wire.reach(FLOW_VPN4, nlri, next_hop=b""), wire.BASIC)
    with pytest.raises(ValueError, match=r"cut short|type 99"):
        read_event(line(octets))
