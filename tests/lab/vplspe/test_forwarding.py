"""Bridges and pseudowires in a kernel, without a speaker."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from pyroute2 import NetlinkError

from tests.support.namespaces import devices, inside, namespaces, routing
from vpnctl.errors import LabError
from vpnctl.lab.vplspe.config import read_config
from vpnctl.lab.vplspe.forwarding import Forwarding
from vpnctl.lab.vplspe.selection import difference
from vpnctl.lab.vplspe.values import PeConfig, Pseudowire

pytestmark = pytest.mark.daemon

CONFIG = read_config(
    "pe.yaml",
    b"""\
router_id: 10.0.0.1
asn: 65000
neighbors: [{address: 10.0.0.100, asn: 65000}]
vpns:
  - {vpn: E1, rd: "10.0.0.1:1", targets: 65000:1, ve_id: 1, labels: {base: 1000}, interfaces: eth1,
     mtu: 1400}
""",
)
TO_TWO = Pseudowire("E1", 2, IPv4Address("10.0.0.2"), 1001, 5000)
TO_THREE = Pseudowire("E1", 3, IPv4Address("10.0.0.3"), 1002, 6000)


@pytest.fixture
def namespace() -> Iterator[str]:
    """One with a customer port, ``eth1``."""
    with namespaces(1) as (name,):
        with routing(name) as netlink:
            netlink.link("add", kind="veth", ifname="eth1", peer={"ifname": "host"})
        yield name


def seen(namespace: str, *command: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, *command], capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


def ports(namespace: str) -> dict[str, bool]:
    """Each port of a bridge, and whether it is isolated from other such ports."""
    found = seen(namespace, "bridge", "-j", "-d", "link", "show")
    return {one["ifname"]: one["isolated"] for one in found if "isolated" in one}


def test_a_pseudowire_is_an_isolated_port_with_one_way_out(namespace: str) -> None:
    with inside(namespace), Forwarding(CONFIG) as forwarding:
        assert ports(namespace) == {"eth1": False}
        forwarding.change(difference((), (TO_TWO, TO_THREE)))
        assert ports(namespace) == {"eth1": False, "pw1001": True, "pw1002": True}
        (link,) = seen(namespace, "ip", "-j", "-d", "link", "show", "pw1001")
        assert (link["mtu"], link["master"], link["operstate"]) == (1400, "vpls-E1", "UNKNOWN")
        vxlan = link["linkinfo"]["info_data"]
        assert (vxlan["id"], vxlan["local"], vxlan["learning"]) == (1001, "10.0.0.1", False)
        entries = [
            (one["dst"], one["vni"])
            for one in seen(namespace, "bridge", "-j", "fdb", "show", "dev", "pw1001")
            if "dst" in one
        ]
        assert entries == [("10.0.0.2", 5000)]

        moved = replace(TO_TWO, peer=IPv4Address("10.0.0.9"))
        forwarding.change(difference((TO_TWO, TO_THREE), (moved,)))
        assert ports(namespace) == {"eth1": False, "pw1001": True}
        found = seen(namespace, "bridge", "-j", "fdb", "show", "dev", "pw1001")
        assert [one["dst"] for one in found if "dst" in one] == ["10.0.0.9"]
    assert devices(namespace) == {"eth1", "host"}


def test_what_a_killed_pe_left_is_gone_at_the_next_start(namespace: str) -> None:
    with inside(namespace):
        killed = Forwarding(CONFIG)
        killed.__enter__()
        killed.change(difference((), (TO_TWO,)))
        with Forwarding(CONFIG):
            assert devices(namespace) == {"eth1", "host", "vpls-E1"}
    assert devices(namespace) == {"eth1", "host"}


def changed(**changes: Any) -> PeConfig:
    return replace(CONFIG, vpns=(replace(CONFIG.vpns[0], **changes),))


def test_a_port_that_is_not_there_is_named_and_nothing_is_left(namespace: str) -> None:
    config = changed(interfaces=("eth1", "eth9"))
    with (
        inside(namespace),
        pytest.raises(LabError, match="VPN E1: there is no interface eth9 here"),
        Forwarding(config),
    ):
        pass
    assert devices(namespace) == {"eth1", "host"}


def has_vlans(namespace: str) -> bool:
    with routing(namespace) as netlink:
        (lower,) = netlink.link_lookup(ifname="host")
        try:
            netlink.link("add", kind="vlan", ifname="probe", link=lower, vlan_id=1)
        except NetlinkError:
            return False
        netlink.link("del", ifname="probe")
        return True


def test_a_vlan_of_a_port_takes_a_kernel_that_has_them(namespace: str) -> None:
    config = changed(vlan=100)
    with inside(namespace):
        if has_vlans(namespace):
            with Forwarding(config):
                assert ports(namespace) == {"eth1.100": False}
        else:
            with pytest.raises(LabError, match="this kernel has no VLAN"), Forwarding(config):
                pass
    assert devices(namespace) == {"eth1", "host"}


def test_a_device_of_somebody_else_is_left_alone(namespace: str) -> None:
    with routing(namespace) as netlink:
        netlink.link("add", kind="bridge", ifname="vpls-E1")
    with (
        inside(namespace),
        pytest.raises(LabError, match="the PE cannot make its bridges: File exists") as caught,
        Forwarding(CONFIG),
    ):
        pass
    assert caught.value.hint == "another device has that name, or another one has that VNI"
    assert devices(namespace) == {"eth1", "host", "vpls-E1"}
