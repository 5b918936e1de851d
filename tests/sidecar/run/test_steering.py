"""Stages are turned off where the link is faster than the processor, and on again."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from vpnctl.sidecar.elimination import Effort
from vpnctl.sidecar.elimination.compression import Batch, Form
from vpnctl.sidecar.run.encoding import Encoded, Work
from vpnctl.sidecar.run.steering import (
    LARGEST_PIECE,
    SMALLEST_PIECE,
    Look,
    Looks,
    Pieces,
    Steering,
)

#: Octets of the stream a second, and of payloads for each of them.
COSTS = {
    Effort.NONE: (1.5e9, 1.0),
    Effort.ELIMINATE: (7e8, 0.7),
    Effort.ALL: (2.5e8, 0.3),
}
#: What elimination leaves of a mebioctet.
LEFT = bytes(int((1 << 20) * COSTS[Effort.ELIMINATE][1]))


def travel(
    steering: Steering,
    link: float,
    seconds: float,
    rebuilt: float = 1e12,
    costs: Mapping[Effort, tuple[float, float]] = COSTS,
    shared: float = 0.0,
) -> list[Effort]:
    """Efforts made over ``seconds`` on a link of ``link`` octets a second, to a destination that
    rebuilds ``rebuilt`` octets of the stream a second.

    ``shared``: seconds for each octet on the link that the one processor of both sites needs beside
    the work on the stream, 0 where they have one each.
    """
    looks = Looks(0.0)
    made, written, carried, held_s, starved_s, now = [], 0, 0, 0.0, 0.0, 0.0
    while now < seconds:
        look = looks.look(written, carried, held_s, starved_s, now)
        if look is not None:
            steering.seen(look, now)
        stream = 1 << 20
        effort = steering.effort(stream)
        speed, ratio = costs[effort]
        wire = int(stream * ratio)
        work_s, link_s, there_s = stream / speed, wire / link, stream / rebuilt
        batches = [Batch(Form.BATCH_ZSTD, [LEFT])]
        steering.encoded(Encoded([], Work(batches, effort, stream, work_s), wire, work_s))
        together_s = work_s + there_s + shared * wire if shared else 0.0
        step = max(work_s, link_s, there_s, together_s)
        written, carried, now = written + stream, carried + wire, now + step
        # Link and destination are waited for; a processor that both share seems to be slow work.
        held_s += max(link_s, there_s) - work_s if step > max(work_s, together_s) else 0.0
        starved_s += step - there_s
        # The last piece is under way.
        steering.given(written - stream, now)
        made.append(effort)
    return made


def most(efforts: list[Effort]) -> Effort:
    """What was done most of the time, at the end."""
    last = efforts[-100:]
    return max(Effort, key=last.count)


def test_a_slow_link_gets_everything() -> None:
    assert most(travel(Steering(True), 12.5e6, 60.0)) is Effort.ALL


def test_a_link_faster_than_the_processor_gets_octets_as_they_are() -> None:
    assert most(travel(Steering(True), 1.25e9, 60.0)) is Effort.NONE


def test_a_slow_destination_on_a_fast_link_gets_everything_as_less_moves_no_more() -> None:
    made = travel(Steering(True), 1.25e9, 60.0, rebuilt=50e6)
    assert made.count(Effort.ALL) > 0.9 * len(made)


def test_a_slow_destination_is_no_slow_link() -> None:
    made = travel(Steering(True), 1.25e9, 10.0, rebuilt=800e6)
    assert made.count(Effort.ALL) < 0.1 * len(made)


def test_a_slow_link_to_a_slow_destination_gets_everything() -> None:
    assert most(travel(Steering(True), 12.5e6, 60.0, rebuilt=100e6)) is Effort.ALL


@pytest.mark.parametrize("link", [58e6, 125e6, 1.25e9])
def test_less_effort_that_moves_no_more_is_given_up(link: float) -> None:
    """One processor is short at both ends, and to send octets takes as much of it as to make fewer
    of them."""
    costs = {
        Effort.NONE: (1.2e9, 1.0),
        Effort.ELIMINATE: (15e7, 0.97),
        Effort.ALL: (8e7, 0.3),
    }
    made = travel(Steering(True), link, 30.0, 8e8, costs, shared=2.2e-8)
    assert made.count(Effort.ALL) > 0.85 * len(made)
    assert most(made) is Effort.ALL
    # Whether it moves more is found out.
    assert link < 100e6 or Effort.NONE in made


def test_less_effort_that_moves_more_is_kept() -> None:
    costs = {
        Effort.NONE: (1.2e9, 1.0),
        Effort.ELIMINATE: (6e7, 0.97),
        Effort.ALL: (4e7, 0.3),
    }
    made = travel(Steering(True), 1.25e9, 30.0, 8e8, costs, shared=2e-9)
    assert most(made) is Effort.NONE
    assert made.count(Effort.NONE) > 0.9 * len(made)


@pytest.mark.parametrize("rebuilt", [30e6, 100e6, 1e12])
@pytest.mark.parametrize("link", [1.25e6, 12.5e6])
def test_a_slow_link_gets_everything_however_slow_the_destination_is(
    link: float, rebuilt: float
) -> None:
    made = travel(Steering(True), link, 60.0, rebuilt)
    assert made.count(Effort.ALL) >= 0.9 * len(made)


def test_a_fast_link_is_known_before_the_first_look_is_due() -> None:
    made = travel(Steering(True), 1.25e9, 0.25)
    assert Effort.NONE in made[: len(made) // 2]


def test_without_adapting_everything_is_always_done() -> None:
    assert set(travel(Steering(False), 1.25e9, 10.0)) == {Effort.ALL}


def test_a_piece_that_is_empty_tells_nothing() -> None:
    steering = Steering(True)
    steering.encoded(Encoded([], Work([], Effort.ALL, 0, 9.0), 0, 9.0))
    assert steering.effort(1 << 20) is Effort.ALL


@pytest.mark.parametrize(
    ("rate", "size"), [(1e6, SMALLEST_PIECE), (40e6, 320_000), (1e9, LARGEST_PIECE)]
)
def test_pieces_are_as_large_as_the_link_takes_in_a_moment(rate: float, size: int) -> None:
    pieces = Pieces()
    pieces.seen(Look(elapsed=0.5, stream=int(rate / 2), carried=1000, held_s=0.45))
    assert pieces.size == size


def test_pieces_are_large_where_the_processor_is_slower_than_the_link() -> None:
    pieces = Pieces()
    pieces.seen(Look(elapsed=1.0, stream=20_000_000, carried=5_000_000, held_s=0.3))
    assert pieces.size == LARGEST_PIECE


def test_a_link_that_is_cut_does_not_change_the_pieces() -> None:
    pieces = Pieces()
    pieces.seen(Look(elapsed=1.0, stream=40_000_000, carried=5_000_000, held_s=0.9))
    pieces.seen(Look(elapsed=60.0, stream=0, carried=0, held_s=60.0))
    assert pieces.size == 320_000


def test_a_link_that_held_things_up_for_some_of_the_time_is_not_believed_to_be_fast() -> None:
    """Processors that are short hide how much of the time it was the link."""
    steering = Steering(True)
    steering.seen(Look(elapsed=0.25, stream=4_000_000, carried=3_000_000, held_s=0.2), 0.25)
    for step in range(2, 40):
        steering.seen(Look(elapsed=0.25, stream=4_000_000, carried=3_000_000, held_s=0.1), step / 4)
        assert steering.effort(1 << 20) is Effort.ALL
    steering.seen(Look(elapsed=0.25, stream=250_000_000, carried=250_000_000, held_s=0.0), 10.0)
    assert steering.effort(1 << 20) is Effort.NONE


def test_what_arrived_over_a_link_that_was_the_limit_is_no_measure_of_an_effort() -> None:
    """Random numbers go no faster for any effort, and text comes after them."""
    steering = Steering(True)
    random_numbers = Encoded(
        [], Work([Batch(Form.BATCH, [bytes(1 << 20)])], Effort.ALL, 1 << 20, 0.005), 1 << 20, 0.005
    )
    given = 0
    steering.effort(4 << 20)
    for step in range(1, 40):
        steering.effort(1 << 20)
        steering.encoded(random_numbers)
        for part in range(10):
            now, given = (step + part / 10) / 4, given + (1 << 20) // 10
            steering.given(given, now)
        # The far end was given less than the link carried: what was first is not there yet.
        steering.seen(Look(elapsed=0.25, stream=3_000_000, carried=3_000_000, held_s=0.24), now)
        assert steering.effort(0) is Effort.ALL
