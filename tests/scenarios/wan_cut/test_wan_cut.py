"""A site's WAN link is cut for longer than its session lives, and healed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Staging

pytestmark = pytest.mark.daemon

PE_E1, PE_C1, PE_C2 = "10.0.0.1", "10.0.0.3", "10.0.0.4"


def test_wan_cut(staging: Staging, figures: Figures) -> None:
    with staging(Path(__file__).parent / "topology.clab.yml") as stage:
        stage.wait_ping("e1-host", "10.1.0.3")
        with (
            stage.pinging("e1-host", "10.1.0.3") as ping,
            stage.pinging("e1-host", "10.1.0.2") as others,
            stage.talking("e1-host", "e1-vm2", "10.1.0.3") as talk,
        ):
            begun = max(ping.first(), others.first())
            stage.wan("c2").cut()
            cut = time.time()
            stage.wait_lost("pe-c2")
            figures.add("WAN cut: the session is lost after", time.time() - cut)
            # The others stop sending into nowhere.
            stage.wait_remotes("pe-e1", PE_C1)
            stage.wait_remotes("pe-c1", PE_E1)

            stage.wan("c2").heal()
            healed = time.time()
            first = ping.first_after(healed)
            figures.add("WAN healed: first packet after", first - healed)
            figures.add("WAN healed: TCP connection goes on after", talk.goes_on(first) - healed)
            stage.wait_established()
            stage.wait_remotes("pe-e1", PE_C1, PE_C2)
            figures.add(
                "WAN cut: longest gap of the other sites",
                others.longest_gap(begun, others.first_after(first)),
            )
