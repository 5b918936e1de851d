"""How long routes stay of PEs that are away: the timers around the engine."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.controller.stage import until
from tests.routing.test_engine import NLRI, PE0, PE1, announce
from tests.routing.test_long_lived import house_with, lasting, told
from tests.routing.test_restart import AGAIN, OTHER, end
from vpnctl.controller.restarts import SAYING_TIME, Restarts, time_to_say
from vpnctl.model import FAMILIES, VPNV4, Listen, Pe
from vpnctl.routing.session import Opened

pytestmark = pytest.mark.anyio

LONG = 3600


def timed(number: int, restart: int, long_lived: float) -> Opened:
    opened = lasting(number, seconds=restart)
    times = dict.fromkeys(FAMILIES.values(), long_lived)
    return replace(opened, long_lived=replace(opened.long_lived, times=times))


class Watched:
    """pe0 with two routes, whose session was lost; what the operator and pe1 were told."""

    def __init__(self, restart: int, long_lived: float, *, notified: bool = False) -> None:
        self.notified = notified
        self.said: list[str] = []
        self.house = house_with()
        self.engine = self.house.engine
        self.restarts = Restarts(self.engine, lambda _peer, words: self.said.append(words))
        self.engine.session_down(PE0)
        self.up(PE0, restart, long_lived)
        self.house.say(PE0, announce(NLRI, OTHER))
        self.house.hears(PE1)
        self.restarts.lost(PE0, restarting=True)

    def up(self, number: int, restart: int, long_lived: float) -> None:
        opened = timed(number, restart, long_lived)
        self.house.up(replace(opened, graceful_notification=self.notified))

    def left(self) -> list[int | None]:
        return [self.restarts.seconds_left(path) for path in self.engine.stale_paths("pe0")]


async def test_first_the_time_of_a_restart_then_the_other() -> None:
    watched = Watched(LONG, LONG)
    assert watched.left() == [LONG]
    assert told(watched.house, PE1) == ([], [])
    watched.restarts._restarting["pe0"].cancel()
    watched.restarts._not_back(timed(PE0, LONG, LONG))
    assert watched.left() == [LONG]
    assert told(watched.house, PE1) == ([NLRI, OTHER], [])
    assert watched.said == [
        "may be restarting: its routes stay for 3600 s",
        "stays away: its vpnv4 routes are the last choice for 3600 s",
    ]


async def test_both_come_to_their_end() -> None:
    watched = Watched(0, 0.05)
    await until(lambda: not watched.engine.stale, "the routes to go")
    assert told(watched.house, PE1)[1] == [NLRI, OTHER]
    assert watched.left() == []


async def test_a_second_loss_does_not_begin_the_time_anew() -> None:
    watched = Watched(0, LONG)
    [first] = watched.restarts._lasting.values()
    watched.up(AGAIN, 0, 2 * LONG)
    watched.house.say(AGAIN, announce(NLRI))
    watched.restarts.lost(AGAIN, restarting=True)
    [second] = watched.restarts._lasting.values()
    assert second is first


async def test_once_a_pe_has_said_what_it_has_the_next_time_is_a_new_one() -> None:
    watched = Watched(0, LONG)
    [first] = watched.restarts._lasting.values()
    watched.up(AGAIN, 0, LONG)
    watched.house.say(AGAIN, announce(NLRI), end(VPNV4))
    watched.restarts.lost(AGAIN, restarting=True)
    [second] = watched.restarts._lasting.values()
    assert first.cancelled()
    assert not second.cancelled()


async def test_over_before_it_has_said_what_it_has_and_lost_again() -> None:
    watched = Watched(0, 0.05)
    watched.up(AGAIN, 0, LONG)
    watched.house.say(AGAIN, announce(NLRI))
    await until(lambda: not watched.restarts._lasting, "the time to be over")
    watched.house.hears(PE1)
    watched.restarts.lost(AGAIN, restarting=True)
    assert told(watched.house, PE1) == ([], [NLRI])
    assert not watched.engine.stale


async def test_an_operator_gives_up() -> None:
    watched = Watched(LONG, LONG)
    watched.restarts.give_up("pe0")
    assert told(watched.house, PE1) == ([], [NLRI, OTHER])
    assert watched.left() == []


async def test_a_session_that_ends_for_good_ends_everything() -> None:
    watched = Watched(0, LONG)
    watched.up(AGAIN, 0, LONG)
    watched.restarts.lost(AGAIN, restarting=False)
    assert not watched.restarts._lasting
    assert not watched.engine.stale
    watched.restarts.lost(99, restarting=True)


async def test_however_often_it_is_lost_nothing_stays_for_more_than_twice_its_time() -> None:
    watched = Watched(LONG, 0, notified=True)
    latest = watched.restarts._latest["pe0"]
    for number in (AGAIN, AGAIN + 1):
        watched.up(number, LONG, 0)
        watched.restarts.lost(number, restarting=True)
        assert told(watched.house, PE1) == ([], [])
        assert watched.restarts._latest["pe0"] == latest
    watched.up(AGAIN + 2, LONG, 0)
    # Nearly over, but not before it is lost.
    watched.restarts._latest["pe0"] = asyncio.get_running_loop().time() + 0.9
    watched.restarts.lost(AGAIN + 2, restarting=True)
    assert watched.said[-1] == "may be restarting: its routes stay for 1 s"
    await until(lambda: not watched.engine.stale, "the routes to go")
    assert told(watched.house, PE1) == ([], [NLRI, OTHER])
    assert not watched.restarts._latest


async def test_once_a_pe_has_said_what_it_has_it_has_all_its_time_again() -> None:
    watched = Watched(LONG, 0, notified=True)
    first = watched.restarts._latest["pe0"]
    watched.up(AGAIN, LONG, 0)
    watched.house.say(AGAIN, announce(NLRI), end(VPNV4))
    watched.restarts.lost(AGAIN, restarting=True)
    assert watched.restarts._latest["pe0"] > first


@pytest.mark.parametrize(
    ("restart", "long_lived", "seconds"),
    [
        (0, 0, 0),
        (2, 0, 2),
        (0, 3600, SAYING_TIME),
        (2, 3600, SAYING_TIME),
        (2 * SAYING_TIME, 3600, 2 * SAYING_TIME),
    ],
)
def test_where_others_keep_our_routes_for_long_a_pe_has_time_to_say_what_it_has(
    restart: int, long_lived: int, seconds: int
) -> None:
    address = ip_address("192.0.2.1")
    pe = Pe("pe", address, 65000, "any", frozenset(), Listen(address, 179), "", (2, 4094))
    pe = replace(pe, graceful_restart=restart, long_lived_graceful_restart=long_lived)
    assert time_to_say(pe) == seconds
