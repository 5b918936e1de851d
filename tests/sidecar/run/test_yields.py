"""What the other QEMU is given in a second is known of each effort by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.sidecar.elimination import Effort
from vpnctl.sidecar.run.yields import Yields

_PIECE = 1 << 20


def run(
    yields: Yields, effort: Effort, rate: float, seconds: float, begin: float, had: int = 0
) -> tuple[float, int]:
    """Pieces of one effort, ``rate`` octets a second of which are given; when, and how many in all
    were given at the end."""
    now, octets = begin, had
    yields.made(_PIECE, effort)
    while now < begin + seconds:
        yields.made(_PIECE, effort)
        now, octets = now + _PIECE / rate, octets + _PIECE
        yields.given(octets, now)
    octets += _PIECE
    yields.given(octets, now + _PIECE / rate)
    return now + _PIECE / rate, octets


def test_each_effort_has_its_own_rate() -> None:
    yields = Yields()
    now, had = run(yields, Effort.ALL, 60e6, 1.0, 0.0)
    now, had = run(yields, Effort.NONE, 40e6, 0.5, now, had)
    assert yields.rates(now) == pytest.approx({Effort.ALL: 60e6, Effort.NONE: 40e6})


def test_octets_of_an_effort_that_arrive_later_tell_of_that_effort() -> None:
    yields = Yields()
    for effort in (Effort.ALL, Effort.NONE):
        yields.made(20 * _PIECE, effort)
    now = 0.0
    for piece in range(1, 41):
        now += 0.04 if piece <= 20 else 0.03
        yields.given(piece * _PIECE, now)
    assert yields.rates(now) == pytest.approx(
        {Effort.ALL: _PIECE / 0.04, Effort.NONE: _PIECE / 0.03}
    )


def test_a_moment_tells_nothing() -> None:
    yields = Yields()
    now, _ = run(yields, Effort.NONE, 40e6, 0.1, 0.0)
    assert not yields.rates(now)


def test_a_qemu_that_had_nothing_to_write_tells_nothing() -> None:
    yields, now, octets = Yields(), 0.0, 0
    for _ in range(20):
        now, octets = run(yields, Effort.ALL, 60e6, 0.1, now + 0.1, octets)
    assert yields.rates(now) == pytest.approx({Effort.ALL: 60e6})


def test_the_beginning_tells_nothing() -> None:
    yields = Yields()
    now, had = run(yields, Effort.ALL, 5e6, 0.3, 0.0)
    now, had = run(yields, Effort.ALL, 60e6, 0.5, now, had)
    assert yields.rates(now)[Effort.ALL] > 40e6


def test_a_link_that_was_cut_tells_nothing() -> None:
    yields = Yields()
    now, had = run(yields, Effort.ALL, 60e6, 1.0, 0.0)
    now, had = run(yields, Effort.ALL, 60e6, 1.0, now + 30.0, had)
    assert yields.rates(now) == pytest.approx({Effort.ALL: 60e6})


def test_what_is_not_made_is_forgotten_later_each_time() -> None:
    yields = Yields()
    now, had = run(yields, Effort.NONE, 40e6, 0.5, 0.0)
    for known_s in (8.0, 16.0, 32.0, 64.0, 64.0):
        assert Effort.NONE in yields.rates(now + known_s - 0.1)
        assert Effort.NONE not in yields.rates(now + known_s + 0.1)
        now, had = run(yields, Effort.NONE, 40e6, 0.5, now + known_s + 0.1, had)


def test_everything_is_soon_tried_again() -> None:
    yields = Yields()
    now, had = run(yields, Effort.ALL, 13e6, 1.0, 0.0)
    now, had = run(yields, Effort.NONE, 40e6, 1.2, now, had)
    assert set(yields.rates(now)) == {Effort.NONE}
    now, had = run(yields, Effort.ALL, 60e6, 0.5, now, had)
    assert yields.rates(now) == pytest.approx({Effort.ALL: 60e6, Effort.NONE: 40e6})


def test_the_rate_follows_what_changes() -> None:
    yields = Yields()
    now, had = run(yields, Effort.ALL, 200e6, 5.0, 0.0)
    now, had = run(yields, Effort.ALL, 20e6, 5.0, now, had)
    assert yields.rates(now)[Effort.ALL] == pytest.approx(20e6, rel=0.1)


@given(
    st.lists(
        st.tuples(st.sampled_from(Effort), st.integers(1, 5), st.floats(0.0, 0.2)), max_size=50
    )
)
def test_no_rate_is_higher_than_the_highest_there_was(
    steps: list[tuple[Effort, int, float]],
) -> None:
    yields, now, octets, highest = Yields(), 0.0, 0, 0.0
    for effort, count, seconds in steps:
        yields.made(count * _PIECE, effort)
        now, octets = now + seconds, octets + count * _PIECE
        yields.given(octets, now)
        highest = max(highest, count * _PIECE / seconds if seconds else float("inf"))
    assert all(0 < rate <= 1.001 * highest for rate in yields.rates(now).values())
