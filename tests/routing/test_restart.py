"""Graceful restart (RFC 4724): routes of a PE that restarts stay, and those it lost go."""

from __future__ import annotations

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
    RT2,
    House,
    announce,
    withdraw,
)
from tests.support.rulesets import Policy, VpnIntent
from vpnctl.model import EVPN, FAMILIES, VPNV4, Family, Guard, Service
from vpnctl.routing import inspect
from vpnctl.routing.session import Opened

OTHER = wire.vpnv4(10, b"\x0a\x02\x00")
AGAIN = 11
ALL = frozenset(FAMILIES.values())


def restartable(
    number: int = PE0, preserved: frozenset[Family] = ALL, families: frozenset[Family] = ALL
) -> Opened:
    return replace(
        wire.opened(number, "pe0"), stale_time=60, restartable=families, preserved=preserved
    )


def lost() -> House:
    """pe0 announced two routes and is restarting now."""
    house = House()
    house.engine.session_down(PE0)
    house.up(restartable())
    house.say(PE0, announce(NLRI, OTHER))
    house.hears(PE1)
    house.hears(PE2)
    house.engine.session_down(PE0, restarting=True)
    return house


def end(family: Family) -> bytes:
    return wire.update(wire.unreach(family))


def test_nobody_notices_a_pe_that_comes_back_with_what_it_had() -> None:
    house = lost()
    assert house.hears(PE1) == house.hears(PE2) == []
    rows = list(inspect.rib_in(house.engine, "pe0"))
    assert [row.status for row in rows] == ["stale: the PE is restarting; accepted"] * 2
    sent, lines = inspect.explain(house.engine, VPNV4, rows[0].key, "pe1")
    assert sent
    assert lines[0] == "heard from pe0 with target 65000:1001 before it restarted"
    check(house.engine)
    house.up(restartable(AGAIN))
    house.say(AGAIN, announce(NLRI, OTHER), end(VPNV4))
    assert house.hears(PE1) == house.hears(PE2) == []
    assert len(list(inspect.rib_in(house.engine, "pe0"))) == 2
    assert not house.engine.sessions[AGAIN].stale
    check(house.engine)


def test_what_it_does_not_announce_again_goes_with_its_end_of_rib() -> None:
    house = lost()
    house.up(restartable(AGAIN))
    house.say(AGAIN, announce(NLRI))
    assert house.hears(PE1) == []
    house.say(AGAIN, end(EVPN))
    assert house.hears(PE1) == []
    house.say(AGAIN, end(VPNV4))
    assert [u.withdrawn for u in house.hears(PE1)] == [[OTHER]]
    check(house.engine)


def test_what_has_changed_is_told() -> None:
    house = lost()
    house.up(restartable(AGAIN))
    relabelled = wire.vpnv4(10, b"\x0a\x01\x00", label=99)
    house.say(AGAIN, announce(relabelled), announce(OTHER, more=wire.attribute(0x80, 4, bytes(4))))
    told = house.hears(PE1)
    assert [u.announced for u in told] == [[relabelled], [OTHER]]
    house.say(AGAIN, withdraw(NLRI))
    assert [u.withdrawn for u in house.hears(PE1)] == [[relabelled]]
    check(house.engine)


def test_a_pe_that_did_not_go_on_forwarding_loses_its_routes_at_once() -> None:
    house = lost()
    house.up(restartable(AGAIN, preserved=frozenset()))
    assert sorted(nlri for u in house.hears(PE1) for nlri in u.withdrawn) == [NLRI, OTHER]
    check(house.engine)


def test_families_that_it_does_not_restart_go_at_once() -> None:
    house = House()
    house.engine.session_down(PE0)
    house.up(restartable(families=frozenset((EVPN,))))
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.engine.session_down(PE0, restarting=True)
    assert [u.withdrawn for u in house.hears(PE1)] == [[NLRI]]
    assert house.engine.stale == {}


def test_a_session_that_ends_for_good_takes_its_routes_along() -> None:
    house = lost()
    house.up(restartable(AGAIN))
    house.engine.session_down(AGAIN)
    assert sorted(nlri for u in house.hears(PE1) for nlri in u.withdrawn) == [NLRI, OTHER]
    check(house.engine)


def test_lost_again_only_what_was_announced_anew_stays() -> None:
    house = lost()
    house.up(restartable(AGAIN))
    house.say(AGAIN, announce(NLRI))
    house.engine.session_down(AGAIN, restarting=True)
    assert [u.withdrawn for u in house.hears(PE1)] == [[OTHER]]
    check(house.engine)


def test_nobody_waits_for_ever() -> None:
    house = lost()
    house.engine.stale_expired("pe0", 99)
    assert house.hears(PE1) == []
    house.engine.stale_expired("pe0", PE0)
    assert sorted(nlri for u in house.hears(PE1) for nlri in u.withdrawn) == [NLRI, OTHER]
    # Back, but it never says that it is done.
    house = lost()
    house.up(restartable(AGAIN))
    house.say(AGAIN, announce(NLRI))
    house.engine.stale_expired("pe0", PE0)
    assert [u.withdrawn for u in house.hears(PE1)] == [[OTHER]]
    check(house.engine)


def test_stale_routes_obey_the_rules() -> None:
    house = lost()
    apart = {**POLICY.vpns, 1: VpnIntent(Service.L3VPN, (("pe0",), ("pe2",)))}
    house.apply(Policy(apart))
    assert sorted(nlri for u in house.hears(PE1) for nlri in u.withdrawn) == [NLRI, OTHER]
    check(house.engine)
    house.apply(POLICY)
    assert sorted(nlri for u in house.hears(PE1) for nlri in u.announced) == [NLRI, OTHER]
    assert not inspect.explain(house.engine, VPNV4, NLRI[4:], "pe0")[0]


def test_after_our_own_restart_end_of_rib_waits_for_what_others_have() -> None:
    house = House()
    for number in (PE0, PE1):
        house.engine.session_down(number)
    house.engine.unsettled()
    first = house.up(restartable())
    assert first == []
    house.up(replace(wire.opened(PE1, "pe1"), stale_time=60, restartable=ALL))
    house.say(PE1, announce(NLRI, targets=("65000:1011",)))
    assert [u.announced for u in house.hears(PE0)] == [[NLRI]]
    house.engine.settled()
    marks = [wire.decode(body) for kind, body in house.output.take(PE0) if kind == 2]
    assert len(marks) == 4
    assert all(mark.end_of_rib for mark in marks)
    house.engine.settled()
    assert house.output.take(PE0) == []


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ("announce 0", "announce 1", "withdraw 0", "withdraw 1", "lose", "end", "expire",
             "other", "other gone", "reset")
        ),
        max_size=25,
    ),
    st.booleans(),
)  # fmt: skip
def test_what_others_hold_follows_whatever_happens(steps: list[str], notified: bool) -> None:
    house = lost()
    house.engine.stale_expired("pe0", PE0)
    house.hears(PE1)
    held: set[bytes] = set()
    number, up, former = 20, False, 0
    nlris = [NLRI, OTHER]
    for step in steps:
        if not up and step not in ("expire", "other", "other gone"):
            number += 1
            house.up(replace(restartable(number), graceful_notification=notified))
            up = True
        match step.split():
            case ["announce", which]:
                house.say(number, announce(nlris[int(which)]))
            case ["withdraw", which]:
                house.say(number, withdraw(nlris[int(which)]))
            case ["lose"]:
                house.engine.session_down(number, restarting=True)
                up, former = False, number
            case ["reset"]:
                house.engine.session_down(number)
                up = False
            case ["end"]:
                house.say(number, end(VPNV4))
            case ["expire"]:
                house.engine.stale_expired("pe0", former)
            case ["other"]:
                house.say(PE2, announce(NLRI, targets=(RT2,), more=b""))
            case _:
                house.say(PE2, withdraw(NLRI))
        for update in house.hears(PE1):
            for nlri in update.withdrawn:
                held.discard(nlri)
            held.update(update.announced)
        check(house.engine)
        shown = {row.path.nlris[row.key] for row in inspect.rib_out(house.engine, "pe1")}
        assert held == shown


@pytest.mark.parametrize("notified", [True, False])
def test_lost_again_what_is_stale_stays_where_notifications_leave_routes(notified: bool) -> None:
    """RFC 8538 section 4.1, and otherwise RFC 4724 section 4.2."""
    house = lost()
    house.up(replace(restartable(AGAIN), graceful_notification=notified))
    house.say(AGAIN, announce(NLRI))
    house.engine.session_down(AGAIN, restarting=True)
    assert [u.withdrawn for u in house.hears(PE1)] == ([] if notified else [[OTHER]])
    check(house.engine)
    house.engine.stale_expired("pe0", AGAIN)
    gone = sorted(nlri for u in house.hears(PE1) for nlri in u.withdrawn)
    assert gone == ([NLRI, OTHER] if notified else [NLRI])
    assert house.engine.stale == {}
    check(house.engine)


def test_what_stays_twice_obeys_the_rules() -> None:
    house = lost()
    house.up(replace(restartable(AGAIN), graceful_notification=True))
    house.engine.session_down(AGAIN, restarting=True)
    apart = {**POLICY.vpns, 1: VpnIntent(Service.L3VPN, (("pe0",), ("pe2",)))}
    house.apply(Policy(apart))
    assert sorted(nlri for u in house.hears(PE1) for nlri in u.withdrawn) == [NLRI, OTHER]
    check(house.engine)


@pytest.mark.parametrize(
    ("guard", "stays"),
    [
        (Guard(routes={"vpnv4": 3}), True),
        (Guard(routes={"vpnv4": 2, "evpn": 9}), False),
        (Guard(paths=2), True),
        (Guard(paths=1), False),
        (Guard(memory=10_000), True),
        (Guard(memory=3_000), False),
    ],
    ids=str,
)
def test_what_several_sessions_leave_is_within_the_guard_of_one(guard: Guard, stays: bool) -> None:
    house = lost()
    house.up(replace(restartable(AGAIN), graceful_notification=True, guard=guard))
    new = wire.vpnv4(10, b"\x0a\x03\x00")
    house.say(AGAIN, announce(new, more=wire.attribute(0x80, 4, bytes(4))))
    house.hears(PE1)
    house.engine.session_down(AGAIN, restarting=True)
    gone = sorted(nlri for u in house.hears(PE1) for nlri in u.withdrawn)
    assert gone == ([] if stays else [NLRI, OTHER])
    check(house.engine)
