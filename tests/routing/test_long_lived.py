"""Long-lived graceful restart (RFC 9494): a PE away for hours is everybody's last choice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.routing import wire
from tests.routing.consistency import check
from tests.routing.test_engine import NLRI, PE0, PE1, PE2, RT0, RT1, House, announce
from tests.routing.test_restart import AGAIN, ALL, OTHER, end
from vpnctl.model import VPNV4, Family
from vpnctl.model.family import FLOW_VPN4, SESSION_FAMILIES
from vpnctl.routing import inspect
from vpnctl.routing.communities import GRACEFUL_SHUTDOWN, LLGR_STALE, NO_EXPORT, NO_LLGR, has
from vpnctl.routing.long_lived import LongLived, is_stale, keeps
from vpnctl.routing.session import Opened

COMMUNITIES, LOCAL_PREF = 8, 5
BOTH = LongLived(offered=True, understood=True)


def lasting(
    number: int = PE0,
    peer: str = "pe0",
    *,
    seconds: int = 60,
    preserved: frozenset[Family] = ALL,
    families: frozenset[Family] = ALL,
    **more: Any,
) -> Opened:
    """A session whose routes stay ``seconds`` for a restart, and an hour after that."""
    long_lived = replace(BOTH, times=dict.fromkeys(families, 3600), preserved=preserved)
    opened = wire.opened(number, peer, **more)
    return replace(
        opened, stale_time=seconds, restartable=ALL, preserved=ALL, long_lived=long_lived
    )


def house_with(pe1: LongLived = BOTH, pe2: LongLived = BOTH, **more: Any) -> House:
    house = House()
    for number in (PE0, PE1, PE2):
        house.engine.session_down(number)
    house.up(lasting(**more))
    house.up(replace(wire.opened(PE1, "pe1"), long_lived=pe1))
    house.up(replace(wire.opened(PE2, "pe2", asn=65002), long_lived=pe2))
    return house


def away(pe1: LongLived = BOTH, pe2: LongLived = BOTH) -> House:
    """pe0 announced two routes and has been away for longer than its restart may take."""
    house = house_with(pe1, pe2)
    house.say(PE0, announce(NLRI, OTHER))
    house.hears(PE1), house.hears(PE2)
    house.engine.session_down(PE0, restarting=True)
    assert house.hears(PE1) == house.hears(PE2) == []
    house.engine.stale_expired("pe0", PE0)
    return house


def told(house: House, number: int) -> tuple[list[bytes], list[bytes]]:
    """What a peer was told: announced, and withdrawn."""
    updates = house.hears(number)
    return (
        sorted(nlri for update in updates for nlri in update.announced),
        sorted(nlri for update in updates for nlri in update.withdrawn),
    )


def test_once_the_restart_takes_too_long_routes_are_marked_and_stay() -> None:
    house = away()
    [inside], [outside] = house.hears(PE1), house.hears(PE2)
    assert inside[COMMUNITIES] == outside[COMMUNITIES] == LLGR_STALE
    assert sorted(inside.announced) == sorted(outside.announced) == [NLRI, OTHER]
    rows = list(inspect.rib_in(house.engine, "pe0"))
    assert [row.status for row in rows] == ["long-lived stale: the PE is away; accepted"] * 2
    sent, lines = inspect.explain(house.engine, VPNV4, rows[0].key, "pe1")
    assert sent
    assert "long-lived stale" in lines[0]
    check(house.engine)


def test_they_go_when_their_time_is_over() -> None:
    house = away()
    house.hears(PE1)
    house.engine.outlived_expired("pe0", FLOW_VPN4)
    assert told(house, PE1) == ([], [])
    house.engine.outlived_expired("pe0", VPNV4)
    assert told(house, PE1) == ([], [NLRI, OTHER])
    assert house.engine.stale == {}
    check(house.engine)


def test_a_pe_that_is_back_takes_the_mark_off_what_it_announces_and_loses_the_rest() -> None:
    house = away()
    house.hears(PE1)
    house.up(lasting(AGAIN))
    assert told(house, PE1) == ([], [])
    house.say(AGAIN, announce(NLRI))
    [update] = house.hears(PE1)
    assert update.announced == [NLRI]
    assert COMMUNITIES not in update.attributes
    house.say(AGAIN, end(VPNV4))
    assert told(house, PE1) == ([], [OTHER])
    check(house.engine)


def test_a_pe_that_did_not_go_on_forwarding_loses_them_at_once() -> None:
    house = away()
    house.hears(PE1)
    house.up(lasting(AGAIN, preserved=frozenset()))
    assert told(house, PE1) == ([], [NLRI, OTHER])
    check(house.engine)


def test_a_pe_that_is_back_without_the_capability_loses_them_at_once() -> None:
    house = away()
    house.hears(PE1)
    back = replace(lasting(AGAIN), long_lived=LongLived(offered=True))
    house.up(back)
    assert told(house, PE1) == ([], [NLRI, OTHER])


def test_without_time_for_a_restart_they_are_marked_at_once() -> None:
    house = house_with(seconds=0)
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.engine.session_down(PE0, restarting=True)
    [update] = house.hears(PE1)
    assert update[COMMUNITIES] == LLGR_STALE
    check(house.engine)


def test_families_without_a_time_go_when_the_restart_takes_too_long() -> None:
    house = house_with(families=frozenset((SESSION_FAMILIES["evpn"],)))
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.engine.session_down(PE0, restarting=True)
    assert told(house, PE1) == ([], [])
    house.engine.stale_expired("pe0", PE0)
    assert told(house, PE1) == ([], [NLRI])
    assert house.engine.stale == {}


def test_a_session_that_ends_for_good_takes_them_along() -> None:
    house = house_with()
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.engine.session_down(PE0)
    assert told(house, PE1) == ([], [NLRI])


def test_lost_again_before_it_has_said_what_it_has() -> None:
    house = away()
    house.hears(PE1)
    house.up(lasting(AGAIN))
    house.say(AGAIN, announce(NLRI))
    house.hears(PE1)
    house.engine.session_down(AGAIN, restarting=True)
    # What it had announced anew has the time of a restart, the other one goes on as it was.
    assert told(house, PE1) == ([], [])
    assert sorted(path.outlived for path in house.engine.stale["pe0"].paths) == [False, True]
    house.engine.stale_expired("pe0", AGAIN)
    [update] = house.hears(PE1)
    assert (update.announced, update[COMMUNITIES]) == ([NLRI], LLGR_STALE)
    house.engine.outlived_expired("pe0", VPNV4)
    assert told(house, PE1) == ([], [NLRI, OTHER])
    check(house.engine)


def test_lost_again_after_their_time_was_over_nothing_stays() -> None:
    house = away()
    house.hears(PE1)
    house.up(lasting(AGAIN))
    house.say(AGAIN, announce(NLRI))
    house.hears(PE1)
    house.engine.outlived_expired("pe0", VPNV4)
    assert told(house, PE1) == ([], [OTHER])
    house.engine.session_down(AGAIN, restarting=True, spent=frozenset((VPNV4,)))
    assert told(house, PE1) == ([], [NLRI])
    assert house.engine.stale == {}


def test_a_route_that_asks_not_to_be_kept_goes() -> None:
    house = house_with()
    no_llgr = wire.attribute(0xC0, COMMUNITIES, b"\xfd\xe8\0\1" + NO_LLGR)
    house.say(PE0, announce(NLRI, more=no_llgr), announce(OTHER))
    house.hears(PE1)
    house.engine.session_down(PE0, restarting=True)
    house.engine.stale_expired("pe0", PE0)
    assert told(house, PE1) == ([OTHER], [NLRI])
    check(house.engine)


def test_flow_routes_are_not_kept() -> None:
    house = house_with()
    house.say(PE0, announce(NLRI))
    [path] = house.engine.by_peer["pe0"].paths.values()
    assert keeps(VPNV4, path.heard)
    assert not keeps(FLOW_VPN4, path.heard)


def test_who_does_not_know_the_mark_loses_the_route() -> None:
    house = away(pe1=LongLived(offered=True))
    assert told(house, PE1) == ([], [NLRI, OTHER])
    assert told(house, PE2) == ([NLRI, OTHER], [])
    # Nor is it told when it comes anew, or asks again.
    house.engine.session_down(PE1)
    assert [kind for kind, body in house.up(wire.opened(12, "pe1")) if NLRI in body] == []
    house.engine.refresh(12, VPNV4)
    assert told(house, 12) == ([], [])
    house.engine.session_down(12)
    house.up(replace(wire.opened(13, "pe1"), long_lived=BOTH))
    assert {row.status for row in inspect.rib_out(house.engine, "pe1")} == {"sent"}
    check(house.engine)


def test_who_does_not_know_the_mark_may_be_told_in_other_words() -> None:
    house = away(pe1=LongLived(offered=True, despite=True))
    [update] = house.hears(PE1)
    assert update[COMMUNITIES] == LLGR_STALE + NO_EXPORT
    assert update[LOCAL_PREF] == bytes(4)
    [update] = house.hears(PE2)
    assert update[COMMUNITIES] == LLGR_STALE


@pytest.mark.parametrize("pe0", [BOTH, LongLived()])
def test_what_a_pe_has_marked_is_the_last_choice_too(pe0: LongLived) -> None:
    house = house_with()
    house.up(replace(wire.opened(AGAIN, "pe0"), long_lived=pe0))
    # A route distinguisher that belongs to nobody, or its owner's route would go first.
    nlri = wire.vpnv4(7777, b"\x0a\x01\x00")
    stale = wire.attribute(0xC0, COMMUNITIES, LLGR_STALE)
    house.say(AGAIN, announce(nlri, targets=(RT0,), more=stale))
    house.say(PE1, announce(nlri, targets=(RT1,)))
    [row] = inspect.rib_out(house.engine, "pe2")
    # It means nothing on a session where we did not offer to know it (section 4.3).
    assert row.path.peer == ("pe1" if pe0.offered else "pe0")
    lines = inspect.explain(house.engine, VPNV4, row.key, "pe2")[1]
    assert any("long-lived stale (RFC 9494)" in line for line in lines) is pe0.offered
    check(house.engine)


def test_marks_that_come_and_go_within_a_stream_of_updates() -> None:
    house = house_with(pe1=LongLived(offered=True))
    others = (b"\xfd\xe8\0\1", LLGR_STALE, b"\xfd\xe8\0\2", LLGR_STALE, b"\xfd\xe8\0\3")
    nlris = [wire.vpnv4(10, bytes((10, item))) for item in range(10)]
    for item, nlri in enumerate(nlris):
        more = wire.attribute(0xC0, COMMUNITIES, others[item % 5])
        house.say(PE0, announce(nlri, more=more))
    assert told(house, PE1)[0] == [
        nlri for item, nlri in enumerate(nlris) if item % 5 not in (1, 3)
    ]
    assert told(house, PE2)[0] == nlris
    check(house.engine)


def test_a_drained_pe_that_goes_away_is_both() -> None:
    house = house_with()
    house.engine.drain("pe0", True)
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.engine.session_down(PE0, restarting=True)
    house.engine.stale_expired("pe0", PE0)
    [update] = house.hears(PE1)
    assert update[COMMUNITIES] == GRACEFUL_SHUTDOWN + LLGR_STALE
    house.engine.forget_stale("pe0")
    assert told(house, PE1) == ([], [NLRI])
    check(house.engine)


def test_a_community_is_found_where_communities_begin_and_nowhere_else() -> None:
    house = house_with()
    askew = b"\0\0\xff\xff" + b"\0\6\0\0"
    house.say(PE0, announce(NLRI, more=wire.attribute(0xC0, COMMUNITIES, askew + askew)))
    [path] = house.engine.by_peer["pe0"].paths.values()
    assert not has(path.attributes, LLGR_STALE)
    assert not is_stale(path.attributes)


def test_end_of_rib_waits_for_others_where_only_the_long_time_was_agreed_on() -> None:
    house = House()
    house.engine.session_down(PE0)
    house.engine.unsettled()
    assert house.up(lasting(AGAIN, seconds=0)) == []
    house.engine.settled()
    marks = [wire.decode(body) for kind, body in house.output.take(AGAIN) if kind == 2]
    assert len(marks) == len(ALL)
    assert all(mark.end_of_rib for mark in marks)
