"""What a story calls a gap."""

from __future__ import annotations

from tests.scenarios.traffic.gaps import longest_gap


def test_the_longest_time_between_two_moments() -> None:
    assert longest_gap([1.0, 5.0, 2.0], 0.0, 6.0) == 3.0


def test_the_ends_count() -> None:
    assert longest_gap([4.0], 0.0, 5.0) == 4.0
    assert longest_gap([1.0], 0.0, 5.0) == 4.0
    assert longest_gap([], 0.0, 5.0) == 5.0


def test_what_lies_outside_does_not_count() -> None:
    assert longest_gap([0.0, 10.0, 11.0, 30.0], 9.5, 12.0) == 1.0
