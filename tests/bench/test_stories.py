"""Figures of several runs of the stories become rows."""

from __future__ import annotations

from lab.bench.stories import rows
from tests.scenarios.figures import Figure


def test_a_row_is_the_median_and_holds_when_every_run_does() -> None:
    runs = [
        [Figure("first", seconds, at_most=0.25), Figure("last", 0.1, at_most=0.15)]
        for seconds in (0.1, 0.2, 0.3)
    ]
    first, last = rows(runs)
    assert (first.figure, first.unit, first.mark) == (200.0, "ms", "<= 250 ms")
    assert first.runs == [100.0, 200.0, 300.0]
    assert first.holds is False
    assert last.holds is True


def test_where_nothing_is_asked_nothing_holds() -> None:
    (row,) = rows([[Figure("gap", 0.5, note="why")]])
    assert (row.mark, row.holds, row.note) == ("", None, "why")
