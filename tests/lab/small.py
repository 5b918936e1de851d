"""A small lab: two FRR PEs and the controller at one switch, a host behind each PE."""

from __future__ import annotations

from typing import Any

_FRR = "quay.io/frrouting/frr:8.4.4"
_VPNCTL = "vpnctl:latest"
NAME = "small"

POLICY = {
    "network.yaml": "controller: {asn: 65000, router_id: 10.0.0.100, listen: 10.0.0.100}\n"
    "sites:\n"
    "  cloud1: {kind: cloud, pes: pe-c1}\n"
    "  cloud2: {kind: cloud, pes: pe-c2}\n"
    "pes:\n"
    "  pe-c1: {address: 10.0.0.3, platform: frr-evpn, hold_time: 9, passive: true}\n"
    "  pe-c2: {address: 10.0.0.4, platform: frr-evpn, hold_time: 9, passive: true}\n",
    "e1.yaml": "vpn: E1\nservice: evpn\nvni: 100\ntargets: 65000:103\n"
    "sites:\n  - {site: cloud1, targets: 65000:102}\n",
}


def small() -> dict[str, Any]:
    """The topology; the link of pe-c2 is a WAN link called ``cloud2``."""
    return {
        "name": NAME,
        "topology": {
            "nodes": {
                "switch": {"kind": "bridge"},
                "controller": {
                    "kind": "linux",
                    "image": _VPNCTL,
                    "binds": ["policies:/policies"],
                    "env": {"VPNCTL_STORE": "sqlite:////run/vpnctl/store.sqlite"},
                    "cmd": "vpnctl serve --policies /policies",
                    "exec": ["ip address add 10.0.0.100/24 dev eth1"],
                },
                "pe-c1": _pe("pe-c1", 3),
                "pe-c2": _pe("pe-c2", 4),
                "vm1": _host("10.1.0.2"),
                "vm2": _host("10.1.0.3"),
            },
            "links": [
                {"endpoints": ["controller:eth1", "switch:rs"]},
                {"endpoints": ["pe-c1:eth1", "switch:c1"]},
                {
                    "endpoints": ["pe-c2:eth1", "switch:c2"],
                    "vars": {"wan": {"name": "cloud2", "delay": "2ms"}},
                },
                {"endpoints": ["vm1:eth1", "pe-c1:eth2"]},
                {"endpoints": ["vm2:eth1", "pe-c2:eth2"]},
            ],
        },
    }


def _pe(name: str, number: int) -> dict[str, Any]:
    return {
        "kind": "linux",
        "image": _FRR,
        "group": name.removeprefix("pe-"),
        "binds": [
            "cloudnet/daemons:/etc/frr/daemons",
            "cloudnet/vtysh.conf:/etc/frr/vtysh.conf",
            f"cloudnet/{name}/frr.conf:/etc/frr/frr.conf:ro",
        ],
        "exec": [
            f"ip address add 10.0.0.{number}/24 dev eth1",
            "ip link add br100 type bridge",
            f"ip link add vxlan100 type vxlan id 100 local 10.0.0.{number} dstport 4789 nolearning",
            "ip link set vxlan100 master br100 mtu 1500",
            "bridge link set dev vxlan100 learning off",
            "ip link set eth2 master br100 mtu 1500",
            "ip link set vxlan100 up",
            "ip link set br100 up",
        ],
    }


def _host(address: str) -> dict[str, Any]:
    return {
        "kind": "linux",
        "image": "alpine:3",
        "exec": ["ip link set eth1 mtu 1500", f"ip address add {address}/24 dev eth1"],
    }
