"""What QEMU counts as arrived, and is not, is bounded by what the other QEMU is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.run.under_way import FAR_MOST, LEAST, SLACK_S, Pause, UnderWay

_PIECE = 64 * 1024
_STEP_S = 0.001


def travel(under_way: UnderWay, rate: float, way_s: float, seconds: float, begin: float) -> float:
    """QEMU writes what it may; ``rate`` octets a second are given, ``way_s`` after they were taken
    at the earliest.  How many seconds the last octets were under way."""
    waiting: list[tuple[int, float]] = []
    now, free, given = begin, begin, under_way.given
    last = 0.0
    while now < begin + seconds:
        while under_way.has_room(now):
            under_way.take(_PIECE, now)
            free = max(free, now + way_s) + _PIECE / rate
            waiting.append((under_way.taken, free))
            last = free - now
        now += _STEP_S
        while waiting and waiting[0][1] <= now:
            given, _ = waiting.pop(0)
        under_way.give(given, now)
    # What is left arrives, so that the next journey begins with nothing under way.
    under_way.give(under_way.taken, max(now, free))
    return last


@pytest.mark.parametrize("way_s", [0.001, 0.02, 0.2])
@pytest.mark.parametrize("rate", [50e6, 400e6])
def test_a_link_is_kept_busy_and_a_pause_short(rate: float, way_s: float) -> None:
    under_way = UnderWay()
    last = travel(under_way, rate, way_s, 3.0, 0.0)
    assert under_way.given >= 0.9 * rate * (3.0 - 2 * way_s - 0.3)
    assert last <= way_s + LEAST / rate + 2 * SLACK_S


@pytest.mark.parametrize("slow_s", [0.1, 0.2])
def test_a_busy_site_is_kept_busy_while_the_pause_is_far(slow_s: float) -> None:
    """What takes long in a busy site takes no longer when more is under way."""
    near, far = UnderWay(), UnderWay()
    far.pause = Pause.FAR
    for under_way in (near, far):
        # One piece was quick, and since then all wait for processors.
        under_way.take(_PIECE, 0.0)
        under_way.give(_PIECE, 0.03)
        last = travel(under_way, 100e6, 0.03 + slow_s, 4.0, 1.0)
        assert last <= 0.03 + slow_s + FAR_MOST / 100e6
    assert far.given >= 0.7 * 100e6 * 4.0
    assert far.given >= 1.5 * near.given


def test_little_is_under_way_soon_after_the_pause_has_become_near() -> None:
    under_way = UnderWay()
    under_way.pause = Pause.FAR
    assert travel(under_way, 50e6, 0.02, 2.0, 0.0) > 2 * SLACK_S
    under_way.pause = Pause.NEAR
    assert travel(under_way, 50e6, 0.02, 2.0, 10.0) <= 0.02 + LEAST / 50e6 + 2 * SLACK_S


def test_once_the_pause_has_begun_nothing_waits() -> None:
    under_way = UnderWay()
    travel(under_way, 50e6, 0.02, 2.0, 0.0)
    for pause, expected in ((Pause.FAR, False), (Pause.BEGUN, True), (Pause.NEAR, False)):
        under_way.pause = pause
        under_way.take(FAR_MOST, 10.0)
        assert under_way.has_room(10.0) is expected
        under_way.give(under_way.taken, 10.0 + SLACK_S)


def test_an_other_site_that_becomes_slow_gets_less() -> None:
    under_way = UnderWay()
    assert travel(under_way, 800e6, 0.002, 2.0, 0.0) < 2 * SLACK_S
    assert under_way.most > 2 * LEAST
    assert travel(under_way, 100e6, 0.002, 3.0, 10.0) < 2 * SLACK_S


def test_one_that_becomes_fast_gets_more() -> None:
    under_way = UnderWay()
    travel(under_way, 20e6, 0.01, 2.0, 0.0)
    assert under_way.most == LEAST
    before = under_way.given
    travel(under_way, 800e6, 0.01, 2.0, 10.0)
    assert under_way.given - before > 0.8 * 800e6 * 2.0


def test_a_pause_of_qemu_tells_nothing_of_the_other_site() -> None:
    under_way = UnderWay()
    travel(under_way, 400e6, 0.01, 2.0, 0.0)
    most = under_way.most
    under_way.take(1000, 100.0)
    under_way.give(under_way.taken, 100.01)
    assert under_way.most == most


@given(st.lists(st.integers(1, 10**7), min_size=1), st.integers(1, 10**9))
def test_more_than_was_sent_was_never_given(taken: list[int], more: int) -> None:
    under_way = UnderWay()
    for now, octets in enumerate(taken):
        under_way.take(octets, float(now))
    with pytest.raises(SidecarProtocolError, match=f"{sum(taken)} sent"):
        under_way.give(sum(taken) + more, 1e6)
    under_way.give(sum(taken), 1e6)
    with pytest.raises(SidecarProtocolError, match="were given before"):
        under_way.give(sum(taken) - 1, 1e6)
