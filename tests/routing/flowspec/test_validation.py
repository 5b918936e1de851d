"""Feasible flow routes, rule by rule of RFC 9117 section 4.1."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.flowspec.components import DESTINATION, PROTOCOL, Flow, Prefix, prefix, spans
from vpnctl.routing.flowspec.validation import Speaker, Unicast, UnicastTable, infeasible

TO: Flow = (prefix(DESTINATION, ip_network("10.1.0.0/16")),)
ME, TWIN, OTHER = (bytes((10, 0, 0, number)) for number in (1, 2, 3))
SITE = frozenset(("me", "twin"))
INSIDE, OUTSIDE = Speaker("me", ME, 0, SITE), Speaker("me", ME, 65002, SITE)


def route(
    text: str, peer: str = "me", originator: bytes | None = None, neighbor_as: int = 0
) -> Unicast:
    network = ip_network(text)
    value = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
    known = {"me": ME, "twin": TWIN, "other": OTHER}[peer]
    return Unicast(network.prefixlen, value, peer, originator or known, neighbor_as)


@pytest.mark.parametrize(
    ("flow", "speaker", "unicast", "why"),
    [
        pytest.param(
            (spans(PROTOCOL, [(6, 6)]),), INSIDE, [], "no destination (a)", id="no destination"
        ),
        pytest.param((Prefix(DESTINATION, 64, 32, bytes(4)),), INSIDE, [], "(a)", id="an offset"),
        pytest.param(TO, INSIDE, [], "no unicast route", id="no route"),
        pytest.param(TO, INSIDE, [route("10.2.0.0/16")], "no unicast route", id="elsewhere"),
        pytest.param(TO, INSIDE, [route("10.0.0.0/8")], "", id="my route"),
        pytest.param(TO, INSIDE, [route("10.0.0.0/8", "other")], "is that of other (b)",
                     id="another's route"),
        pytest.param(TO, INSIDE, [route("10.0.0.0/8", originator=OTHER)], "another originator (b)",
                     id="a route that I pass on"),
        pytest.param(TO, INSIDE, [route("10.0.0.0/8"), route("10.0.0.0/8", "other")],
                     "is that of other (b)", id="a route of both"),
        pytest.param(TO, INSIDE, [route("10.0.0.0/8"), route("10.0.0.0/8", "twin")], "",
                     id="a site with two PEs"),
        pytest.param(TO, INSIDE, [route("10.0.0.0/8", "twin")], "another originator (b)",
                     id="the other PE's alone"),
        pytest.param(TO, INSIDE, [route("10.0.0.0/8", "other"), route("10.1.0.0/16")], "",
                     id="the longest prefix counts"),
        pytest.param(TO, INSIDE, [route("10.1.0.0/16"), route("10.1.7.0/24", "other")],
                     "other announces a part", id="a part is another's"),
        pytest.param(TO, INSIDE, [route("10.1.0.0/16"), route("10.1.7.0/24", "twin")], "",
                     id="a part is the other PE's"),
        pytest.param(TO, INSIDE, [route("10.1.0.0/16"), route("10.1.7.0/24", neighbor_as=64513)],
                     "AS 64513 announces a part", id="a part is of another AS"),
        pytest.param(TO, INSIDE, [route("10.1.0.0/16"), route("10.2.7.0/24", "other")], "",
                     id="others may be elsewhere"),
        pytest.param(TO, OUTSIDE, [route("10.1.0.0/16", neighbor_as=65003)], "section 4.2",
                     id="another neighbour"),
        pytest.param(TO, OUTSIDE, [route("10.1.0.0/16", neighbor_as=65002)], "", id="from outside"),
    ],
)  # fmt: skip
def test_rule_by_rule(flow: Flow, speaker: Speaker, unicast: list[Unicast], why: str) -> None:
    found = infeasible(flow, speaker, UnicastTable(4, unicast))
    assert why in found
    assert bool(found) is bool(why)


_PREFIXES = st.builds(
    lambda value, bits: IPv6Network((value << 119, bits), strict=False),
    st.integers(0, 511),
    st.integers(0, 9),
)


@given(st.lists(st.tuples(_PREFIXES, st.sampled_from(("me", "twin", "other")))), _PREFIXES)
def test_a_table_finds_what_comparing_each_route_does(
    announced: list[tuple[IPv6Network, str]], to: IPv6Network
) -> None:
    table = UnicastTable(6, [route(str(network), peer) for network, peer in announced])
    bits, value = to.prefixlen, int(to.network_address) >> (128 - to.prefixlen)
    above = [(one, peer) for one, peer in announced if to.subnet_of(one)]
    longest = max((one.prefixlen for one, _ in above), default=None)
    expected = sorted(route(str(one), peer) for one, peer in above if one.prefixlen == longest)
    assert sorted(table.covering(bits, value)) == expected
    below = [(one, peer) for one, peer in announced if one != to and one.subnet_of(to)]
    assert sorted(table.within(bits, value)) == sorted(route(str(one), p) for one, p in below)
