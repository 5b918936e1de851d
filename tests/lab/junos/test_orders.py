"""Faults are ordered in words, and every mistake in them is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpnctl.errors import UsageError
from vpnctl.lab.junos.__main__ import main
from vpnctl.lab.junos.faults import FULL_DISK, Fault, Phase, Wrong, drop, refuse, slow
from vpnctl.lab.junos.orders import Order, orders

ROUTERS = ("pe1", "pe2")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("commit=slow:2.5", Order("", Phase.COMMIT, slow(2.5))),
        ("pe2/commit=drop-done", Order("pe2", Phase.COMMIT, drop(done=True))),
        ("check=refuse*0", Order("", Phase.CHECK, refuse("the router refuses", times=0))),
        ("load=refuse:a b: c*3", Order("", Phase.LOAD, refuse("a b: c", times=3))),
        ("lock=full-disk", Order("", Phase.LOCK, refuse(FULL_DISK))),
        ("commit=pretend", Order("", Phase.COMMIT, Fault(Wrong.PRETEND))),
    ],
)
def test_a_fault_is_ordered_by_phase_and_what_goes_wrong(text: str, order: Order) -> None:
    assert orders([text], ROUTERS) == (order,)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        orders(
            ["commit", "comit=drop", "commit=explode", "commit=slow", "pe3/commit=drop",
             "connect=hang", "lock=pretend", "lock=drop:5"],
            ROUTERS,
        )  # fmt: skip
    assert refused.value.message.splitlines() == [
        "--fault commit: is no PHASE=WHAT",
        "--fault comit=drop: there is no phase comit",
        "--fault commit=explode: there is no fault explode",
        "--fault commit=slow: say for how many seconds, as in slow:5",
        "--fault pe3/commit=drop: no router is called pe3; there are pe1, pe2",
        "--fault connect=hang: a connection can be dropped or refused",
        "--fault lock=pretend: only a commit can be pretended",
        "--fault lock=drop:5: drop has nothing after a colon",
    ]
    assert "slow:SECONDS" in refused.value.hint


def test_the_command_line_takes_faults_and_tells_what_is_wrong_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys"
    keys.touch()
    words = ["--authorized-keys", str(keys), "--fault", "commit=slow:1", "--fault", "pe2/lock=drop"]
    assert main(words) == UsageError.exit_code
    assert (
        "--fault pe2/lock=drop: no router is called pe2; there are pe\n" in capsys.readouterr().err
    )
