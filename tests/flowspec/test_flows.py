"""Access rules as flows match the packets that they speak of, and no others."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tests.flowspec.draws import MOST, Packet, matches
from vpnctl.flowspec.components import DESTINATION, PROTOCOL, SOURCE, spans
from vpnctl.flowspec.flows import flows
from vpnctl.model.access import Fragment, Match, Span, TcpFlags

_BOTH = frozenset((4, 6))
HQ, CLOUD = ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")
HQ6 = ip_network("2001:db8:1::/48")


def packet(to: str = "10.1.0.5", from_: str = "10.2.0.5", **fields: int) -> Packet:
    """A packet; ``fields`` by name, the others 0."""
    kinds = {
        "protocol": 3, "to_port": 5, "from_port": 6, "icmp_type": 7, "icmp_code": 8, "flags": 9,
        "length": 10, "dscp": 11, "fragment": 12,
    }  # fmt: skip
    version = ip_network(to).version
    ends = {DESTINATION: to, SOURCE: from_}
    return Packet(
        version,
        {kind: int(ip_network(end).network_address) for kind, end in ends.items()},
        dict.fromkeys(MOST, 0) | {kinds[name]: value for name, value in fields.items()},
    )


def passes(match: Match, one: Packet) -> bool:
    return any(matches(one, flow) for flow in flows(match, one.version))


TO_HQ = Match(_BOTH, destinations=(HQ, HQ6))


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        pytest.param(TO_HQ, packet(), packet("10.3.0.1"), id="to"),
        pytest.param(
            TO_HQ, packet("2001:db8:1::5", "::1"), packet("2001:db8:2::5", "::1"), id="to, IPv6"
        ),
        pytest.param(Match(_BOTH, sources=(CLOUD,)), packet(), packet(from_="10.3.0.1"), id="from"),
        pytest.param(
            Match(frozenset((4,)), protocols=(Span(6, 6), Span(17, 17))),
            packet(protocol=17),
            packet(protocol=1),
            id="protocol",
        ),
        pytest.param(
            Match(_BOTH, destination_ports=(Span(22, 22), Span(8000, 8080))),
            packet(to_port=8080),
            packet(to_port=23, from_port=22),
            id="to_port",
        ),
        pytest.param(
            Match(_BOTH, source_ports=(Span(53, 53),)),
            packet(from_port=53),
            packet(to_port=53),
            id="from_port",
        ),
        pytest.param(
            Match(_BOTH, icmp_types=(Span(8, 8),), icmp_codes=(Span(0, 0),)),
            packet(icmp_type=8),
            packet(icmp_type=8, icmp_code=1),
            id="icmp",
        ),
        pytest.param(
            Match(_BOTH, tcp_flags=TcpFlags(0x02, 0x10)),
            packet(flags=0x42),
            packet(flags=0x12),
            id="SYN without ACK",
        ),
        pytest.param(
            Match(_BOTH, tcp_flags=TcpFlags(0, 0x11)),
            packet(flags=0x02),
            packet(flags=0x01),
            id="neither ACK nor FIN",
        ),
        pytest.param(
            Match(_BOTH, lengths=(Span(0, 128),)),
            packet(length=128),
            packet(length=129),
            id="length",
        ),
        pytest.param(
            Match(_BOTH, dscps=(Span(10, 12), Span(46, 46))),
            packet(dscp=46),
            packet(dscp=13),
            id="dscp",
        ),
        pytest.param(
            Match(_BOTH, fragments=(Fragment.NOT,)),
            packet(fragment=0x01),
            packet(fragment=0x04),
            id="not a fragment",
        ),
        pytest.param(
            Match(_BOTH, fragments=(Fragment.IS, Fragment.LAST)),
            packet(fragment=0x02),
            packet(fragment=0x04),
            id="is a fragment",
        ),
    ],
)
def test_a_rule_matches_what_it_says(match: Match, yes: Packet, no: Packet) -> None:
    assert passes(match, yes)
    assert not passes(match, no)


def test_every_flow_says_where_packets_go() -> None:
    """RFC 9117 section 4.1 a: without a destination a flow is not feasible by default."""
    for version in (4, 6):
        (flow,) = flows(Match(_BOTH, protocols=(Span(6, 6),)), version)
        assert flow[0].type == DESTINATION


def test_icmp_is_of_ipv4_and_icmp6_of_ipv6() -> None:
    match = Match(_BOTH, protocols=(Span(1, 1), Span(58, 58)))
    for version, number in ((4, 1), (6, 58)):
        (flow,) = flows(match, version)
        assert flow[1] == spans(PROTOCOL, [(number, number)])
    assert flows(Match(_BOTH, protocols=(Span(1, 1),)), 6) == ()


def test_prefixes_are_paired_within_a_version() -> None:
    match = Match(_BOTH, destinations=(HQ, CLOUD, HQ6), sources=(CLOUD, HQ))
    assert len(flows(match, 4)) == 4
    assert flows(match, 6) == ()
    assert flows(Match(frozenset((6,)), destinations=(HQ,)), 4) == ()
