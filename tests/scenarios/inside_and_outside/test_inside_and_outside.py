"""PEs inside the route server's AS and outside of it, in one VPN."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Stage, Staging
from tests.support.daemons import wait_until

pytestmark = pytest.mark.daemon

PE_E1, PE_C1, PE_C2 = "10.0.0.1", "10.0.0.3", "10.0.0.4"
E1, CLOUD1, CLOUD2 = f"{PE_E1}:100", f"{PE_C1}:100", f"{PE_C2}:100"


def test_inside_and_outside(staging: Staging, figures: Figures) -> None:
    with (
        staging(Path(__file__).parent / "topology.clab.yml") as stage,
        stage.pinging("e1-host", "10.1.0.2") as inside_to_outside,
        stage.pinging("e1-vm1", "10.1.0.3") as outside_to_outside,
    ):
        begun = inside_to_outside.first()
        outside_to_outside.unanswered()

        returned = stage.extend("E1", "cloud2")
        first = outside_to_outside.first()
        figures.add("AS to AS: first packet after extend returned", first - returned)
        stage.wait_ping("e1-vm2", "10.1.0.1")
        # Each hears the others with its own target, whatever AS it is in.
        holds(stage, "pe-e1", {E1: {"65000:101"}, CLOUD1: {"65000:101"}, CLOUD2: {"65000:101"}})
        holds(stage, "pe-c1", {E1: {"65000:102"}, CLOUD1: {"65000:102"}, CLOUD2: {"65000:102"}})
        holds(stage, "pe-c2", {E1: {"65000:103"}, CLOUD1: {"65000:103"}, CLOUD2: {"65000:103"}})
        # FRR sends what it heard back to an eBGP neighbour; it is not taken for the PE's own.
        wait_until(
            lambda: heard(stage, "pe-c1", accepted=False) == {E1, CLOUD2},
            "pe-c1 to send back what it heard",
        )
        for pe, own in (("pe-e1", E1), ("pe-c1", CLOUD1), ("pe-c2", CLOUD2)):
            assert heard(stage, pe, accepted=True) == {own}

        returned = stage.retract("E1", "cloud2")
        last = outside_to_outside.last()
        figures.add("AS to AS: last packet after retract returned", last - returned)
        stage.wait_remotes("pe-e1", PE_C1)
        stage.wait_remotes("pe-c1", PE_E1)
        stage.wait_remotes("pe-c2")
        figures.add(
            "inside to outside: longest gap meanwhile",
            inside_to_outside.longest_gap(begun, inside_to_outside.first_after(last)),
        )


def holds(stage: Stage, pe: str, wanted: dict[str, set[str]]) -> None:
    """Wait until a PE holds exactly these route targets of these route distinguishers."""
    wait_until(lambda: stage.evpn_targets(pe) == wanted, f"{pe} to hold {wanted}")


def heard(stage: Stage, pe: str, *, accepted: bool) -> set[str]:
    """The route distinguishers of what the controller heard from a PE and took, or did not take."""
    routes = stage.client.get("peers", pe, "rib-in")["routes"]
    return {
        ":".join(route["nlri"].split("/")[2].split(":")[:2])
        for route in routes
        if (route["status"] == "accepted") is accepted
    }
