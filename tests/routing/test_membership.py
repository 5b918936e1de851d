"""Route target constraint (RFC 4684): a PE is sent what it asks for, and nothing else changes."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.routing import wire
from tests.routing.consistency import check
from tests.routing.test_engine import (
    NLRI,
    PE0,
    PE1,
    PE2,
    POLICY,
    RT0,
    House,
    announce,
    rt,
    withdraw,
)
from tests.support.rulesets import Policy, VpnIntent
from vpnctl.model import EVPN, VPNV4, RouteTarget, Service
from vpnctl.model.family import RT_CONSTRAINT
from vpnctl.routing import inspect, membership
from vpnctl.routing.membership import Membership, split
from vpnctl.routing.nlri import NlriFramingError

#: What pe1 imports in VPN 1 and in VPN 2.
RT1, VPLS1 = "65000:1011", "65000:2011"
END = wire.message(bytes.fromhex("00000006800f03000184"))
_EVERYTHING = b"\x00"


def asked(target: str, bits: int = 96) -> bytes:
    octets = struct.pack("!I", 65000) + RouteTarget.parse(target).octets
    return bytes((bits,)) + octets[: (bits - bits % -8) // 8]


def ask(*nlris: bytes, path: bytes = b"") -> bytes:
    value = RT_CONSTRAINT.octets + b"\x04\x0a\0\0\x02\0" + b"".join(nlris)
    attributes = wire.ORIGIN, wire.attribute(0x40, 2, path), wire.LOCAL_PREF
    return wire.update(wire.attribute(0x80, 14, value), *attributes)


def unask(*nlris: bytes) -> bytes:
    return wire.update(wire.attribute(0x80, 15, RT_CONSTRAINT.octets + b"".join(nlris)))


def constrained() -> House:
    """pe1 has negotiated it; it has not said yet what it wants."""
    house = House()
    house.engine.session_down(PE1)
    house.say(PE0, announce(NLRI))
    house.hears(PE2)
    house.up(replace(wire.opened(PE1, "pe1"), rt_constraint=True, stale_time=60))
    return house


def bodies(house: House, number: int) -> list[bytes]:
    house.engine.written(number, house.engine.sessions[number].sent_octets)
    return [body for kind, body in house.output.take(number) if kind == 2]


def test_we_ask_for_everything_and_wait_for_what_the_peer_wants() -> None:
    house = House()
    house.engine.session_down(PE1)
    house.say(PE0, announce(NLRI))
    sent = house.up(replace(wire.opened(PE1, "pe1"), rt_constraint=True, stale_time=60))
    request, end = [body for _, body in sent]
    assert RT_CONSTRAINT.octets + b"\x04" in request
    assert end == END[19:]
    assert house.hears(PE1) == []
    house.say(PE1, ask(asked(RT1)), END)
    told = bodies(house, PE1)
    routes = [update for update in map(wire.decode, told) if not update.end_of_rib]
    assert [(update.announced, update.targets) for update in routes] == [([NLRI], rt(RT1))]
    assert sum(wire.decode(body).end_of_rib for body in told) == 4
    check(house.engine)


def test_an_external_peer_sees_our_as_in_what_we_ask() -> None:
    house = House()
    house.engine.session_down(PE2)
    sent = house.up(
        replace(wire.opened(PE2, "pe2", asn=65002, asn4=False), rt_constraint=True, stale_time=60)
    )
    assert wire.attribute(0x40, 2, wire.as_path(wire.LOCAL_ASN, width=2)) in sent[0][1]


def test_routes_come_and_go_with_what_is_asked() -> None:
    house = constrained()
    house.say(PE1, END)
    assert house.hears(PE1) == []
    house.say(PE1, ask(asked(VPLS1)))
    assert house.hears(PE1) == []
    house.say(PE1, ask(asked(RT1)))
    assert [u.announced for u in house.hears(PE1)] == [[NLRI]]
    house.say(PE1, unask(asked(RT1)))
    assert [u.withdrawn for u in house.hears(PE1)] == [[NLRI]]
    # What is not asked for does not come, whatever happens to it.
    house.say(PE0, withdraw(NLRI), announce(NLRI))
    assert house.hears(PE1) == []
    assert len(house.hears(PE2)) > 0
    check(house.engine)


@pytest.mark.parametrize(
    "nlri", [_EVERYTHING, b"\x20" + struct.pack("!I", 65009), asked(RT1, 48), asked(RT1, 93)]
)
def test_a_prefix_asks_for_all_targets_within(nlri: bytes) -> None:
    house = constrained()
    house.say(PE1, ask(nlri), END)
    assert [u.announced for u in house.hears(PE1)] == [[NLRI]]


def test_asking_again_and_again_is_answered_with_silence() -> None:
    """Two speakers that answer each other's memberships with their own never come to rest."""
    house = constrained()
    house.say(PE1, ask(asked(RT1)), END)
    house.output.sent.clear()
    for _ in range(100):
        house.say(PE1, ask(asked(RT1)), ask(asked(RT1), asked(RT1)), END)
    assert house.output.sent == {}


def test_our_own_request_come_back_asks_for_nothing() -> None:
    house = constrained()
    house.say(PE1, END, ask(_EVERYTHING, path=wire.as_path(65009, wire.LOCAL_ASN)))
    assert house.hears(PE1) == []
    assert "AS loop" in house.engine.sessions[PE1].last_error


def test_a_peer_that_says_nothing_is_not_waited_for_forever() -> None:
    house = constrained()
    house.say(PE1, ask(asked(RT1)))
    assert house.output.updates(PE1) == []
    house.engine.interest_known(PE1)
    assert [u.announced for u in house.hears(PE1)] == [[NLRI]]
    house.engine.interest_known(PE1)
    house.say(PE1, END)
    house.engine.interest_known(999)
    assert house.hears(PE1) == []


def test_the_next_session_is_what_it_negotiates() -> None:
    house = constrained()
    house.say(PE1, END)
    house.engine.session_down(PE1)
    check(house.engine)
    sent = house.up(wire.opened(PE1, "pe1"))
    assert any(NLRI in body for _, body in sent)


def test_a_peer_that_sends_no_end_of_rib_is_not_waited_for() -> None:
    house = House()
    house.engine.session_down(PE1)
    house.say(PE0, announce(NLRI))
    house.up(replace(wire.opened(PE1, "pe1"), rt_constraint=True))
    house.say(PE1, ask(asked(RT1)))
    assert [u.announced for u in house.hears(PE1)] == [[NLRI]]


def test_a_changed_rule_is_told_to_those_who_asked() -> None:
    house = constrained()
    house.say(PE1, ask(asked("65000:1011")), END)
    house.hears(PE1)
    wider = Policy({**POLICY.vpns, 3: VpnIntent(Service.L3VPN, (("pe0",), ("pe1",)))})
    house.apply(wider)
    house.say(PE0, announce(wire.vpnv4(30, b"\x0a"), targets=("65000:3001",)))
    assert house.hears(PE1) == []
    house.say(PE1, ask(asked("65000:3011")))
    assert [u.announced for u in house.hears(PE1)] == [[wire.vpnv4(30, b"\x0a")]]
    check(house.engine)


def test_a_refresh_of_what_we_ask_is_answered() -> None:
    house = constrained()
    house.output.take(PE1)
    house.engine.refresh(PE1, RT_CONSTRAINT)
    assert len(house.output.take(PE1)) == 2
    house.engine.refresh(PE2, RT_CONSTRAINT)
    assert house.output.take(PE2) == []


def test_membership_that_was_not_negotiated_is_complained_about() -> None:
    house = House()
    house.say(PE1, ask(asked(RT1)))
    assert "not negotiated" in house.engine.sessions[PE1].last_error
    assert house.output.resets == []


def test_explain_tells_who_did_not_ask() -> None:
    house = constrained()
    house.say(PE1, END)
    [row] = inspect.rib_in(house.engine, "pe0")
    sent, lines = inspect.explain(house.engine, VPNV4, row.key, "pe1")
    assert not sent
    assert lines[-1] == "not sent to pe1: it did not ask for target 65000:1011 (RFC 4684)"
    assert list(inspect.rib_out(house.engine, "pe1")) == []


@pytest.mark.parametrize("field", [b"\x10\0\0", b"\x61" + bytes(13), b"\x60" + bytes(11)])
def test_what_is_no_membership_ends_the_session(field: bytes) -> None:
    house = constrained()
    house.say(PE1, ask(field))
    assert [reset[1:3] for reset in house.output.resets] == [(3, 10)]
    with pytest.raises(NlriFramingError):
        split(field)


def test_more_than_anybody_needs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "MOST", 3)
    house = constrained()
    house.say(PE1, ask(*(asked(f"65000:{number}") for number in range(4))))
    assert [reset[1:3] for reset in house.output.resets] == [(6, 8)]


def test_ethernet_segments_are_sent_unasked() -> None:
    wanted = Membership()
    assert wanted.wants([bytes.fromhex("0602000000000001")])


_TARGETS = [f"65000:{number}" for number in (1, 2, 3, 258, 65793)]


@given(
    st.lists(st.tuples(st.sampled_from(_TARGETS), st.integers(32, 96), st.booleans()), max_size=8)
)
def test_wanted_is_what_some_prefix_covers(steps: list[tuple[str, int, bool]]) -> None:
    found, there = Membership(), set()
    for target, bits, gone in steps:
        nlri = asked(target, bits)
        number = int.from_bytes(RouteTarget.parse(target).octets, "big") >> 96 - bits
        if gone:
            found.discard(nlri)
            there.discard((bits, number))
        else:
            found.add(nlri)
            there.add((bits, number))
    for target in _TARGETS:
        value = int.from_bytes(RouteTarget.parse(target).octets, "big")
        wanted = any(value >> 96 - bits == number for bits, number in there)
        assert found.wants([RouteTarget.parse(target).octets]) == wanted
    assert len(found) == len(there)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.sampled_from((RT1, VPLS1, "65000:3011"))),
            st.tuples(st.just("unask"), st.sampled_from((RT1, VPLS1, "65000:3011"))),
            st.tuples(st.just("announce"), st.integers(0, 3)),
            st.tuples(st.just("withdraw"), st.integers(0, 3)),
            st.tuples(st.just("apply"), st.booleans()),
        ),
        max_size=30,
    )
)
def test_what_a_peer_holds_follows_from_rules_and_wishes(steps: list[tuple[str, object]]) -> None:
    house = constrained()
    house.say(PE1, END)
    held: dict[bytes, tuple[bytes, ...]] = {}
    third = VpnIntent(Service.EVPN, (("pe0",), ("pe1",)))
    for step, what in steps:
        match step, what:
            case "ask", str():
                house.say(PE1, ask(asked(what)))
            case "unask", str():
                house.say(PE1, unask(asked(what)))
            case "announce", int():
                house.say(PE0, announce(wire.vpnv4(10, bytes((10, what))), targets=(RT0,)))
            case "withdraw", int():
                house.say(PE0, withdraw(wire.vpnv4(10, bytes((10, what)))))
            case "apply", bool():
                more = {3: third} if what else {}
                house.apply(Policy({**POLICY.vpns, **more}))
                reach = wire.reach(EVPN, wire.evpn_multicast(30, b"\x0a\0\0\1"))
                house.say(PE0, wire.update(reach, wire.BASIC, wire.targets("65000:3001")))
        for update in house.hears(PE1):
            for nlri in update.withdrawn:
                del held[nlri]
            held.update(dict.fromkeys(update.announced, update.targets))
        check(house.engine)
    shown = {row.path.nlris[row.key]: row.targets for row in inspect.rib_out(house.engine, "pe1")}
    assert held == shown
