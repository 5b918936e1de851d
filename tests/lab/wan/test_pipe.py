"""What one direction of a link promises, whatever happens to it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.pipe import OVERHEAD, Pipe

MS = 1_000_000

FIGURES = st.builds(
    lambda delay, share, loss: WanFigures(delay=delay, jitter=delay * share, loss=loss),
    st.floats(0, 0.1),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.2, 1.0]),
)
#: Nanoseconds that pass, then one of: a frame comes in, other figures, a cut, a healing.
STORIES = st.lists(
    st.tuples(
        st.integers(0, 20 * MS),
        st.one_of(st.just("frame"), FIGURES, st.sampled_from(["frame", "cut", "heal"])),
    ),
    max_size=60,
)


def pipe(figures: WanFigures, *, seed: int = 1, limit: int = 10**9) -> Pipe:
    return Pipe(figures, chance=random.Random(seed).random, limit=limit)


def taken(line: Pipe, now: int) -> list[bytes]:
    frames = []
    while (frame := line.take(now)) is not None:
        frames.append(frame)
    return frames


def test_a_frame_comes_out_when_its_delay_is_over() -> None:
    line = pipe(WanFigures(delay=0.0135))
    line.put(b"frame", 1000)
    assert line.next_due == 1000 + 13_500_000
    assert line.take(line.next_due - 1) is None
    assert line.take(line.next_due) == b"frame"
    assert line.next_due is None


@given(FIGURES, STORIES, st.integers(0, 2**32))
def test_every_frame_is_accounted_for_and_none_overtakes(
    figures: WanFigures, story: list[tuple[int, object]], seed: int
) -> None:
    line = pipe(figures, seed=seed, limit=20 * (OVERHEAD + 4))
    now = 0
    came: dict[bytes, tuple[int, WanFigures]] = {}
    out: list[bytes] = []
    for pause, what in story:
        now += pause
        for frame in taken(line, now):
            put_at, then = came[frame]
            assert now - put_at >= (then.delay - then.jitter) * 1e9 - 1
            out.append(frame)
        if what == "frame":
            frame = len(came).to_bytes(4, "big")
            came[frame] = now, figures
            line.put(frame, now)
        elif what == "cut":
            line.cut()
        elif what == "heal":
            line.heal()
        else:
            assert isinstance(what, WanFigures)
            figures = what
            line.change(figures)
    assert out == sorted(out)
    counters = line.counters
    assert len(came) == (len(out) + len(line) + counters.lost + counters.cut + counters.overflowed)
    # Whoever waits long enough has everything that was not lost.
    assert len(taken(line, now + 10**12)) + len(out) == len(came) - (
        counters.lost + counters.cut + counters.overflowed
    )


def test_a_cut_loses_what_is_under_way_and_all_that_comes() -> None:
    line = pipe(WanFigures(delay=0.01))
    line.put(b"under way", 0)
    line.cut()
    line.put(b"too late", 1)
    line.heal()
    line.put(b"again", 2)
    assert taken(line, 10**12) == [b"again"]
    assert line.counters.cut == 2


def test_after_a_cut_nothing_waits_for_what_was_lost() -> None:
    line = pipe(WanFigures(delay=10.0))
    line.put(b"under way", 0)
    line.cut()
    line.change(WanFigures())
    line.heal()
    line.put(b"again", 2)
    assert taken(line, 2) == [b"again"]


def test_a_shorter_delay_does_not_let_frames_overtake() -> None:
    line = pipe(WanFigures(delay=0.01))
    line.put(b"slow", 0)
    line.change(WanFigures())
    line.put(b"fast", 1)
    assert taken(line, 10 * MS - 1) == []
    assert taken(line, 10 * MS) == [b"slow", b"fast"]


def test_the_share_lost_is_the_share_asked_for() -> None:
    line = pipe(WanFigures(loss=0.1))
    for _ in range(20_000):
        line.put(b"", 0)
    # Six standard deviations of 20,000 tosses.
    assert abs(line.counters.lost - 2000) < 6 * (20_000 * 0.1 * 0.9) ** 0.5


def test_jitter_spreads_over_its_whole_range() -> None:
    delays = []
    line = pipe(WanFigures(delay=0.01, jitter=0.004))
    for number in range(1000):
        now = number * 20 * MS
        line.put(b"", now)
        assert line.next_due is not None
        delays.append(line.next_due - now)
        taken(line, line.next_due)
    assert 6 * MS <= min(delays) < 6.2 * MS
    assert 13.8 * MS < max(delays) <= 14 * MS


def test_no_more_is_under_way_than_there_is_room_for() -> None:
    line = pipe(WanFigures(delay=1), limit=3 * (OVERHEAD + 100))
    for _ in range(5):
        line.put(bytes(100), 0)
    assert (len(line), line.counters.overflowed) == (3, 2)
    taken(line, 10**12)
    line.put(bytes(100), 10**12)
    assert len(line) == 1
