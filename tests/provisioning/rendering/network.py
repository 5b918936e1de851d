"""A network with a router of every platform, and VPNs with everything that can be rendered."""

from __future__ import annotations

from functools import cache
from textwrap import dedent

from vpnctl.model import Ruleset
from vpnctl.provisioning.intent import RouterIntent, intents
from vpnctl.provisioning.profile import Profiles
from vpnctl.provisioning.profile_files import read_profiles
from vpnctl.ruleset import load

NETWORK = """\
controller:
  asn: 65000
  router_id: 10.0.0.100
  listen: [10.0.0.100, "2001:db8::100"]
  pools: {vlans: 100-103, outer_vlans: 4001-4002}
sites:
  hq: {kind: enterprise, pes: evo}
  cloud1: {kind: cloud, pes: [mx]}
  cloud2: {kind: cloud, pes: [evpn, frr]}
  cloud3: {kind: cloud, pes: only}
  by-hand: {kind: cloud, pes: hands}
pes:
  mx: {address: 10.0.0.1, platform: junos-mx, port: ge-0/0/1, netconf: {user: vpnctl}}
  evo:
    address: 10.0.0.2
    asn: 4200000001
    platform: junos-evo
    port: et-0/0/1
    vlans: 300-399
    hold_time: 30
    netconf: {user: vpnctl}
  evpn: {address: "2001:db8::3", platform: junos-evpn, port: xe-0/0/1, netconf: {user: vpnctl}}
  frr: {address: 10.0.0.4, platform: frr-evpn, frr: {}}
  only:
    address: 10.0.0.5
    platform: junos-bgp-only
    families: [vpls, evpn, vpnv4, vpnv6, ipv4 flow, ipv6 flow, ipv4 flow-vpn, ipv6 flow-vpn]
    netconf: {user: vpnctl}
  hands: {address: 10.0.0.6, platform: junos-mx}
"""

VPNS = {
    "e1": """\
        vpn: E1
        service: vpls
        sites: [{site: hq, vlan: 301}, cloud1, cloud3, by-hand]
        """,
    "e2": """\
        vpn: E2
        service: vpls
        targets: {export: [65000:2214, 10.9.9.9:7], import: [65000:2214, "4200000000:7"]}
        sites: [{site: hq, vlan: 302, ve_id: 17}, cloud1]
        """,
    "e3": """\
        vpn: E3
        service: vpls
        sites: [{site: cloud1, vlan: 4001/17, targets: {export: 65000L:1, import: 65000:2}}]
        """,
    "t1": """\
        vpn: T1
        service: evpn
        vni: 10214
        sites: [cloud1, cloud2]
        """,
    "t2": """\
        vpn: T2
        service: evpn
        targets: ["65000:3300", "65000:3301"]
        sites: [cloud2]
        """,
    "l3": """\
        vpn: L3
        service: l3vpn
        sites: [cloud1, cloud3]
        """,
}


@cache
def profiles() -> Profiles:
    """The platforms as they are shipped."""
    return read_profiles()


def ruleset(network: str = NETWORK, **vpns: str) -> Ruleset:
    """The policy with all VPNs, or with these instead."""
    files = {"network.yaml": network.encode()}
    for name, text in (vpns or VPNS).items():
        files[f"{name}.yaml"] = dedent(text).encode()
    return load(files).ruleset


@cache
def intent(router: str) -> RouterIntent:
    """What the router shall have."""
    return intents(ruleset())[router]


#: The routers of the network, by platform.
ROUTERS = {intent(name).platform: name for name in ("mx", "evo", "evpn", "only", "frr")}
