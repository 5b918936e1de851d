"""An endpoint on a router that has none: the controller configures it, and packets pass."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.lab import ROOT, LabFactory, RunningLab

pytestmark = pytest.mark.daemon


def instances(net: RunningLab) -> list[str]:
    """The VPNs that pe-c2 has."""
    text = net.run("pe-c2", "cat", "/run/vpnctl/pe/pe.yaml").stdout
    return [vpn["vpn"] for vpn in json.loads(text)["vpns"]]


def test_a_commit_makes_the_instance_the_route_and_the_way(lab: LabFactory) -> None:
    with lab("lab/managed.clab.yml") as net:
        assert set(net.states().values()) == {"established"}
        assert instances(net) == []
        assert not net.ping("e1-host", "10.1.0.3")

        shown = net.vpnctl("extend", "E1", "--site", "cloud2", "--dry-run")
        assert "vrf-target target:65000:100;" in shown
        assert instances(net) == [], "a dry run leaves a router as it is"

        net.vpnctl("extend", "E1", "--site", "cloud2", "--yes")
        assert instances(net) == ["E1_cloud2"]
        net.wait_ping("e1-host", "10.1.0.3")

        net.vpnctl("retract", "E1", "--site", "cloud2", "--yes")
        assert instances(net) == []
        net.wait_silence("e1-host", "10.1.0.3")


def test_an_frr_pe_gets_its_vni_and_loses_it_again(lab: LabFactory) -> None:
    """The paper's testbed, but that pe-c2 is configured by the controller, with vtysh."""
    sockets = f"{os.environ['VPNCTL_LAB_DIR']}/cloudnet/nodes/pe-c2/frr-run"
    policy = {
        path.name: path.read_text().replace(
            "{address: 10.0.0.4, platform: frr-evpn,",
            f"{{address: 10.0.0.4, frr: {{vty_socket: {sockets}}}, platform: frr-evpn,",
        )
        for path in (ROOT / "lab" / "cloudnet" / "policies").glob("*.yaml")
    }
    with lab("lab/cloudnet.clab.yml", policy=policy) as net:
        net.vtysh(
            "pe-c2", "configure", "router bgp 65000", "address-family l2vpn evpn", "no vni 100"
        )
        assert not net.ping("e1-host", "10.1.0.3")

        shown = net.vpnctl("extend", "E1", "--site", "cloud2", "--dry-run")
        assert "+  vni 100" in shown
        net.vpnctl("extend", "E1", "--site", "cloud2", "--yes")
        assert "  vni 100" in net.vtysh("pe-c2", "show running-config")
        net.wait_ping("e1-host", "10.1.0.3")

        net.vpnctl("retract", "E1", "--site", "cloud2", "--yes")
        assert "vni 100" not in net.vtysh("pe-c2", "show running-config")
        net.wait_silence("e1-host", "10.1.0.3")
        assert net.ping("e1-host", "10.1.0.2"), "the others are as they were"
