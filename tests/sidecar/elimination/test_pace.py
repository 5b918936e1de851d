"""As much effort as the link makes worth while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.sidecar.elimination.pace import (
    BELIEFS,
    FASTER,
    FREE_LOOKS,
    INERTIA,
    SPARING,
    TRY_EVERY,
    Effort,
    Measure,
    Pace,
    choose,
    promises,
)

MBIT = 1_000_000 / 8
rates = st.floats(1e3, 1e11)


@pytest.mark.parametrize(
    ("megabits", "effort"),
    [(10, Effort.ALL), (100, Effort.ALL), (10_000, Effort.NONE), (100_000, Effort.NONE)],
)
def test_slow_links_are_worth_everything_and_fast_ones_nothing(
    megabits: int, effort: Effort
) -> None:
    assert choose(megabits * MBIT, BELIEFS, Effort.ALL) is effort
    assert choose(megabits * MBIT, BELIEFS, Effort.NONE) is effort


def test_octets_that_are_kept_off_a_link_are_worth_some_of_its_speed() -> None:
    slow = {
        Effort.NONE: Measure(1.5e9, 1.0),
        Effort.ELIMINATE: Measure(60e6, 0.9),
        Effort.ALL: Measure(40e6, 0.35),
    }
    assert choose(465 * MBIT, slow, Effort.NONE) is Effort.ALL
    assert choose(10_000 * MBIT, slow, Effort.ALL) is Effort.NONE


def test_what_does_not_shrink_is_not_worth_the_work_on_a_fast_link() -> None:
    random = {effort: Measure(measure.speed, 1.0) for effort, measure in BELIEFS.items()}
    assert choose(8_000 * MBIT, random, Effort.ALL) is Effort.NONE
    # On a slow one it costs nothing to go on trying.
    assert choose(100 * MBIT, random, Effort.ALL) is Effort.ALL


@given(
    link=rates,
    measures=st.fixed_dictionaries(
        {effort: st.builds(Measure, rates, st.floats(0.001, 1.1)) for effort in Effort}
    ),
    present=st.sampled_from(Effort),
)
def test_the_choice_is_never_much_worse_than_the_best_and_settles(
    link: float, measures: dict[Effort, Measure], present: Effort
) -> None:
    chosen = choose(link, measures, present)
    best = max(measure.throughput(link) for measure in measures.values())
    assert measures[chosen].throughput(link) >= (1 - SPARING) / (1 + INERTIA) * best
    assert choose(link, measures, chosen) >= chosen
    settled = choose(link, measures, choose(link, measures, chosen))
    assert choose(link, measures, settled) is settled


def test_everything_is_done_until_the_link_is_known() -> None:
    pace = Pace()
    pace.worked(Effort.ALL, 1 << 20, 1 << 19, 1 << 18, 0.01)
    assert pace.next() is Effort.ALL


def test_a_link_that_turns_out_to_be_fast_ends_the_work() -> None:
    pace = Pace()
    pace.unhindered(10_000_000, 0.008, 50 * 0.008)
    assert pace.next() is Effort.NONE


def test_a_link_that_becomes_slow_begins_it_again() -> None:
    pace = Pace()
    pace.unhindered(10_000_000, 0.008, 50 * 0.008)
    assert pace.next() is Effort.NONE
    for _ in range(20):
        pace.carried(1_250_000, 0.1)
    assert pace.next() is Effort.ALL


def test_a_link_that_was_believed_to_be_fast_is_as_slow_as_it_shows_at_once() -> None:
    """What fits into the buffers on its way tells nothing."""
    pace = Pace()
    pace.unhindered(4_000_000, 0.001, 50 * 0.001)
    assert pace.next() is Effort.NONE
    pace.carried(12_500_000, 0.25)
    assert pace.next() is Effort.ALL


def test_a_link_that_was_slow_is_not_believed_to_be_fast_because_processors_are_busy() -> None:
    pace = Pace()
    for _ in range(3):
        pace.carried(12_500_000, 1.0)
        for _ in range(FREE_LOOKS):
            # For a moment nothing waits for it.
            pace.unhindered(2_500_000, 0.005, 0.25)
        assert pace.link == pytest.approx(12_500_000)
        assert pace.next() is Effort.ALL
    for _ in range(4):
        pace.unhindered(2_500_000, 0.005, 0.25)
    assert pace.link == pytest.approx(12_500_000 * FASTER**4)
    # What it did take, it can take.
    pace.unhindered(50_000_000, 0.005, 0.25)
    assert pace.link == pytest.approx(200_000_000)


def test_an_effort_not_in_use_is_tried_now_and_then() -> None:
    pace = Pace()
    pace.unhindered(10_000_000, 0.008, 50 * 0.008)
    tried = []
    for _ in range(4 * TRY_EVERY[1] // (8 << 20)):
        effort = pace.next()
        tried.append(effort)
        pace.worked(effort, 8 << 20, 8 << 20, 8 << 20, 0.005 if effort is Effort.NONE else 0.05)
    assert {Effort.ALL, Effort.ELIMINATE} <= set(tried)
    assert tried.count(Effort.NONE) > 0.9 * len(tried)


def test_content_that_begins_to_repeat_is_noticed_by_a_trial() -> None:
    pace = Pace()
    pace.unhindered(1_000_000, 0.001, 50 * 0.001)
    assert pace.next() is Effort.NONE
    pace.worked(Effort.ALL, 1 << 20, 1 << 14, 1 << 12, 0.0005)
    assert pace.next() is Effort.ALL


def test_speeds_are_averaged_as_times() -> None:
    pace = Pace()
    for _ in range(200):
        pace.worked(Effort.ALL, 1_000_000, 800_000, 400_000, 0.01)
        pace.worked(Effort.ALL, 1_000_000, 400_000, 400_000, 0.03)
    assert pace.measures[Effort.ALL].speed == pytest.approx(1 / 2e-8, rel=0.1)
    assert pace.measures[Effort.ELIMINATE].ratio == pytest.approx(0.6, rel=0.1)
    assert pace.measures[Effort.ALL].ratio == pytest.approx(0.4, rel=0.1)


def test_the_first_octets_of_a_stream_do_not_tell_how_fast_an_effort_is() -> None:
    pace = Pace()
    # A header of the stream, and what it takes to set a compressor up.
    pace.worked(Effort.ALL, 37, 105, 72, 0.02)
    for _ in range(8):
        pace.worked(Effort.ALL, 400_000, 400_000, 350_000, 0.004)
    pace.carried(2_500_000, 0.35)
    assert pace.next() is Effort.ALL


def test_a_slow_moment_of_the_processor_is_forgotten() -> None:
    pace = Pace()
    pace.carried(1_250_000, 0.1)
    for _ in range(10):
        pace.worked(Effort.ALL, 1 << 20, 1 << 20, 1 << 18, 1.0)
    assert pace.next() is Effort.ELIMINATE
    made = []
    for _ in range(100):
        effort = pace.next()
        made.append(effort)
        wire = 1 << (18 if effort is Effort.ALL else 20)
        pace.worked(effort, 1 << 20, 1 << 20, wire, 0.005)
    assert made[-32:].count(Effort.ALL) >= 30


@given(
    st.lists(
        st.tuples(st.sampled_from(Effort), st.integers(1, 1 << 21), st.integers(1, 1 << 21)),
        max_size=20,
    )
)
def test_a_greater_effort_never_promises_to_send_more(
    batches: list[tuple[Effort, int, int]],
) -> None:
    pace = Pace()
    for effort, eliminated, wire in batches:
        pace.worked(effort, 1 << 20, eliminated, wire, 0.01)
    none, eliminate, everything = (pace.measures[effort].ratio for effort in Effort)
    assert 0 < everything <= eliminate <= none


def test_a_slow_link_is_worth_everything_whatever_comes_first() -> None:
    pace = Pace()
    # A guest's random numbers, then its text.
    pace.worked(Effort.ALL, 1 << 20, 1 << 20, 1 << 20, 0.02)
    for _ in range(100):
        pace.carried(2_500_000, 1.0)
        effort = pace.next()
        assert effort is Effort.ALL
        pace.worked(effort, 1 << 20, 1 << 19, 1 << 17, 0.01)


def test_less_is_not_tried_on_a_link_that_is_slower_than_the_processor() -> None:
    pace = Pace()
    for _ in range(1000):
        pace.carried(1_250_000, 0.1)
        effort = pace.next()
        assert effort is Effort.ALL
        pace.worked(effort, 1 << 20, 1 << 19, 1 << 18, 0.01)


def test_no_time_and_no_octets_teach_nothing() -> None:
    pace = Pace()
    before = pace.measures
    pace.worked(Effort.ALL, 0, 0, 0, 1.0)
    pace.worked(Effort.ALL, 100, 100, 100, 0.0)
    pace.carried(0, 1.0)
    pace.carried(10, 0.0)
    assert (pace.measures, pace.link) == (before, None)


def test_an_effort_moves_no_more_than_the_far_end_was_given() -> None:
    measures = {
        Effort.NONE: Measure(1e9, 1.0),
        Effort.ELIMINATE: Measure(140e6, 0.97),
        Effort.ALL: Measure(60e6, 0.3),
    }
    believed = 330e6
    assert choose(believed, measures, Effort.ALL) is Effort.NONE
    given = {Effort.ALL: 55e6, Effort.NONE: 40e6}
    assert choose(believed, measures, Effort.NONE, given) is Effort.ALL
    assert choose(believed, measures, Effort.ALL, given) is Effort.ALL
    # Nearly as many octets cannot move much more of the stream, either.
    assert promises(believed, measures, given)[Effort.ELIMINATE] == pytest.approx(40e6 / 0.97)


@given(
    link=rates,
    measures=st.fixed_dictionaries(
        {effort: st.builds(Measure, rates, st.floats(0.001, 1.0)) for effort in Effort}
    ),
    given_rates=st.dictionaries(st.sampled_from(Effort), rates),
)
def test_what_was_given_bounds_what_is_promised(
    link: float, measures: dict[Effort, Measure], given_rates: dict[Effort, float]
) -> None:
    free, bound = promises(link, measures, {}), promises(link, measures, given_rates)
    assert all(bound[effort] <= free[effort] for effort in Effort)
    assert all(bound[effort] <= rate for effort, rate in given_rates.items())
