"""A PE loses its power and boots again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Staging

pytestmark = pytest.mark.daemon

PE_E1, PE_C1, PE_C2 = "10.0.0.1", "10.0.0.3", "10.0.0.4"


def test_pe_rebooted(staging: Staging, figures: Figures) -> None:
    with staging(Path(__file__).parent / "topology.clab.yml") as stage:
        stage.wait_ping("e1-host", "10.1.0.3")
        with (
            stage.pinging("e1-host", "10.1.0.3") as ping,
            stage.pinging("e1-host", "10.1.0.2") as others,
            stage.talking("e1-host", "e1-vm2", "10.1.0.3") as talk,
        ):
            begun = max(ping.first(), others.first())
            stage.power_off("pe-c2")
            off = time.time()
            ping.unanswered(off)
            stage.power_on("pe-c2")
            on = time.time()

            first = ping.first_after(on)
            figures.add("PE rebooted: first packet after its boot", first - on)
            figures.add(
                "PE rebooted: TCP connection goes on after its boot", talk.goes_on(first) - on
            )
            stage.wait_established()
            stage.wait_remotes("pe-c2", PE_E1, PE_C1)
            stage.wait_remotes("pe-e1", PE_C1, PE_C2)
            figures.add(
                "PE rebooted: longest gap of the other sites",
                others.longest_gap(begun, others.first_after(first)),
            )
