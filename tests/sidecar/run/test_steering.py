"""Stages are turned off where the link is faster than the processor, and on again."""

from __future__ import annotations

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


def travel(steering: Steering, link: float, seconds: float, rebuilt: float = 1e12) -> list[Effort]:
    """Efforts made over ``seconds`` on a link of ``link`` octets a second, to a destination that
    rebuilds ``rebuilt`` octets of the stream a second."""
    looks = Looks(0.0)
    made, written, carried, held_s, starved_s, now = [], 0, 0, 0.0, 0.0, 0.0
    while now < seconds:
        look = looks.look(written, carried, held_s, starved_s, now)
        if look is not None:
            steering.seen(look)
        effort = steering.effort()
        speed, ratio = COSTS[effort]
        stream, wire = 1 << 20, int((1 << 20) * ratio)
        work_s, link_s, there_s = stream / speed, wire / link, stream / rebuilt
        batches = [Batch(Form.BATCH_ZSTD, [LEFT])]
        steering.encoded(Encoded([], Work(batches, effort, stream, work_s), wire, work_s))
        step = max(work_s, link_s, there_s)
        written, carried, now = written + stream, carried + wire, now + step
        # Whatever is slower than the work here, what is sent has to wait for it.
        held_s, starved_s = held_s + step - work_s, starved_s + step - there_s
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


def test_a_slow_destination_is_no_slow_link() -> None:
    assert most(travel(Steering(True), 1.25e9, 60.0, rebuilt=50e6)) is Effort.NONE


def test_a_slow_link_to_a_slow_destination_gets_everything() -> None:
    assert most(travel(Steering(True), 12.5e6, 60.0, rebuilt=100e6)) is Effort.ALL


def test_a_fast_link_is_known_before_the_first_look_is_due() -> None:
    made = travel(Steering(True), 1.25e9, 0.25)
    assert Effort.NONE in made[: len(made) // 2]


def test_without_adapting_everything_is_always_done() -> None:
    assert set(travel(Steering(False), 1.25e9, 10.0)) == {Effort.ALL}


def test_a_piece_that_is_empty_tells_nothing() -> None:
    steering = Steering(True)
    steering.encoded(Encoded([], Work([], Effort.ALL, 0, 9.0), 0, 9.0))
    assert steering.effort() is Effort.ALL


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
