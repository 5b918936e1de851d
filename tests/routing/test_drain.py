"""A PE that is drained (RFC 8326): its routes are there, but nobody's choice who has others."""

from __future__ import annotations

import struct

from tests.routing import wire
from tests.routing.consistency import check
from tests.routing.test_engine import NLRI, PE0, PE1, PE2, RT0, RT1, House, announce
from vpnctl.routing import inspect
from vpnctl.routing.communities import GRACEFUL_SHUTDOWN

COMMUNITIES, LOCAL_PREF, MED = 8, 5, 4
OWN = wire.attribute(0xC0, COMMUNITIES, b"\xfd\xe8\0\1")


def test_what_was_announced_and_what_comes_is_the_last_choice() -> None:
    house = House()
    house.say(PE0, announce(NLRI, more=OWN))
    house.hears(PE1), house.hears(PE2)
    house.engine.drain("pe0", True)
    [inside], [outside] = house.hears(PE1), house.hears(PE2)
    assert inside[COMMUNITIES] == b"\xfd\xe8\0\1" + GRACEFUL_SHUTDOWN
    assert inside[LOCAL_PREF] == bytes(4)
    assert outside[COMMUNITIES] == inside[COMMUNITIES]
    assert LOCAL_PREF not in outside.attributes
    later = wire.vpnv4(10, b"\x0a\x02\x00")
    house.say(PE0, announce(later))
    [update] = house.hears(PE1)
    assert (update.announced, update[COMMUNITIES]) == ([later], GRACEFUL_SHUTDOWN)
    check(house.engine)


def test_afterwards_every_route_is_as_it_was() -> None:
    house = House()
    house.engine.drain("pe0", True)
    # UPDATEs that differ in one value only take a short way.
    for number in range(6):
        med = wire.attribute(0x80, MED, struct.pack("!I", number))
        house.say(PE0, announce(wire.vpnv4(10, bytes((10, number))), more=med))
    assert all(u[COMMUNITIES] == GRACEFUL_SHUTDOWN for u in house.hears(PE1))
    house.engine.drain("pe0", False)
    told = house.hears(PE1)
    assert len(told) == 6
    assert all(COMMUNITIES not in update.attributes for update in told)
    assert {update[LOCAL_PREF] for update in told} == {struct.pack("!I", 100)}
    assert sorted(update[MED][-1] for update in told) == list(range(6))
    house.engine.drain("pe0", False)
    assert house.hears(PE1) == []


def test_a_drained_pe_gives_way_where_two_announce_the_same() -> None:
    house = House()
    # A route distinguisher that belongs to nobody, or its owner's route would go first.
    nlri = wire.vpnv4(7777, b"\x0a\x01\x00")
    house.say(PE0, announce(nlri, targets=(RT0,)))
    house.say(PE1, announce(nlri, targets=(RT1,)))
    house.hears(PE2)
    [row] = inspect.rib_out(house.engine, "pe2")
    house.engine.drain(row.path.peer, True)
    [now] = inspect.rib_out(house.engine, "pe2")
    assert now.path.peer != row.path.peer
    [told] = house.hears(PE2)
    assert told.announced == [nlri]
    assert COMMUNITIES not in told.attributes
    check(house.engine)


def test_the_next_session_of_a_drained_pe_is_drained() -> None:
    house = House()
    house.engine.session_down(PE0)
    house.engine.drain("pe0", True)
    house.up(wire.opened(9, "pe0"))
    house.say(9, announce(NLRI, more=wire.attribute(0xC0, COMMUNITIES, GRACEFUL_SHUTDOWN)))
    [told] = house.hears(PE1)
    assert told[COMMUNITIES] == GRACEFUL_SHUTDOWN
    assert house.engine.by_peer["pe0"].draining
