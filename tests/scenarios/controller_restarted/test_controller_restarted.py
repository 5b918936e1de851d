"""The controller is killed and started again, and no customer misses a packet."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Stage, Staging

pytestmark = pytest.mark.daemon

SERVICES = {"E1": "EVPN", "E2": "VPLS"}
#: The mark: nobody notices.
MOST_S = 0.020


def test_controller_restarted(staging: Staging, figures: Figures) -> None:
    with staging(Path(__file__).parent / "topology.clab.yml") as stage, ExitStack() as stack:
        pings = {
            vpn: stack.enter_context(
                stage.pinging(f"{vpn.lower()}-host", "10.1.0.2", word=f"of-{vpn}")
            )
            for vpn in SERVICES
        }
        begun = max(ping.first() for ping in pings.values())

        stage.end("controller")
        assert stage.states() == {}
        stage.start("controller")
        stage.wait_established()
        over = time.time()
        for vpn, ping in pings.items():
            figures.add(
                f"controller restarted, {SERVICES[vpn]}: longest gap of the ping",
                ping.longest_gap(begun, ping.first_after(over)),
                at_most=MOST_S,
            )
        assert sessions_begun(stage, "pe-e1") == 1

        stage.end("controller")
        e1 = (stage.policies / "e1.yaml").read_text()
        stage.write("e1.yaml", e1.replace("  - cloud1\n", ""))
        stage.start("controller")
        stage.wait_established()
        stage.says("apply", "--yes")
        pings["E1"].last()
        went_on = pings["E2"].first_after(time.time())
        figures.add(
            "controller restarted with another policy: longest gap of whom it is not about",
            pings["E2"].longest_gap(over, went_on),
            at_most=MOST_S,
        )
        assert sessions_begun(stage, "pe-e1") == 1

        returned = stage.extend("E1", "cloud1")
        pings["E1"].first_after(returned)


def sessions_begun(stage: Stage, pe: str) -> int:
    """How often an FRR PE's session with the controller was established."""
    neighbors = json.loads(stage.vtysh(pe, "show bgp neighbors json"))
    return sum(neighbor["connectionsEstablished"] for neighbor in neighbors.values())
