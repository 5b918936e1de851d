"""The controller is killed and started again while customers' traffic flows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Staging

pytestmark = pytest.mark.daemon

PE_E1, PE_C1, PE_C2 = "10.0.0.1", "10.0.0.3", "10.0.0.4"


def test_controller_killed(staging: Staging, figures: Figures) -> None:
    with staging(Path(__file__).parent / "topology.clab.yml") as stage:
        stage.extend("E1", "cloud2")
        stage.retract("E1", "cloud2")
        revision = stage.client.get("status")["status"]["revision"]
        stage.wait_ping("e1-host", "10.1.0.2")
        with (
            stage.pinging("e1-host", "10.1.0.2") as ping,
            stage.pinging("e1-host", "10.1.0.3") as retracted,
            stage.talking("e1-host", "e1-vm1", "10.1.0.2") as talk,
        ):
            begun = ping.first()
            stage.end("controller")
            stage.end_sessions()
            assert stage.states() == {}
            stage.start("controller")
            stage.wait_established()

            first = ping.first_after(time.time())
            figures.add(
                "controller killed: longest gap of the ping", ping.longest_gap(begun, first)
            )
            goes_on = talk.goes_on(first)
            figures.add(
                "controller killed: longest gap of the TCP connection",
                talk.longest_gap(begun, goes_on),
            )
            # It goes on where it was: same revision, and what was retracted stays so.
            assert stage.client.get("status")["status"]["revision"] == revision
            retracted.unanswered()
            stage.wait_remotes("pe-e1", PE_C1)
            stage.wait_remotes("pe-c2")

            stage.extend("E1", "cloud2")
            retracted.first()
            stage.wait_remotes("pe-e1", PE_C1, PE_C2)
