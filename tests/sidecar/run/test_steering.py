"""Stages are turned off where the link is faster than the processor, and on again."""

from __future__ import annotations

import pytest

from vpnctl.sidecar.elimination import Effort
from vpnctl.sidecar.elimination.compression import Batch, Form
from vpnctl.sidecar.run.encoding import Encoded, Work
from vpnctl.sidecar.run.steering import LARGEST_PIECE, SMALLEST_PIECE, Pieces, Steering

#: Octets of the stream a second, and of payloads for each of them.
COSTS = {
    Effort.NONE: (1.5e9, 1.0),
    Effort.ELIMINATE: (7e8, 0.7),
    Effort.ALL: (2.5e8, 0.3),
}
#: What elimination leaves of a mebioctet.
LEFT = bytes(int((1 << 20) * COSTS[Effort.ELIMINATE][1]))


def travel(steering: Steering, link: float, seconds: float, now: float = 0.0) -> list[Effort]:
    """Efforts made over ``seconds`` on a link of ``link`` octets a second."""
    made, octets, busy, end = [], 0, 0.0, now + seconds
    while now < end:
        steering.link(octets, busy, now)
        effort = steering.effort()
        speed, ratio = COSTS[effort]
        stream, wire = 1 << 20, int((1 << 20) * ratio)
        work_s, link_s = stream / speed, wire / link
        batches = [Batch(Form.BATCH_ZSTD, [LEFT])]
        steering.encoded(Encoded([], Work(batches, effort, stream, work_s), wire, work_s))
        octets, busy, now = octets + wire, busy + link_s, now + max(work_s, link_s)
        made.append(effort)
    return made


def most(efforts: list[Effort]) -> Effort:
    """What was done most of the time, at the end."""
    last = efforts[-100:]
    return max(Effort, key=last.count)


def test_a_slow_link_gets_everything() -> None:
    assert most(travel(Steering(True, 0.0), 12.5e6, 60.0)) is Effort.ALL


def test_a_link_faster_than_the_processor_gets_octets_as_they_are() -> None:
    assert most(travel(Steering(True, 0.0), 1.25e9, 60.0)) is Effort.NONE


def test_a_fast_link_is_known_before_the_first_look_is_due() -> None:
    made = travel(Steering(True, 0.0), 1.25e9, 0.25)
    assert Effort.NONE in made[: len(made) // 2]


def test_without_adapting_everything_is_always_done() -> None:
    assert set(travel(Steering(False, 0.0), 1.25e9, 10.0)) == {Effort.ALL}


def test_a_piece_that_is_empty_tells_nothing() -> None:
    steering = Steering(True, 0.0)
    steering.encoded(Encoded([], Work([], Effort.ALL, 0, 9.0), 0, 9.0))
    assert steering.effort() is Effort.ALL


@pytest.mark.parametrize(
    ("rate", "size"), [(1e6, SMALLEST_PIECE), (40e6, 320_000), (1e9, LARGEST_PIECE)]
)
def test_pieces_are_as_large_as_the_link_takes_in_a_moment(rate: float, size: int) -> None:
    pieces = Pieces(0.0)
    for step in range(1, 10):
        pieces.taken(int(step * rate), float(step), float(step))
    assert pieces.size == size


def test_pieces_are_large_where_the_processor_is_slower_than_the_link() -> None:
    pieces = Pieces(0.0)
    for step in range(1, 10):
        pieces.taken(step * 20_000_000, step * 0.3, float(step))
    assert pieces.size == LARGEST_PIECE


def test_a_pause_of_qemu_tells_nothing_of_the_link() -> None:
    pieces = Pieces(0.0)
    pieces.taken(40_000_000, 1.0, 1.0)
    pieces.taken(40_000_000, 60.0, 60.0)
    assert pieces.size == 320_000
