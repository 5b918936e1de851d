from __future__ import annotations

import random

import pytest

from vpnctl.lab.wan import wire
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.pipe import Pipe


@pytest.fixture
def pipes() -> tuple[Pipe, Pipe]:
    return (
        Pipe(WanFigures(), chance=random.random),
        Pipe(WanFigures(), chance=random.random),
    )


def test_what_is_asked_is_done_and_told(pipes: tuple[Pipe, Pipe]) -> None:
    figures = WanFigures(465_000_000, 0.0135, 0.001, 0.01)
    answer, now = wire.answer(wire.change(figures), WanFigures(), pipes)
    assert now == wire.read_answer(answer).figures == figures
    answer, now = wire.answer(wire.ask("cut"), now, pipes)
    state = wire.read_answer(answer)
    assert (state.figures, state.is_cut, pipes[1].is_cut) == (figures, True, True)
    pipes[1].put(b"frame", 0)
    answer, now = wire.answer(wire.ask("heal"), now, pipes)
    assert not wire.read_answer(answer).is_cut
    pipes[0].put(b"frame", 0)
    answer, now = wire.answer(wire.ask("status"), now, pipes)
    state = wire.read_answer(answer)
    assert (state.counters[0].cut, state.counters[1].cut) == (0, 1)
    assert sum(state.under_way) + sum(counters.lost for counters in state.counters) == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"", b"\xff", b"[]", b"{}", b'{"do": "explode"}', b'{"do": "change"}',
        b'{"do": "change", "figures": {"speed": 1}}',
        b'{"do": "change", "figures": {"loss": 7}}',
        b'{"do": "change", "figures": {"loss": "all"}}',
    ],
)  # fmt: skip
def test_nonsense_is_answered_and_changes_nothing(
    request_: bytes, pipes: tuple[Pipe, Pipe]
) -> None:
    before = WanFigures(delay=0.1)
    answer, after = wire.answer(request_, before, pipes)
    assert after is before
    with pytest.raises(ValueError, match="Error: "):
        wire.read_answer(answer)


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b'{"figures": {}}'])
def test_an_answer_that_is_none_is_said_to_be_none(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer|Expecting"):
        wire.read_answer(answer)
