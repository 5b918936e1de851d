"""Feasible flow routes, rule by rule of RFC 9117 section 4.1."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tests.routing import wire
from tests.routing.flowspec.test_flow_engine import SSH_FLOW, House
from vpnctl.flowspec.components import DESTINATION, PROTOCOL, Flow, Prefix, prefix, spans
from vpnctl.flowspec.nlri import frame
from vpnctl.model import VPNV4
from vpnctl.routing import inspect
from vpnctl.routing.attributes import Attributes, Origin, parse
from vpnctl.routing.flowspec.validation import Unicast, infeasible
from vpnctl.routing.nlri import from_text

TO: Flow = (prefix(DESTINATION, ip_network("10.1.0.0/16")),)
ME, OTHER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


def heard(*asns: int, external: bool = False, confederation: bool = False) -> Attributes:
    """The attributes of a flow route that ME announced."""
    path = wire.as_path(*asns)
    if confederation:
        path = bytes((3,)) + path[1:]
    origin = Origin(
        external=external,
        asn4=True,
        local_asn=65000,
        router_id=wire.ROUTER_ID,
        peer_router_id=ME,
    )
    return parse([wire.ORIGIN, wire.attribute(0x40, 2, path)], origin)


def route(text: str, originator: bytes = ME, neighbor_as: int = 0) -> Unicast:
    network = ip_network(text)
    value = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
    return Unicast(network.prefixlen, value, originator, neighbor_as)


@pytest.mark.parametrize(
    ("flow", "attributes", "unicast", "why"),
    [
        pytest.param(
            (spans(PROTOCOL, [(6, 6)]),), heard(), [], "no destination (a)", id="no destination"
        ),
        pytest.param(
            (Prefix(DESTINATION, 64, 32, bytes(4)),), heard(), [], "(a)", id="an offset"
        ),
        pytest.param(TO, heard(), [route("10.0.0.0/8", OTHER)], "", id="empty AS_PATH"),
        pytest.param(TO, heard(), [], "", id="empty AS_PATH and no route"),
        pytest.param(
            TO, heard(64512, confederation=True), [route("10.0.0.0/8", OTHER)], "",
            id="a confederation's AS_PATH",
        ),
        pytest.param(TO, heard(64512), [], "no unicast route", id="no route"),
        pytest.param(
            TO, heard(64512), [route("10.0.0.0/8", OTHER, 64512)], "another originator",
            id="another originator",
        ),
        pytest.param(
            TO, heard(64512), [route("10.0.0.0/8", OTHER, 64512), route("10.1.0.0/16", ME, 64512)],
            "", id="the longest prefix counts",
        ),
        pytest.param(
            TO, heard(64512), [route("10.1.0.0/16", ME, 64512), route("10.1.7.0/24", OTHER, 64513)],
            "AS 64513 announces a part", id="a part is another AS's",
        ),
        pytest.param(
            TO, heard(64512), [route("10.1.0.0/16", ME, 64512), route("10.2.7.0/24", OTHER, 64513)],
            "", id="elsewhere others may be",
        ),
        pytest.param(
            TO, heard(65002, external=True), [route("10.1.0.0/16", ME, 65003)], "section 4.2",
            id="another neighbour",
        ),
        pytest.param(
            TO, heard(65002, external=True), [route("10.1.0.0/16", ME, 65002)], "",
            id="from outside",
        ),
    ],
)  # fmt: skip
def test_rule_by_rule(flow: Flow, attributes: Attributes, unicast: list[Unicast], why: str) -> None:
    found = infeasible(flow, attributes, unicast)
    assert why in found
    assert bool(found) is bool(why)


def explained(house: House, peer: str, number: int, flow: str, target: str) -> tuple[str, ...]:
    """What is told of a flow route that a PE announces."""
    family, key = from_text(flow)
    house.engine.updates(
        number,
        wire.update(wire.reach(family, frame(key), next_hop=b""), wire.BASIC, wire.targets(target)),
    )
    sent, lines = inspect.explain(house.engine, family, key, peer)
    assert not sent
    return lines


def test_why_a_flow_route_of_a_pe_would_be_wrong_even_if_it_were_asked_for() -> None:
    house = House()
    mine = explained(house, "pe1", 0, SSH_FLOW, "65000:100")
    assert mine[:3] == (
        "heard from pe0 with target 65000:100",
        f"not used: {inspect.REFUSED_FLOW}",
        "it would be feasible (RFC 9117)",
    )
    forged = explained(house, "pe0", 1, SSH_FLOW, "65000:100")
    assert "65000:100 is no target of an endpoint at pe1" in forged
    assert "10.0.0.1:1 is the route distinguisher of another PE, pe0" in forged


def test_what_other_pes_announce_in_the_vrf_counts() -> None:
    house = House()
    # pe2 is outside, and announces a part of what pe0's flow is about.
    nlri = wire.vpnv4(77, bytes((10, 1, 5)))
    (lone,) = (one for one in house.compiled.ruleset.endpoints() if one.pe == "pe2")
    outside = wire.update(
        wire.reach(VPNV4, nlri),
        wire.ORIGIN,
        wire.attribute(0x40, 2, wire.as_path(65002)),
        wire.targets(str(lone.export_targets[0])),
    )
    house.engine.updates(2, outside)
    inside = wire.update(
        wire.reach(VPNV4, wire.vpnv4(1, bytes((10, 1)))), wire.BASIC, wire.targets("65000:100")
    )
    house.engine.updates(0, inside)
    lines = explained(house, "pe1", 0, SSH_FLOW, "65000:100")
    assert (
        "it would not be feasible (RFC 9117): AS 65002 announces a part of its destination (c)"
        in lines
    )
