"""When to pause a guest, on series of octets left per pass as real guests gave them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vpnctl.migration.smartstop import FIXED_S, Advice, crossover, judge, predicted_pause

RECORDED = Path(__file__).parent / "recorded"
MB = 1_000_000
RATE = 10.0 * MB
#: A busy guest over 100 Mb/s: it shrinks, crosses over, and goes up and down.
BUSY = [99.2, 31.0, 18.4, 14.9, 15.3, 14.2, 15.9, 14.8, 15.1, 15.6, 14.0, 15.2, 14.4]
#: A calm one, as the first test guest of this project was.
CALM = [99.16, 7.63, 0.856]


def octets(series: list[float]) -> list[int]:
    return [int(one * MB) for one in series]


def first_stop(series: list[float], **more: float | None) -> int | None:
    """The pass at which the guest would have been paused."""
    for passes in range(1, len(series) + 1):
        verdict = judge(octets(series[:passes]), RATE, **more)  # type: ignore[arg-type]
        if verdict.advice is Advice.STOP:
            return passes - 1
    return None


def test_a_calm_guest_stops_as_soon_as_little_is_left() -> None:
    assert first_stop([*CALM, 0.4]) == 3


def test_a_busy_guest_stops_at_a_local_minimum_after_the_crossover() -> None:
    assert crossover(octets(BUSY)) == 4
    stopped = first_stop(BUSY)
    assert stopped == 10
    # The paper's comparison: not the worst of the moments there were.
    assert BUSY[stopped] == min(BUSY[4:])


def test_before_the_crossover_only_a_short_pause_stops_it() -> None:
    assert first_stop([100, 50, 25, 12, 6, 3]) is None


def test_a_pause_that_is_too_long_is_not_made() -> None:
    assert first_stop(BUSY, max_pause_s=0.5) is None
    verdict = judge(octets(BUSY + BUSY[4:] + BUSY[4:]), RATE, max_pause_s=0.5)
    assert verdict.advice is Advice.NOT_CONVERGING
    assert first_stop(BUSY, max_pause_s=2.0) == 10


def test_a_guest_that_never_has_a_minimum_is_paused_in_the_end() -> None:
    """Slowly growing: no pass is ever less than those before it."""
    growing = [100.0, 20.0, *(20.0 + step / 10 for step in range(40))]
    assert first_stop(growing) is None
    flat = [100.0, 20.0, *[20.0] * 40]
    assert first_stop(flat) is not None


def _recorded(name: str) -> list[tuple[int, float]]:
    """Octets left at each pass of a real guest, and the rate of then."""
    passes = json.loads((RECORDED / f"{name}.json").read_text())["passes"]
    return [(left, rate) for _, left, rate, _ in passes]


def test_a_recorded_busy_guest_stops_at_the_least_that_it_ever_leaves() -> None:
    series = _recorded("busy")
    left = [one for one, _ in series]
    begin = crossover(left)
    assert begin is not None
    stops = [
        number
        for number, (_, rate) in enumerate(series)
        if judge(left[: number + 1], rate).advice is Advice.STOP
    ]
    assert left[stops[0]] == min(left[begin:])
    assert left[stops[0]] < 0.85 * max(left[begin:])


def test_a_recorded_calm_guest_needs_no_crossover() -> None:
    series = _recorded("settling")
    left = [one for one, _ in series]
    assert crossover(left) is None
    verdicts = [judge(left[: number + 1], rate) for number, (_, rate) in enumerate(series)]
    assert [one.advice for one in verdicts][-1] is Advice.STOP
    assert {one.advice for one in verdicts[:2]} == {Advice.GO_ON}
    # Whoever allows no pause worth the name gets none.
    assert judge(left, series[-1][1], max_pause_s=0.01).advice is Advice.GO_ON


def test_the_first_pass_never_stops() -> None:
    assert judge([], RATE).advice is Advice.GO_ON
    assert judge([1000], RATE).advice is Advice.GO_ON
    assert judge([1000, 10], 0.0).pause_s is None


def test_the_predicted_pause_has_what_is_left_and_what_is_fixed() -> None:
    assert predicted_pause(5 * MB, RATE) == pytest.approx(0.5 + FIXED_S)
