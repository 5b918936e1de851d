"""A peer sends its routes again, between two marks (RFC 7313)."""

from __future__ import annotations

import pytest

from tests.routing import wire
from tests.routing.consistency import check
from tests.routing.test_engine import PE0, PE1, RT0, House
from vpnctl.model import VPNV4

FIRST, SECOND = wire.vpnv4(10, b"\x0a\x01\x00"), wire.vpnv4(10, b"\x0a\x02\x00")


def announced(*nlris: bytes, med: bytes = b"") -> bytes:
    return wire.update(wire.reach(VPNV4, *nlris), wire.BASIC, med, wire.targets(RT0))


@pytest.fixture
def house() -> House:
    house = House()
    house.say(PE0, announced(FIRST, SECOND), wire.update(wire.unreach(VPNV4)))
    assert {nlri for each in house.hears(PE1) for nlri in each.announced}
    return house


def routes_of(house: House, peer: str) -> int:
    session = house.engine.by_peer[peer]
    return sum(account.routes for account in session.ledger.accounts.values())


def test_what_is_not_sent_again_is_gone(house: House) -> None:
    house.engine.refresh_begins(PE0, VPNV4)
    house.say(PE0, announced(FIRST))
    assert house.hears(PE1) == [], "nobody is told of what is as it was"
    house.engine.refresh_ends(PE0, VPNV4)
    (told,) = house.hears(PE1)
    assert len(told.withdrawn) == 1
    check(house.engine)
    assert routes_of(house, "pe0") == 1


def test_what_is_sent_otherwise_is_told(house: House) -> None:
    house.engine.refresh_begins(PE0, VPNV4)
    house.say(PE0, announced(FIRST, SECOND, med=wire.attribute(0x80, 4, bytes(4))))
    (told,) = house.hears(PE1)
    assert len(told.announced) == 2
    house.engine.refresh_ends(PE0, VPNV4)
    assert house.hears(PE1) == []
    check(house.engine)
    assert routes_of(house, "pe0") == 2


def test_a_withdrawal_meanwhile_counts_once(house: House) -> None:
    house.engine.refresh_begins(PE0, VPNV4)
    house.say(PE0, wire.update(wire.unreach(VPNV4, FIRST)), announced(SECOND))
    (told,) = house.hears(PE1)
    assert len(told.withdrawn) == 1
    house.engine.refresh_ends(PE0, VPNV4)
    assert house.hears(PE1) == []
    check(house.engine)
    assert routes_of(house, "pe0") == 1


def test_a_second_beginning_begins_anew_and_an_end_alone_is_nothing(house: House) -> None:
    house.engine.refresh_ends(PE0, VPNV4)
    assert house.hears(PE1) == []
    house.engine.refresh_begins(PE0, VPNV4)
    house.say(PE0, announced(FIRST, SECOND))
    house.engine.refresh_begins(PE0, VPNV4)
    house.say(PE0, announced(SECOND))
    house.engine.refresh_ends(PE0, VPNV4)
    (told,) = house.hears(PE1)
    assert len(told.withdrawn) == 1
    check(house.engine)


def test_a_session_that_ends_meanwhile_leaves_nothing(house: House) -> None:
    house.engine.refresh_begins(PE0, VPNV4)
    house.say(PE0, announced(FIRST))
    house.engine.session_down(PE0)
    assert sum(len(each.withdrawn) for each in house.hears(PE1)) == 2
    check(house.engine)
    house.engine.refresh_ends(PE0, VPNV4)
