"""The paper's figure 3: E1 announces with target A, cloud site 1 with B, cloud site 2 with C."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Stage, Staging, foreign_frames
from tests.support.daemons import wait_until

pytestmark = pytest.mark.daemon

A, B, C = "65000:1", "65000:2", "65000:3"
E1, CLOUD1, CLOUD2 = "10.0.0.1:100", "10.0.0.3:200", "10.0.0.4:100"
E1_HOST = "02:00:00:00:00:01"


def test_paper_figure_3(staging: Staging, figures: Figures) -> None:
    with (
        staging(Path(__file__).parent / "topology.clab.yml") as stage,
        stage.pinging("e1-host", "10.1.0.3") as ping,
        stage.sniff("e2-vm", "eth1") as at_cloud1,
    ):
        # The VPN of E1 consists of A, another customer's of B; C is nobody's yet.
        ping.unanswered()
        holds(stage, "pe-e1", {E1: {A}})
        holds(stage, "pe-c1", {CLOUD1: {B}})
        holds(stage, "pe-c2", {CLOUD2: {C}})
        configured = {pe: stage.vtysh(pe, "show running-config") for pe in ("pe-e1", "pe-c2")}

        # E1 is to use cloud site 2: its VPN consists of A and C.  What E1 announces with A, cloud
        # site 2 hears with C, and the other way round.
        returned = stage.extend("E1", "cloud2")
        first = ping.first()
        figures.add("figure 3: first packet after extend returned", first - returned)
        holds(stage, "pe-e1", {E1: {A}, CLOUD2: {A}})
        holds(stage, "pe-c2", {CLOUD2: {C}, E1: {C}})

        # The other customer's VPN stays at B alone.
        holds(stage, "pe-c1", {CLOUD1: {B}})
        assert foreign_frames(at_cloud1, E1_HOST) == []

        # And back.
        returned = stage.retract("E1", "cloud2")
        figures.add("figure 3: last packet after retract returned", ping.last() - returned)
        holds(stage, "pe-e1", {E1: {A}})
        holds(stage, "pe-c1", {CLOUD1: {B}})
        holds(stage, "pe-c2", {CLOUD2: {C}})

        # No router was configured for any of it.
        assert configured == {pe: stage.vtysh(pe, "show running-config") for pe in configured}


def holds(stage: Stage, pe: str, wanted: dict[str, set[str]]) -> None:
    """Wait until a PE holds exactly these route targets of these route distinguishers."""
    wait_until(lambda: stage.evpn_targets(pe) == wanted, f"{pe} to hold {wanted}")
