"""Two customers reach a provider's service over an extranet, and not each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Staging, foreign_frames

pytestmark = pytest.mark.daemon

E1, E2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
PE_E1, PE_E2, PE_DNS = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def test_extranet(staging: Staging, figures: Figures) -> None:
    with (
        staging(Path(__file__).parent / "topology.clab.yml") as stage,
        stage.pinging("e1-host", "10.1.0.3") as e1_asks,
        stage.pinging("e2-host", "10.1.0.3") as e2_asks,
        stage.pinging("e1-host", "10.1.0.2") as across,
        stage.sniff("e1-host", "eth1") as at_e1,
        stage.sniff("e2-host", "eth1") as at_e2,
    ):
        begun = max(e1_asks.first(), e2_asks.first())
        across.unanswered()
        stage.wait_remotes("pe-e1", PE_DNS)
        stage.wait_remotes("pe-e2", PE_DNS)
        stage.wait_remotes("pe-dns", PE_E1, PE_E2)

        # E1 gives the service up.
        with_both = (stage.policies / "shared-dns.yaml").read_text()
        without_e1 = with_both.replace("  - to: E1\n", "")
        assert without_e1 != with_both
        stage.write("shared-dns.yaml", without_e1)
        returned = stage.says("apply", "--yes")
        last = e1_asks.last()
        figures.add("extranet: last packet after apply returned", last - returned)
        stage.wait_remotes("pe-e1")
        stage.wait_remotes("pe-dns", PE_E2)

        # And takes it again.
        stage.write("shared-dns.yaml", with_both)
        returned = stage.says("apply", "--yes")
        first = e1_asks.first_after(last)
        figures.add("extranet: first packet after apply returned", first - returned)
        ended = e2_asks.first_after(first)
        figures.add("extranet: longest gap of E2 meanwhile", e2_asks.longest_gap(begun, ended))

        across.unanswered()
        assert foreign_frames(at_e1, E2) == []
        assert foreign_frames(at_e2, E1) == []
