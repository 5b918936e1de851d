"""Which flow a router looks at first (RFC 8955 section 5.1), and which packets two flows share."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.flowspec.draws import flows, matches, packets
from vpnctl.flowspec.components import (
    DESTINATION,
    DESTINATION_PORT,
    PORT,
    PROTOCOL,
    SOURCE,
    Flow,
    Prefix,
    Terms,
    encode_component,
    prefix,
    spans,
)
from vpnctl.flowspec.precedence import compare, looked_at, may_overlap


def to(text: str) -> Prefix:
    return prefix(DESTINATION, ip_network(text))


def by(text: str) -> Prefix:
    return prefix(SOURCE, ip_network(text))


def number(kind: int, *ranges: tuple[int, int]) -> Terms:
    return spans(kind, ranges)


TCP = number(PROTOCOL, (6, 6))

#: Flows in their order, the first one first.
ORDERS: dict[str, list[Flow]] = {
    "the longer of two prefixes, else the lower one": [
        (to("10.0.0.0/16"),),
        (to("10.0.0.0/15"),),
        (to("10.2.0.0/16"),),
        (to("192.0.2.0/24"),),
        (to("0.0.0.0/0"),),
    ],
    "who says more": [(to("10.0.0.0/8"), TCP), (to("10.0.0.0/8"),)],
    "the lower type": [
        (to("10.0.0.0/8"), by("10.0.0.0/8")),
        (to("10.0.0.0/8"), TCP),
        (to("10.0.0.0/8"), number(PORT, (22, 22))),
        (to("10.0.0.0/8"), number(DESTINATION_PORT, (22, 22))),
        (by("10.0.0.0/8"),),
        (TCP,),
    ],
    "operators and values octet by octet": [
        (number(PORT, (22, 22), (80, 80)),),
        (number(PORT, (22, 23)),),
        (number(PORT, (22, 22)),),
        (number(PORT, (80, 80)),),
        (number(PORT, (8080, 8080)),),
    ],
}


@pytest.mark.parametrize("flows_in_order", ORDERS.values(), ids=ORDERS.keys())
def test_the_order_of_rfc_8955(flows_in_order: list[Flow]) -> None:
    shuffled = [*flows_in_order[1:], flows_in_order[0]]
    assert sorted(shuffled, key=looked_at(4)) == flows_in_order


def reference(version: int, one: Flow, other: Flow) -> int:
    """The order as section 5.1 tells it, for flows without offsets."""
    for place in range(max(len(one), len(other))):
        if place == len(one):
            return 1
        if place == len(other):
            return -1
        mine, yours = one[place], other[place]
        if mine.type != yours.type:
            return -1 if mine.type < yours.type else 1
        if isinstance(mine, Prefix) and isinstance(yours, Prefix):
            bits = [
                "".join(f"{octet:08b}" for octet in each.pattern)[: each.bits]
                for each in (mine, yours)
            ]
            common = min(map(len, bits))
            if bits[0][:common] != bits[1][:common]:
                return -1 if bits[0] < bits[1] else 1
            if bits[0] != bits[1]:
                return -1 if len(bits[0]) > len(bits[1]) else 1
        else:
            octets = [encode_component(version, each) for each in (mine, yours)]
            common = min(map(len, octets))
            if octets[0][:common] != octets[1][:common]:
                return -1 if octets[0][:common] < octets[1][:common] else 1
            if octets[0] != octets[1]:
                return -1 if len(octets[0]) > len(octets[1]) else 1
    return 0


def sign(value: int) -> int:
    return (value > 0) - (value < 0)


@given(flows(4), flows(4))
def test_the_order_is_the_one_that_the_rfc_tells(one: Flow, other: Flow) -> None:
    assert sign(compare(4, one, other)) == reference(4, one, other)
    assert sign(compare(4, other, one)) == -reference(4, one, other)


def test_of_two_offsets_the_lower_one_goes_first() -> None:
    near, far = Prefix(DESTINATION, 64, 0, bytes(8)), Prefix(DESTINATION, 128, 64, bytes(8))
    assert compare(6, (near,), (far,)) < 0 < compare(6, (far,), (near,))


@given(st.data())
def test_flows_that_share_a_packet_overlap(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from((4, 6)))
    one, other = data.draw(flows(version)), data.draw(flows(version))
    packet = data.draw(packets(version))
    if matches(packet, one) and matches(packet, other):
        assert may_overlap(one, other)
        assert may_overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ((to("10.1.0.0/16"),), (to("10.1.2.0/24"),), True),
        ((to("10.1.0.0/16"),), (to("10.2.0.0/16"),), False),
        ((TCP,), (number(PROTOCOL, (17, 17)),), False),
        ((number(PORT, (1, 100)),), (number(PORT, (100, 200)),), True),
        ((number(PORT, (1, 100)),), (number(PORT, (101, 200)),), False),
        ((to("10.1.0.0/16"),), (TCP,), True),
    ],
)
def test_one_field_that_differs_is_enough(one: Flow, other: Flow, wanted: bool) -> None:
    assert may_overlap(one, other) is wanted
