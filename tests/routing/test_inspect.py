"""What people are told of the engine's state."""

from __future__ import annotations

import pytest

from tests.routing import wire
from tests.routing.test_engine import NLRI, PE0, PE1, PE2, RT0, RT1, House, announce, rt, withdraw
from tests.support.rulesets import Policy, VpnIntent
from vpnctl.model import EVPN, VPLS, VPNV4, Family, Service
from vpnctl.routing import session
from vpnctl.routing.inspect import counts, explain, next_hop_text, rib_in, rib_out
from vpnctl.routing.nlri import from_text

KEY = from_text("65000:10:10.1.0.0/24")[1]


@pytest.fixture
def house() -> House:
    return House()


def test_rib_in(house: House) -> None:
    looping = wire.attribute(0x80, 10, wire.ROUTER_ID)
    prefixes = [wire.vpnv4(10, bytes((10, item))) for item in range(5)]
    house.say(
        PE0,
        announce(prefixes[0]),
        announce(prefixes[1], targets=(RT1,)),
        announce(prefixes[2], targets=(RT0, RT1)),
        wire.update(wire.reach(VPNV4, prefixes[3]), wire.BASIC),
        announce(prefixes[4], more=looping),
    )
    rows = list(rib_in(house.engine, "pe0"))
    assert [row.path.nlris[row.key] for row in rows] == prefixes
    assert [row.status for row in rows] == [
        "accepted",
        "refused: 65000:1011 is not exported by any endpoint at pe0",
        "accepted without 65000:1011, not exported by any endpoint at pe0",
        "no route target",
        "reflection loop: our cluster id is in the CLUSTER_LIST",
    ]
    assert rows[2].targets == (*rt(RT0), *rt(RT1))
    assert {row.next_hop for row in rows} == {"10.0.0.1"}
    assert list(rib_in(house.engine, "pe0", VPLS)) == []
    assert list(rib_in(house.engine, "nobody")) == []


def test_rib_out(house: House) -> None:
    house.say(PE0, announce(NLRI))
    [row] = rib_out(house.engine, "pe1")
    assert (row.family, row.key, row.targets, row.status) == (VPNV4, KEY, rt(RT1), "sent")
    assert row.path.peer == "pe0"
    assert list(rib_out(house.engine, "pe1", EVPN)) == []
    assert list(rib_out(house.engine, "pe0")) == []
    house.engine.session_down(PE1)
    assert list(rib_out(house.engine, "pe1")) == []


def test_what_an_adj_rib_out_waits_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.say(PE0, announce(NLRI, more=wire.attribute(0xC0, 99, bytes(4060))))
    assert [row.status for row in rib_out(house.engine, "pe1")] == [
        "withheld: the attributes are too long for this peer's messages"
    ]
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 0)
    house.say(PE0, announce(NLRI))
    assert [row.status for row in rib_out(house.engine, "pe1")] == [
        "waiting: the peer reads slowly"
    ]
    sent, lines = explain(house.engine, VPNV4, KEY, "pe1")
    assert not sent
    assert lines[-1] == "not sent to pe1: waiting: the peer reads slowly"
    house.up(wire.opened(9, "pe1"))
    assert [row.status for row in rib_out(house.engine, "pe1")] == [
        "waiting: the full table is being sent"
    ]


def test_counts_of_contested_and_refused_routes(house: House) -> None:
    house.say(PE0, announce(NLRI, wire.vpnv4(10, b"\x0b")))
    house.say(PE1, announce(NLRI, targets=(RT1,)))
    house.say(PE2, announce(wire.vpnv4(12, b"\x0a"), targets=(RT0, RT1)))
    found = counts(house.engine)
    assert [found.heard[pe, VPNV4] for pe in ("pe0", "pe1", "pe2")] == [2, 1, 1]
    assert [found.sent[pe, VPNV4] for pe in ("pe0", "pe1", "pe2")] == [1, 2, 2]
    assert found.refused == {("pe2", rt(RT0)[0]): 1, ("pe2", rt(RT1)[0]): 1}
    house.say(PE2, withdraw(wire.vpnv4(12, b"\x0a")))
    assert counts(house.engine).refused == {}
    house.engine.session_down(PE1)
    found = counts(house.engine)
    assert ("pe1", VPNV4) not in found.sent
    assert found.sent["pe0", VPNV4] == 0


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (bytes((10, 0, 0, 1)), "10.0.0.1"),
        (bytes(8) + bytes((10, 0, 0, 1)), "10.0.0.1"),
        (bytes.fromhex("20010db8" + "00" * 11 + "01"), "2001:db8::1"),
        (bytes(8) + bytes.fromhex("20010db8" + "00" * 11 + "01"), "2001:db8::1"),
        (
            bytes(8)
            + bytes.fromhex("20010db8" + "00" * 11 + "01")
            + bytes(8)
            + bytes.fromhex("fe80" + "00" * 13 + "01"),
            "2001:db8::1 fe80::1",
        ),
        (b"\1\2", "0102"),
    ],
)
def test_next_hops(octets: bytes, text: str) -> None:
    assert next_hop_text(octets) == text


# -- explain ---------------------------------------------------------------------------------------


def told(house: House, peer: str, family: Family = VPNV4, key: bytes = KEY) -> tuple[bool, str]:
    sent, lines = explain(house.engine, family, key, peer)
    return sent, "\n".join(lines)


def test_sent(house: House) -> None:
    house.say(PE0, announce(NLRI))
    assert explain(house.engine, VPNV4, KEY, "pe1") == (
        True,
        (
            "heard from pe0 with target 65000:1001",
            "65000:1001 is the export target of V1 at s0 (V1.yaml:3)",
            "V1 is a full mesh: s0 may be heard by s1, s2",
            "pe1 hosts V1 at s1, which imports 65000:1011 (V1.yaml:4)",
            "sent to pe1 with target 65000:1011 (was 65000:1001)",
        ),
    )


def test_nobody_announces_it(house: House) -> None:
    assert told(house, "pe1") == (
        False,
        "no PE announces 65000:10:10.1.0.0/24\n"
        "65000:10 is the route distinguisher of V1 at s0, pe0 (V1.yaml:3); its session is up",
    )
    house.engine.session_down(PE0)
    assert "its session is down" in told(house, "pe1")[1]
    house.up(wire.opened(9, "pe0", families=frozenset((VPLS,))))
    assert "did not negotiate vpnv4" in told(house, "pe1")[1]


def test_refused(house: House) -> None:
    house.say(PE0, announce(NLRI, targets=(RT1, "65000:9")))
    sent, text = told(house, "pe2")
    assert not sent
    assert (
        "65000:1011 is refused: no endpoint at pe0 exports it;"
        " it belongs to V1 at s1, pe1 (V1.yaml:4)"
    ) in text
    assert "65000:9 is refused: no endpoint at pe0 exports it; no endpoint anywhere" in text
    assert text.endswith("not sent to pe2")


def test_a_target_of_a_service_without_that_family(house: House) -> None:
    house.say(PE0, announce(NLRI, targets=("65000:2001",)))
    assert "V2 at s0 (V2.yaml:3), a vpls VPN, which has no vpnv4 routes" in told(house, "pe1")[1]


def test_loop_and_no_target(house: House) -> None:
    house.say(PE0, announce(NLRI, more=wire.attribute(0x80, 9, wire.ROUTER_ID)))
    assert "not used: reflection loop" in told(house, "pe1")[1]
    house.say(PE0, wire.update(wire.reach(VPNV4, NLRI), wire.BASIC))
    assert "without a route target it belongs to no VPN" in told(house, "pe1")[1]


def test_the_topology_forbids_it() -> None:
    spokes = VpnIntent(Service.L3VPN, (("pe1",), ("pe0",), ("pe2",)), "hub-and-spoke")
    house = House(Policy({1: spokes}))
    house.say(PE0, announce(NLRI, targets=("65000:1011",)))
    sent, text = told(house, "pe2")
    assert not sent
    assert "V1 is hub and spoke: s1 may be heard by s0" in text
    assert "pe2 hosts V1 at s2 (V1.yaml:5), which may not hear s1" in text
    assert told(house, "pe1")[0]


def test_the_peer_has_no_part_in_it(house: House) -> None:
    house.say(PE0, announce(NLRI))
    sent, text = told(house, "pe3")
    assert not sent
    assert "pe3 hosts no endpoint that may hear V1 at s0" in text


def test_it_is_the_peers_own(house: House) -> None:
    house.say(PE0, announce(NLRI))
    sent, text = told(house, "pe0")
    assert not sent
    assert text.endswith("a route does not go back to the PE that announced it")


def test_session_down_and_family_not_negotiated(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.engine.session_down(PE1)
    assert told(house, "pe1")[1].endswith("not sent to pe1: its session is down")
    house.up(wire.opened(9, "pe1", families=frozenset((EVPN,))))
    assert told(house, "pe1")[1].endswith("not sent to pe1: its session did not negotiate vpnv4")


def test_another_path_is_best(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.say(PE1, announce(NLRI, targets=(RT1,)))
    sent, text = told(house, "pe2")
    assert sent
    assert "the route of pe0 goes before that of pe1: its PE has the route distinguisher" in text
    key = from_text("65000:99:10.0.0.0/8")[1]
    nlri = wire.vpnv4(99, b"\x0a")
    house.say(PE0, announce(nlri))
    house.say(PE1, announce(nlri, targets=(RT1,)))
    _, text = told(house, "pe2", key=key)
    assert "the route of pe0 goes before that of pe1: a lower router id of the originator" in text


def test_an_extranet_is_named_with_its_vpn() -> None:
    sites = (("pe0",), ("pe1",))
    policy = Policy(
        {1: VpnIntent(Service.L3VPN, sites), 2: VpnIntent(Service.L3VPN, (("pe2",),))},
        frozenset({(1, 0, 2, 0)}),
    )
    house = House(policy)
    house.say(PE0, announce(NLRI))
    sent, text = told(house, "pe2")
    assert sent
    assert "s0 may be heard by V2/s0, s1" in text
    assert "pe2 hosts V2 at s0, which imports 65000:2001 (V2.yaml:3)" in text


def test_an_extranet_to_a_service_without_that_family() -> None:
    policy = Policy(
        {
            1: VpnIntent(Service.L3VPN, (("pe0",),)),
            2: VpnIntent(Service.EVPN, (("pe2",),)),
        },
        frozenset({(1, 0, 2, 0)}),
    )
    house = House(policy)
    house.say(PE0, announce(NLRI))
    sent, text = told(house, "pe2")
    assert not sent
    assert "pe2 hosts V2 at s0 (V2.yaml:3), a evpn VPN, which has no vpnv4 routes" in text
