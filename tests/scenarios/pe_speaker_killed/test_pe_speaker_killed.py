"""The BGP speakers of PEs are killed and stay away, and so does the controller (RFC 9494)."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Stage, Staging
from tests.support.daemons import wait_until
from vpnctl.lab import processes

pytestmark = pytest.mark.daemon

PE_E1, PE_C1, PE_C2 = "10.0.0.1", "10.0.0.2", "10.0.0.3"
CONTROLLER = "10.0.0.100"
#: Seconds of a graceful restart in this story.
RESTART = 2
#: The mark: nobody notices.
MOST_S = 0.020


def test_pe_speaker_killed(staging: Staging, figures: Figures) -> None:
    with (
        staging(Path(__file__).parent / "topology.clab.yml") as stage,
        stage.pinging("e1-host", "10.1.0.2") as one,
        stage.pinging("e1-host", "10.1.0.3") as two,
    ):
        begun = max(one.first(), two.first())

        with speaker_killed(stage, "pe-c1"):
            wait_until(lambda: "long-lived" in stale(stage, "pe-c1"), "pe-c1 to be away for long")
            said = stage.vpnctl("show", "rib-in", "--peer", "pe-c1")
            assert "long-lived stale: the PE is away" in said
            assert stage.remotes("pe-e1") == {PE_C1, PE_C2}
            one.first_after(time.time())
        wait_until(lambda: status(stage, "pe-c1") == "accepted", "pe-c1's route to be fresh")
        fresh = one.first_after(time.time())
        figures.add(
            f"BGP speaker of a PE killed, away for more than its {RESTART} s of graceful restart:"
            " longest gap of the ping",
            one.longest_gap(begun, fresh),
            at_most=MOST_S,
        )

        with speaker_killed(stage, "pe-c2"):
            wait_until(lambda: "long-lived" in stale(stage, "pe-c2"), "pe-c2 to be away for long")
            two.first_after(time.time())
            stage.wait_remotes("pe-e1", PE_C1)
            two.last()
            assert status(stage, "pe-c2") == ""
        two.first_after(time.time())
        figures.add(
            "its stale time of 10 s over, back after that: longest gap of who was not concerned",
            one.longest_gap(fresh, one.first_after(time.time())),
            at_most=MOST_S,
        )

        # pe-c2 keeps what it has heard for 12 s, which may be too short now: it is not measured.
        before = one.first_after(time.time())
        stage.end("controller")
        stage.end_sessions()
        for pe in ("pe-c2", "pe-e1", "pe-c1"):
            wait_until(lambda pe=pe: kept(stage, pe) == 2, f"{pe} to miss the controller")
        one.first_after(time.time() + RESTART)
        stage.start("controller")
        stage.wait_established()
        for pe in ("pe-e1", "pe-c1", "pe-c2"):
            wait_until(lambda pe=pe: kept(stage, pe) == 0, f"{pe} to have everything anew")
        two.first_after(time.time())
        figures.add(
            "controller and its sessions killed, away for longer than that: longest gap",
            one.longest_gap(before, one.first_after(time.time())),
            at_most=MOST_S,
        )

        stage.end("pe-c1", number=signal.SIGTERM)
        stage.wait_remotes("pe-e1", PE_C2)
        assert status(stage, "pe-c1") == ""


@contextmanager
def speaker_killed(stage: Stage, pe: str) -> Iterator[None]:
    """A PE without its BGP speaker; the program that would start another one stands still."""
    [agent] = stage.programs(pe).values()
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    [speaker] = [
        process
        for process in (processes.process(int(child)) for child in children)
        if process is not None
    ]
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        os.kill(speaker.pid, signal.SIGKILL)
        yield
    finally:
        os.kill(agent.pid, signal.SIGCONT)


def stale(stage: Stage, pe: str) -> str:
    """What the controller says of a PE's stale routes."""
    [found] = [peer for peer in stage.client.get("peers")["peers"] if peer["name"] == pe]
    return ", ".join(found["stale"])


def status(stage: Stage, pe: str) -> str:
    """What the controller says of a PE's route; empty where there is none."""
    return ", ".join(row["status"] for row in stage.client.get("peers", pe, "rib-in")["routes"])


def kept(stage: Stage, pe: str) -> int:
    """How many routes of the controller a PE keeps without having heard them anew."""
    done = stage.run(pe, "cat", "/run/vpnctl/pe/status.json")
    return int(json.loads(done.stdout)["kept"][CONTROLLER])
