"""What a session may cost and where its routes may lead, and what happens beyond."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing import wire
from tests.routing.consistency import check
from tests.routing.test_engine import PE0, PE1, PE2, RT0, RT2, House, announce, withdraw
from vpnctl.model import VPNV4, Beyond, Guard
from vpnctl.routing import inspect
from vpnctl.routing.engine import Engine
from vpnctl.routing.guard import check_next_hop
from vpnctl.routing.rewrite import compile_rules

FOREVER = Guard()


def nlri(number: int) -> bytes:
    return wire.vpnv4(10, b"\x0a" + struct.pack("!H", number))


def med(value: int) -> bytes:
    return wire.attribute(0x80, 4, struct.pack("!I", value))


def guarded(guard: Guard, *, refresh: bool = True) -> House:
    """pe0 is guarded so; the others are not."""
    house = House()
    house.engine.session_down(PE0)
    house.up(replace(wire.opened(PE0, "pe0"), guard=guard, refresh=refresh))
    for number in (PE1, PE2):
        house.output.take(number)
    return house


def held(house: House) -> int:
    return sum(1 for _ in inspect.rib_in(house.engine, "pe0"))


def test_a_warning_comes_once_and_before_the_limit() -> None:
    house = guarded(Guard(routes={"vpnv4": 10}, warn=50, beyond=Beyond.WARN))
    for number in range(5):
        house.say(PE0, announce(nlri(number)))
    assert house.output.warnings == []
    house.say(PE0, announce(nlri(5)))
    assert house.output.warnings == [(PE0, "5 vpnv4 routes of at most 10 (guard.warn)")]
    house.say(PE0, announce(*map(nlri, range(6, 30))))
    assert house.output.warnings[1:] == [
        (PE0, "more than 10 vpnv4 routes (guard.routes): taken in")
    ]
    assert held(house) == 30


def test_what_is_too_much_is_refused_and_the_rest_stays() -> None:
    house = guarded(Guard(routes={"vpnv4": 10}, beyond=Beyond.REFUSE))
    house.say(PE0, announce(*map(nlri, range(25))))
    assert held(house) == 10
    assert house.engine.sessions[PE0].ledger.accounts[VPNV4.octets].refused == 15
    [told] = house.hears(PE1)
    assert len(told.announced) == 10
    # A route that is there may change, and one that goes makes room for another.
    house.say(PE0, announce(nlri(0), more=med(7)), withdraw(nlri(1)), announce(nlri(20)))
    assert held(house) == 10
    told = house.hears(PE1)
    assert {octets for each in told for octets in each.announced} == {nlri(0), nlri(20)}
    assert [octets for each in told for octets in each.withdrawn] == [nlri(1)]
    check(house.engine)


def test_a_shutdown_takes_the_routes_along_and_says_why() -> None:
    house = guarded(Guard(routes={"vpnv4": 10}))
    house.say(PE0, announce(*map(nlri, range(10))))
    assert house.output.resets == []
    house.say(PE0, announce(nlri(10)))
    assert house.output.resets == [(PE0, 6, 1, "more than 10 vpnv4 routes (guard.routes)")]
    told = house.hears(PE1)
    assert len(told[-1].withdrawn) == 10
    assert not house.engine.groups


def test_a_limit_is_of_one_family() -> None:
    house = guarded(Guard(routes={"evpn": 1}))
    house.say(PE0, announce(*map(nlri, range(100))))
    assert held(house) == 100
    assert house.output.resets == []


@pytest.mark.parametrize("beyond", list(Beyond))
def test_different_attributes_are_limited(beyond: Beyond) -> None:
    house = guarded(Guard(paths=3, beyond=beyond))
    for number in range(6):
        house.say(PE0, announce(nlri(number), more=med(number)))
    if beyond is Beyond.SHUTDOWN:
        assert house.output.resets == [(PE0, 6, 8, "more than 3 sets of attributes (guard.paths)")]
        return
    assert held(house) == (6 if beyond is Beyond.WARN else 3)
    assert len(house.output.warnings) == 1
    # Attributes that no route has any more make room.
    for number in range(6):
        house.say(PE0, withdraw(nlri(number)))
    house.say(PE0, announce(nlri(9), more=med(9)))
    assert held(house) == 1
    assert house.engine.sessions[PE0].ledger.paths == 1


def test_memory_is_limited_for_long_attributes_as_for_many_routes() -> None:
    house = guarded(Guard(memory=64 << 10))
    text = wire.attribute(0xC0, 32, bytes(range(12)) * 80)
    for number in range(100):
        house.say(PE0, announce(nlri(number), more=text + med(number)))
        if house.output.resets:
            break
    assert house.output.resets == [(PE0, 6, 8, "its routes take more than 0 MiB (guard.memory)")]
    assert 10 < number < 40

    house = guarded(Guard(memory=4 << 20))
    for at in range(0, 60_000, 500):
        house.say(PE0, announce(*map(nlri, range(at, at + 500))))
        if house.output.resets:
            break
    assert [reset[1:3] for reset in house.output.resets] == [(6, 8)]
    assert 4 << 20 < at * 350 < 8 << 20


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3), st.booleans()), max_size=60))
def test_the_count_is_that_of_the_routes(steps: list[tuple[int, int, bool]]) -> None:
    house = guarded(Guard(routes={"vpnv4": 5}, paths=3, beyond=Beyond.REFUSE))
    # Another PE announces some of them, too: they are contested.
    house.say(PE2, *(announce(nlri(n), targets=(RT2,)) for n in range(0, 7, 2)))
    for number, value, gone in steps:
        house.say(PE0, withdraw(nlri(number)) if gone else announce(nlri(number), more=med(value)))
    session = house.engine.sessions[PE0]
    assert session.ledger.accounts[VPNV4.octets].routes == held(house) <= 5
    assert session.ledger.paths == len(session.paths) <= 3
    if not session.paths:
        assert session.ledger.octets == 0
    check(house.engine)


@pytest.mark.parametrize("next_hop", ["0.0.0.0", "224.0.0.5"])
def test_a_next_hop_is_a_hosts_address(next_hop: str) -> None:
    house = guarded(FOREVER)
    house.say(PE0, _with_next_hop(next_hop))
    assert held(house) == 0
    assert "is no host's address" in house.engine.sessions[PE0].last_error


def _with_next_hop(text: str) -> bytes:
    octets = bytes(8) + bytes(map(int, text.split(".")))
    reach = wire.reach(VPNV4, nlri(1), next_hop=octets)
    return wire.update(reach, wire.BASIC, wire.targets(RT0))


def test_next_hops_are_of_the_networks_allowed() -> None:
    guard = Guard(next_hops=(ip_network("10.0.0.1/32"), ip_network("10.9.0.0/16")))
    house = guarded(guard)
    house.say(PE0, _with_next_hop("10.9.3.3"))
    assert held(house) == 1
    # The same route with a next hop of elsewhere: it counts as withdrawn.
    house.say(PE0, _with_next_hop("10.8.3.3"))
    assert held(house) == 0
    told = house.hears(PE1)
    assert (told[0].announced, told[1].withdrawn) == ([nlri(1)], [nlri(1)])
    check_next_hop(bytes(10) + b"\xff\xff" + bytes((10, 9, 0, 1)), guard.next_hops)
    check_next_hop(bytes(18) + b"\xff\xff" + bytes((10, 9, 0, 1)), guard.next_hops)


def test_an_as_path_is_not_too_long_and_begins_with_its_sender() -> None:
    def path(*numbers: int) -> bytes:
        parts = wire.ORIGIN, wire.attribute(0x40, 2, wire.as_path(*numbers)), wire.targets(RT2)
        return wire.update(wire.reach(VPNV4, nlri(1)), *parts)

    house = House()
    house.engine.session_down(PE2)
    house.up(replace(wire.opened(PE2, "pe2", asn=65002), guard=Guard(as_path=3, first_as=True)))
    session = house.engine.sessions[PE2]
    house.say(PE2, path(65002, 65002, 65002))
    assert session.ledger.paths == 1
    house.say(PE2, path(65002, 65002, 65002, 1))
    assert session.ledger.paths == 0
    assert "at most 3 are allowed" in session.last_error
    house.say(PE2, path(65003))
    assert session.ledger.paths == 0
    assert "begins with AS 65003, not with the peer's 65002" in session.last_error


def test_another_guard_takes_back_what_it_forbids_and_asks_for_what_it_allows() -> None:
    house = guarded(Guard(routes={"vpnv4": 2}, beyond=Beyond.REFUSE))
    house.say(PE0, announce(*map(nlri, range(5))))
    assert held(house) == 2
    house.output.take(PE0)
    house.engine.regard("pe0", Guard(routes={"vpnv4": 9}))
    asked = [body for kind, body in house.output.take(PE0) if kind == 5]
    assert VPNV4.octets[:2] + b"\0" + VPNV4.octets[2:] in asked
    house.say(PE0, announce(*map(nlri, range(5))))
    assert held(house) == 5

    house.hears(PE1)
    house.engine.regard("pe0", Guard(next_hops=(ip_network("192.0.2.77/32"),)))
    assert held(house) == 0
    [gone] = house.hears(PE1)
    assert len(gone.withdrawn) == 5
    house.engine.regard("pe9", Guard())


def test_a_peer_that_cannot_be_asked_is_not_asked() -> None:
    house = guarded(Guard(routes={"vpnv4": 2}, beyond=Beyond.REFUSE), refresh=False)
    house.say(PE0, announce(*map(nlri, range(5))))
    house.output.take(PE0)
    house.engine.regard("pe0", FOREVER)
    assert house.output.take(PE0) == []


def test_explain_tells_of_routes_that_were_too_many() -> None:
    house = guarded(Guard(routes={"vpnv4": 1}, beyond=Beyond.REFUSE))
    rd = next(e.rd for e in house.ruleset.endpoints() if e.pe == "pe0")
    both = [bytes((112,)) + b"\0\1\1" + rd.octets + bytes((10, 1, at)) for at in range(2)]
    house.say(PE0, announce(*both))
    sent, lines = inspect.explain(house.engine, VPNV4, bytes((24,)) + both[1][4:], "pe1")
    assert not sent
    assert any("1 of its routes were too many" in line for line in lines)


def test_guard_is_kept_by_the_next_session() -> None:
    house = guarded(Guard(routes={"vpnv4": 1}))
    engine = Engine(compile_rules(house.ruleset).rules, house.output)
    engine.session_up(replace(wire.opened(PE0, "pe0"), guard=Guard(routes={"vpnv4": 1})))
    engine.updates(PE0, announce(nlri(0)) + announce(nlri(1)))
    assert house.output.resets[-1][1:3] == (6, 1)
