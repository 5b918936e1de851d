"""The policy changes while a PE of it is down; what counts is the policy when it is back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Staging, foreign_frames

pytestmark = pytest.mark.daemon

HOST = "02:00:00:00:00:01"
PE_E1, PE_C1, PE_C2 = "10.0.0.1", "10.0.0.3", "10.0.0.4"


def test_policy_while_pe_down(staging: Staging, figures: Figures) -> None:
    with (
        staging(Path(__file__).parent / "topology.clab.yml") as stage,
        stage.pinging("e1-host", "10.1.0.3") as ping,
        stage.pinging("e1-host", "10.1.0.2") as others,
    ):
        begun = others.first()
        ping.unanswered()

        # Extended while cloud2's PE is down: it is there as soon as the PE is.
        stage.power_off("pe-c2")
        stage.wait_lost("pe-c2")
        stage.extend("E1", "cloud2")
        stage.power_on("pe-c2")
        on = time.time()
        first = ping.first_after(on)
        figures.add("extended while the PE was down: first packet after its boot", first - on)
        stage.wait_remotes("pe-c2", PE_E1, PE_C1)

        # Retracted while it is down, before that is noticed: it comes back to nothing.
        stage.power_off("pe-c2")
        stage.retract("E1", "cloud2")
        with stage.sniff("e1-vm2", "eth1") as there:
            stage.power_on("pe-c2")
            stage.wait_established()
            stage.wait_routes()
            ping.unanswered(time.time())
            assert foreign_frames(there, HOST) == []
        stage.wait_remotes("pe-c2")
        stage.wait_remotes("pe-e1", PE_C1)
        figures.add(
            "policy while a PE was down: longest gap of the other sites",
            others.longest_gap(begun, others.first_after(time.time())),
        )
