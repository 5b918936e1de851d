"""While a machine's pause is far, much may be under way; when it comes, little is."""

from __future__ import annotations

import pytest

from vpnctl.migration.approach import DRAINED_S, FAR_S, NEAR_S, Approach

_LOOK_S = 0.1


def look_on(approach: Approach, left: int, rate: float, begin: float, until: float) -> float:
    """A pass of ``left`` octets goes at ``rate`` octets per second; looked at until it has so many
    seconds to go.  When that was."""
    approach.seen(left, begin, True)
    now = begin
    while left / rate - (now - begin) > until:
        now += _LOOK_S
        approach.seen(left - int(rate * (now - begin)), now, False)
    return now


@pytest.mark.parametrize("rate", [5e6, 50e6, 500e6])
def test_a_pause_is_near_before_its_pass_ends(rate: float) -> None:
    approach = Approach()
    now = look_on(approach, int(rate * 3), rate, 100.0, NEAR_S + 2 * _LOOK_S)
    assert approach.far
    assert not approach.may_pause(now)
    look_on(approach, int(rate * 3), rate, 200.0, NEAR_S - 2 * _LOOK_S)
    assert not approach.far


def test_what_is_under_way_arrives_before_a_pause() -> None:
    approach = Approach()
    near = look_on(approach, 100_000_000, 50e6, 0.0, NEAR_S - 2 * _LOOK_S)
    approach.seen(1000, near + 0.05, True)
    assert not approach.may_pause(near + 0.05)
    assert approach.may_pause(near + DRAINED_S)


def test_a_long_pass_later_is_far_again() -> None:
    approach = Approach()
    look_on(approach, 100_000_000, 50e6, 0.0, 0.0)
    approach.seen(int(50e6 * FAR_S * 2), 2.1, True)
    assert approach.far
    approach.seen(int(50e6 * NEAR_S / 2), 4.1, True)
    assert not approach.far


def test_pages_of_zeroes_do_not_bring_it_near_for_long() -> None:
    approach = Approach()
    approach.seen(100_000_000, 0.0, True)
    # Most of the memory goes at once, and what is left does not.
    approach.seen(60_000_000, 0.1, False)
    assert not approach.far
    for number in range(2, 10):
        approach.seen(60_000_000 - number * 1_000_000, number * _LOOK_S, False)
    assert approach.far


def test_nothing_is_concluded_from_a_pass_that_stands_still() -> None:
    approach = Approach()
    for number in range(100):
        approach.seen(1000, number * _LOOK_S, number == 0)
    assert approach.far
    assert not approach.may_pause(1000.0)
