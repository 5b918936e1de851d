"""Branches reach the head office and not each other, until the policy says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Staging, foreign_frames

pytestmark = pytest.mark.daemon

SPOKE1, SPOKE2 = "02:00:00:00:00:02", "02:00:00:00:00:03"
PE_HUB, PE_S1, PE_S2 = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def test_hub_and_spoke(staging: Staging, figures: Figures) -> None:
    with (
        staging(Path(__file__).parent / "topology.clab.yml") as stage,
        stage.pinging("spoke1", "10.1.0.3") as across,
        stage.pinging("spoke1", "10.1.0.1") as home,
    ):
        hub_and_spoke = (stage.policies / "retail.yaml").read_text()
        full_mesh = hub_and_spoke.replace("{hub-and-spoke: {hubs: [hq]}}", "full-mesh")
        assert full_mesh != hub_and_spoke

        with stage.sniff("spoke1", "eth1") as here, stage.sniff("spoke2", "eth1") as there:
            begun = home.first()
            stage.wait_ping("spoke2", "10.1.0.1")
            stage.wait_ping("hub", "10.1.0.3")
            across.unanswered()
            # Not even a broadcast gets across: the hub's PE does not pass it on.
            assert foreign_frames(here, SPOKE2) == []
            assert foreign_frames(there, SPOKE1) == []
        stage.wait_remotes("pe-s1", PE_HUB)
        stage.wait_remotes("pe-s2", PE_HUB)
        stage.wait_remotes("pe-hub", PE_S1, PE_S2)

        stage.write("retail.yaml", full_mesh)
        returned = stage.says("apply", "--yes")
        first = across.first()
        figures.add("spoke to spoke: first packet after apply returned", first - returned)
        stage.wait_remotes("pe-s1", PE_HUB, PE_S2)

        stage.write("retail.yaml", hub_and_spoke)
        returned = stage.says("apply", "--yes")
        last = across.last()
        figures.add("spoke to spoke: last packet after apply returned", last - returned)
        stage.wait_remotes("pe-s1", PE_HUB)
        stage.wait_remotes("pe-s2", PE_HUB)
        figures.add(
            "spoke to hub: longest gap meanwhile", home.longest_gap(begun, home.first_after(last))
        )
