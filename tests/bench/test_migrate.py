"""The benchmark of moving machines without any: what it starts, and what it makes of figures."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import yaml

from lab.bench.migrate import BASELINE, GUESTS, OURS, Bench
from lab.moving.alone import Alone
from lab.moving.machines import Guest
from lab.moving.picture import bars, picture
from lab.moving.stage import LAB, Clouds, MoveError
from tests.support.visitor import Heard
from tests.support.visitor_program import ANSWER, TICK
from vpnctl.migration.agent.messages import Mark, MigrationView, Pass
from vpnctl.migration.definition import Definition

BEGAN = 1000.0
MOVED = MigrationView(
    migration="busy1-0",
    machine="busy1",
    from_site="cloud1",
    to_site="cloud2",
    phase="done",
    began=BEGAN,
    elapsed_s=8.0,
    stopped_at=BEGAN + 6.0,
    resumed_at=BEGAN + 6.3,
    passes=(Pass(at_s=2.0, left=90_000_000), Pass(at_s=5.0, left=1_000_000)),
    timeline=(
        Mark(at_s=2.0, what="disks follow"),
        Mark(at_s=6.0, what="guest stopped"),
        Mark(at_s=6.3, what="runs at cloud2"),
        Mark(at_s=8.0, what="done"),
    ),
)


@pytest.mark.parametrize("guest", GUESTS, ids=lambda guest: guest.name)
def test_a_guest_is_a_machine_that_may_be_started(guest: Guest) -> None:
    definition = Definition.model_validate(yaml.safe_load(guest.definition()))
    assert definition.machine == guest.name
    assert definition.boot is not None
    assert f"address={guest.address}" in definition.boot.append


def test_the_machine_of_the_lab_is_one_too() -> None:
    text = (LAB / "migrate" / "machines" / "web1.yaml").read_text()
    assert Definition.model_validate(yaml.safe_load(text)).nics[0].vpn == "E1"


def test_what_is_compared_with_qemu_alone() -> None:
    bench = Bench(Clouds.__new__(Clouds), quick=False)
    bench._compare("slowly", Alone(3.0, 20.0, 0.5, 200_000_000, True), MOVED, 60_000_000)
    found = {(row.case.rpartition("/")[2], row.subject): row for row in bench.rows}
    memory = "memory, from its first page to the resume"
    assert found[memory, OURS].figure == pytest.approx(4.3)
    assert found[memory, BASELINE].figure == 20.0
    assert "did not converge" in found[memory, BASELINE].note
    ratios = {case: row.holds for (case, _), row in found.items() if "ratio" in case}
    # 4.3 of 20 s and 60 of 200 MB are enough, 300 of 500 ms are not.
    assert sorted(map(bool, ratios.values())) == [False, True, True]


def test_what_does_not_end_is_a_row_and_the_next_case_begins() -> None:
    class Stage(Clouds):
        def __init__(self) -> None:
            self.stopped: list[str] = []

        def vpnctl(self, *words: str) -> str:
            self.stopped.append(words[2])
            raise MoveError("it is not there")

    class Stuck(Bench):
        def trips(self) -> None:
            raise MoveError("not ended in 300 s")

    stage = Stage()
    bench = Stuck(stage, quick=False)
    bench.run("trips")
    (row,) = bench.rows
    assert (row.figure, row.holds, row.note) == (None, False, "not ended in 300 s")
    assert set(stage.stopped) == {guest.name for guest in GUESTS}


def test_a_comparison_without_the_other_one_has_our_figures() -> None:
    bench = Bench(Clouds.__new__(Clouds), quick=False)
    bench._compare("slowly", None, MOVED, 60_000_000)
    assert {row.subject for row in bench.rows} == {OURS}
    assert not [row for row in bench.rows if "ratio" in row.case]


def test_a_move_in_pictures() -> None:
    text = bars(MOVED)
    assert [line.split("  ")[-1].strip("= |") for line in text.splitlines()] == [""] * 4
    assert len(text.splitlines()) == len(MOVED.timeline)
    heard = [
        Heard(kind, number, number, 0, BEGAN + number / 10, BEGAN + number / 10 + 0.03)
        for number in range(80)
        for kind in (ANSWER, TICK)
    ]
    answers, ticks = ([one for one in heard if one.kind == kind] for kind in (ANSWER, TICK))
    root = ElementTree.fromstring(picture("it moves", [MOVED], answers, ticks))
    said = [element.text or "" for element in root.iter()]
    assert any("guest stopped" in one for one in said)
    assert any("it stands still" in one for one in said)
