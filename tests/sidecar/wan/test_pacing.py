"""How much may go now: the limit, the size of segments, the queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.sidecar.wan.bucket import TokenBucket
from vpnctl.sidecar.wan.pace import Pace
from vpnctl.sidecar.wan.records import HEADER, MAX_SEGMENT

RATES = st.floats(8_000, 1e9)


def send(bucket: TokenBucket, sizes: list[int], now: float) -> float:
    """Send pieces as soon as they may go; when the last one went."""
    for size in sizes:
        while delay := bucket.delay(size, now):
            now += delay
        bucket.spend(size)
    return now


@given(RATES, st.lists(st.integers(1, 300_000), min_size=1, max_size=50))
def test_no_more_goes_than_the_rate_and_one_burst_allow(rate: float, sizes: list[int]) -> None:
    end = send(TokenBucket(rate, now=5.0), sizes, 5.0)
    # The last piece is paid for after it went.
    assert sum(sizes) - max(sizes) <= rate * (end - 5.0) + rate * 0.02 + 1


@given(RATES, st.integers(1000, 300_000))
def test_the_rate_is_reached(rate: float, size: int) -> None:
    end = send(TokenBucket(rate, now=0.0), [size] * 100, 0.0)
    assert rate * end <= 100 * size + rate * 0.02 + 100


def test_a_pause_saves_no_more_than_a_burst() -> None:
    bucket = TokenBucket(1000.0, now=0.0)
    assert bucket.delay(20, 1000.0) == 0.0
    bucket.spend(20)
    assert bucket.delay(20, 1000.0) == pytest.approx(0.02)


def test_no_limit_is_no_delay() -> None:
    assert TokenBucket(None, now=0.0).delay(10**9, 0.0) == 0.0


@given(RATES, RATES)
def test_a_new_rate_holds_at_once(old: float, new: float) -> None:
    bucket = TokenBucket(old, now=0.0)
    send(bucket, [10**6], 0.0)
    bucket.set_rate(new, now=1.0)
    assert bucket.rate == new
    assert send(bucket, [1000], 1.0) <= 1.0 + 1000 / new + 1e-5
    bucket.set_rate(None, now=2.0)
    assert bucket.delay(10**9, 2.0) == 0.0


def paced(rate: float) -> Pace:
    """A pace that has seen a second at ``rate`` octets per second."""
    pace = Pace()
    pace.began(None)
    for step in range(1, 101):
        pace.sending((step - 1) / 100)
        pace.sent(int(rate / 100), step / 100)
    return pace


@given(st.floats(1e4, 1.3e8))
def test_a_segment_takes_two_milliseconds_or_fits_one_tls_record(rate: float) -> None:
    pace = paced(rate)
    assert pace.rate == pytest.approx(rate, rel=0.05)
    assert pace.segment(None) <= MAX_SEGMENT
    assert pace.segment(None) + HEADER.size <= max(16384, rate * 0.002 * 1.05)
    assert (pace.segment(None) + HEADER.size) % 16384 == 0 or pace.segment(None) == MAX_SEGMENT


@given(st.floats(1.4e8, 1e10))
def test_where_the_longest_segment_takes_eight_milliseconds_all_are_as_long(rate: float) -> None:
    assert paced(rate).segment(None) == MAX_SEGMENT <= rate * 0.008


@given(st.floats(1e4, 1e10), st.floats(1e4, 1e10))
def test_a_limit_bounds_segments_as_a_slower_link_does(rate: float, limit: float) -> None:
    segment = paced(rate).segment(limit)
    assert segment <= paced(rate).segment(None)
    assert segment + HEADER.size <= max(16384, limit * 0.008 + HEADER.size)


@given(st.floats(1e4, 1e10))
def test_what_waits_is_sent_within_twenty_milliseconds_or_small(rate: float) -> None:
    assert paced(rate).queue(256 * 1024) <= min(256 * 1024, max(65536, rate * 0.02 * 1.05))


def test_nothing_to_send_is_no_slow_link() -> None:
    pace = paced(1e8)
    pace.paused()
    pace.sending(50.0)
    pace.sent(1_000_000, 50.01)
    assert pace.rate == pytest.approx(1e8, rel=0.05)
    pace.began(None)
    assert pace.segment(None) + HEADER.size == 16384


def test_moments_without_anything_to_send_are_left_out() -> None:
    """Who makes what is sent takes his time for each piece."""
    pace, now = paced(1e8), 50.0
    for _ in range(200):
        pace.sending(now)
        pace.sent(250_000, now + 0.001)
        pace.paused()
        now += 0.002
    assert pace.rate == pytest.approx(2.5e8, rel=0.05)


@pytest.mark.parametrize(
    ("between_cuts", "segment"),
    [(1, 1024), (100_000, 2792), (1_000_000, 8831), (1e9, 279_284), (1e15, MAX_SEGMENT)],
)
def test_a_link_that_is_cut_often_gets_small_segments(between_cuts: float, segment: int) -> None:
    pace = paced(1e9)
    assert pace.segment(None) == MAX_SEGMENT
    pace.began(between_cuts)
    pace.rate = 1e9
    assert pace.segment(None) == segment


@pytest.mark.parametrize(
    ("rate", "unsent"), [(1e5, 1 << 17), (58e6, 1 << 17), (100e6, 3 << 17), (1e10, 1 << 20)]
)
def test_the_kernel_holds_what_it_sends_in_a_moment(rate: float, unsent: int) -> None:
    assert paced(rate).unsent == unsent


def test_a_fast_link_gets_large_segments_before_its_first_interval_is_over() -> None:
    pace = Pace()
    pace.began(None)
    for step in range(64):
        assert pace.segment(None) + HEADER.size == 16384
        pace.sending(step * 2e-5)
        pace.sent(16384, (step + 1) * 2e-5)
    assert pace.rate == pytest.approx(16384 / 2e-5)
    assert pace.segment(None) == MAX_SEGMENT
