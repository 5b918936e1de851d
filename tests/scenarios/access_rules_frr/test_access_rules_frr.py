"""FRR hears access rules, passes them on to the program beside it, and that drops packets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.access_rules.packets import Datagram, arrived
from tests.scenarios.figures import Figures
from tests.scenarios.stage import Stage, Staging
from tests.support.daemons import require, wait_until

pytestmark = pytest.mark.daemon

HERE = Path(__file__).parent
HQ, HQ6 = "10.1.0.1", "2001:db8:1::1"

DENIED = (
    "access:\n"
    "  - accept: {to: e1-hq, protocol: udp, to_port: 7003, dscp: ef, at: e1-hq}\n"
    "  - deny: {to: e1-hq, protocol: udp, to_port: 7003, at: e1-hq}\n"
)
SILENT = "access:\n  - deny: {to: e1-hq, protocol: icmp, at: e1-hq}\n"


def rule(stage: Stage, access: str, flows: int) -> float:
    """Let a policy with these access rules take effect; when it was durable."""
    stage.write("e1.yaml", (HERE / "policies" / "e1.yaml").read_text() + access)
    stage.says("apply", "--yes")
    wait_until(lambda: len(stage.flows("pe-e1", "E1")) == flows, f"pe-e1 to have {flows} flows")
    return stage.durable()


def test_access_rules_at_frr(staging: Staging, figures: Figures) -> None:
    require("nft")
    with staging(HERE / "topology.clab.yml") as stage:
        for number, host in enumerate(("e1-host", "e1-vm"), start=1):
            address = f"2001:db8:1::{number}/64"
            done = stage.run(host, "ip", "address", "add", address, "dev", "eth1", "nodad")
            assert done.returncode == 0, done.stderr
        for hq in (HQ, HQ6):
            stage.wait_ping("e1-vm", hq)
            assert len(arrived(stage, "e1-vm", Datagram(hq, 7003))) == 1

        rule(stage, DENIED, flows=4)
        assert "7003" in stage.vtysh("pe-e1", "show bgp ipv4 flowspec detail")
        for hq in (HQ, HQ6):
            assert arrived(stage, "e1-vm", Datagram(hq, 7003)) == []
            assert len(arrived(stage, "e1-vm", Datagram(hq, 7003, dscp=46))) == 1
            assert len(arrived(stage, "e1-vm", Datagram(hq, 7004))) == 1

        with stage.pinging("e1-vm", HQ) as ping:
            ping.first()
            denied = rule(stage, SILENT, flows=1)
            figures.add(
                "a rule denies at an FRR PE: last packet that still passed",
                max(ping.last() - denied, 0.0),
            )
            allowed = rule(stage, "", flows=0)
            figures.add(
                "the rule goes: first packet that passes again",
                ping.first_after(allowed) - allowed,
            )

        # A router that is silent has no rules.
        rule(stage, DENIED, flows=4)
        shut = ("configure terminal", "router bgp 65000", "neighbor 127.0.0.2 shutdown")
        stage.vtysh("pe-e1", *shut)
        wait_until(lambda: stage.flows("pe-e1", "E1") == [], "pe-e1 to filter nothing")
        for hq in (HQ, HQ6):
            assert len(arrived(stage, "e1-vm", Datagram(hq, 7003))) == 1
