"""How long routes stay of PEs that are away: the timers around the engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.controller.stage import until
from tests.routing.test_engine import NLRI, PE0, PE1, announce
from tests.routing.test_long_lived import house_with, lasting, told
from tests.routing.test_restart import AGAIN, OTHER, end
from vpnctl.controller.restarts import Restarts
from vpnctl.model import FAMILIES, VPNV4
from vpnctl.routing.session import Opened

pytestmark = pytest.mark.anyio

LONG = 3600


def timed(number: int, restart: int, long_lived: float) -> Opened:
    opened = lasting(number, seconds=restart)
    times = dict.fromkeys(FAMILIES.values(), long_lived)
    return replace(opened, long_lived=replace(opened.long_lived, times=times))


class Watched:
    """pe0 with two routes, whose session was lost; what the operator and pe1 were told."""

    def __init__(self, restart: int, long_lived: float) -> None:
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
        self.house.up(timed(number, restart, long_lived))

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
