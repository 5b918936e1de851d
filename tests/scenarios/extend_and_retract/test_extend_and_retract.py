"""A host in E1's head office reaches one in cloud2 while the policy says so, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import CLOUDNET, Stage, Staging, foreign_frames

pytestmark = pytest.mark.daemon

HERE = Path(__file__).parent
HOST, VM2 = "02:00:00:00:00:01", "02:00:00:00:00:03"
PE_E1, PE_C1, PE_C2 = "10.0.0.1", "10.0.0.3", "10.0.0.4"
#: Seconds that a frame takes from the head office to cloud2.
ONE_WAY = 2 * 0.00675
BEFORE = "below 0: before the command returned"


@pytest.mark.parametrize(
    ("service", "topology"), [("EVPN", CLOUDNET), ("VPLS", HERE / "topology.clab.yml")]
)
def test_extend_and_retract(
    service: str, topology: Path, staging: Staging, figures: Figures
) -> None:
    with (
        staging(topology) as stage,
        stage.pinging("e1-host", "10.1.0.3") as ping,
        stage.pinging("e1-host", "10.1.0.2") as neighbour,
        stage.sniff("e1-host", "eth1") as here,
        stage.sniff("e1-vm2", "eth1") as there,
    ):
        begun = neighbour.first()

        # Before, nothing passes: the head office asks by ARP, and cloud2 hears nothing of it.
        ping.unanswered()
        assert any(frame[12:14] == b"\x08\x06" for frame in foreign_frames(here, HOST))
        assert foreign_frames(there, HOST) == []
        nothing_passes(stage)

        returned = stage.extend("E1", "cloud2")
        first = ping.first()
        figures.add(
            f"{service}: first packet after extend returned",
            first - returned,
            at_most=0.1 + 3 * ONE_WAY,
            note=BEFORE,
        )
        figures.add(f"{service}: first packet after the revision", first - stage.durable())
        assert stage.ping("e1-host", "10.1.0.3")
        assert stage.ping("e1-vm2", "10.1.0.2")
        stage.wait_remotes("pe-e1", PE_C1, PE_C2)
        stage.wait_remotes("pe-c2", PE_E1, PE_C1)

        with stage.talking("e1-host", "e1-vm2", "10.1.0.3") as talk:
            returned = stage.retract("E1", "cloud2")
            last = ping.last()
            figures.add(
                f"{service}: last packet after retract returned",
                last - returned,
                at_most=0.15,
                note=BEFORE,
            )
            figures.add(f"{service}: last packet after the revision", last - stage.durable())
            nothing_passes(stage)

            # An open TCP connection waits, and goes on when the site is back.
            stage.extend("E1", "cloud2")
            first = ping.first_after(last)
            figures.add(
                f"{service}: TCP connection goes on after the first packet",
                talk.goes_on(first) - first,
            )

        # All the time, the sites that stayed went on.
        ended = neighbour.first_after(first)
        figures.add(
            f"{service}: longest gap of the sites that stay", neighbour.longest_gap(begun, ended)
        )


def nothing_passes(stage: Stage) -> None:
    """In neither direction, not even ARP; and neither PE has an entry for the other."""
    stage.wait_remotes("pe-e1", PE_C1)
    stage.wait_remotes("pe-c2")
    with stage.sniff("e1-vm2", "eth1") as there, stage.sniff("e1-host", "eth1") as here:
        assert not stage.ping("e1-host", "10.1.0.3", count=1)
        assert not stage.ping("e1-vm2", "10.1.0.1", count=1)
        assert foreign_frames(there, VM2), "cloud2's host asked by ARP"
        assert foreign_frames(there, HOST) == []
        assert foreign_frames(here, VM2) == []
