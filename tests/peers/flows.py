"""A policy with access rules over real daemons, each as the PE of one site.

========= ============ =============== =======================================
PE        daemon       families        has
========= ============ =============== =======================================
gobgp     GoBGP        vpnv4, flow-vpn E1's head office, which its rules guard
exabgp    stock ExaBGP vpnv4, flow-vpn E1's laboratory
frr       FRR bgpd     vpnv4, flow     a VPN of its own
========= ============ =============== =======================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemons import DaemonPeer, Frr, GoBgp, StockExaBgp, exabgp, frr, gobgp
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPNV4
from tests.support.serve import Serve

FLOW4, FLOW6, FLOW_VPN4, FLOW_VPN6 = (1, 133), (2, 133), (1, 134), (2, 134)
NAMES = ("gobgp", "exabgp", "frr")

E1 = """\
vpn: E1
service: l3vpn
sites:
  - {site: hq, targets: 65000:1101, rd: 65000:11, prefixes: [10.1.0.0/16, "2001:db8:1::/48"]}
  - {site: lab, targets: 65000:1102, rd: 65000:12}
access:
"""
RULES = """\
  - accept: {to: 10.1.0.5/32, from: 10.2.0.0/16, protocol: tcp, to_port: [80, 8000-8080], at: hq}
    rate: 10 Mb/s
    mark: ef
  - deny: {to: hq, protocol: tcp, port: 22}
  - accept: {to: hq, protocol: icmp, icmp_type: 8, icmp_code: 0, length: 28-128}
    rate: 100 packets/s
  - deny: {to: hq, protocol: tcp, tcp_flags: [syn, not-ack]}
  - accept: {to: hq, protocol: udp, fragment: [not-a-fragment]}
    redirect: scrub
  - deny: {to: hq, fragment: [is-fragment, last-fragment]}
  - deny: {to: hq, dscp: [cs1, 10-12]}
"""
SCRUB = """\
vpn: scrub
service: l3vpn
sites:
  - {site: hq, targets: 65000:9101}
extranet: [{to: E1, direction: from}]
"""
PLAIN = """\
vpn: plain
service: l3vpn
sites:
  - {site: dc, targets: 65000:3101, prefixes: [192.0.2.0/24, "2001:db8:3::/48"]}
access:
  - deny: {to: dc, protocol: tcp, to_port: 23}
  - accept: {to: dc, protocol: udp, from_port: 53}
    rate: 1 Mb/s
"""


@dataclass
class Flows:
    """Everything that runs."""

    serve: Serve
    address: str
    policies: Path
    gobgp: GoBgp
    exabgp: StockExaBgp
    frr: Frr

    def access(self, pe: str) -> dict[str, tuple[str, ...]]:
        """What the controller says that it sent to a PE: flow -> actions."""
        found = {}
        for route in self.serve.client.get("access")["access"]:
            if route["pe"] == pe:
                assert route["status"] == "sent", route
                found[route["nlri"]] = tuple(route["actions"])
        return found

    def apply(self, file: str, text: str) -> None:
        """Write a policy file and apply it."""
        (self.policies / file).write_text(text)
        self.serve.client.post("apply", {"author": "test"}, wait_s=10)


@contextmanager
def running(directory: Path) -> Iterator[Flows]:
    """The daemons with their sessions up."""
    me = loopback_address()
    port = free_port(me)
    at = {name: loopback_address() for name in NAMES}
    policies = directory / "policies"
    policies.mkdir()
    vpn = "[vpnv4, ipv4 flow-vpn, ipv6 flow-vpn]"
    families = {"gobgp": vpn, "exabgp": vpn, "frr": "[vpnv4, ipv4 flow, ipv6 flow]"}
    sites = {"hq": "gobgp", "lab": "exabgp", "dc": "frr"}
    lines = [f'controller: {{asn: 65000, router_id: 10.255.0.1, listen: "{me}:{port}"}}', "sites:"]
    lines += [f"  {site}: {{kind: enterprise, pes: [{pe}]}}" for site, pe in sites.items()]
    lines += ["pes:"]
    lines += [
        f"  {name}: {{address: {at[name]}, families: {families[name]}, passive: true}}"
        for name in NAMES
    ]
    (policies / "network.yaml").write_text("\n".join(lines) + "\n")
    (policies / "e1.yaml").write_text(E1 + RULES)
    (policies / "scrub.yaml").write_text(SCRUB)
    (policies / "plain.yaml").write_text(PLAIN)

    def common(name: str, *spoken: tuple[int, int]) -> dict[str, Any]:
        return {
            "address": at[name],
            "asn": 65000,
            "router_id": f"10.255.1.{1 + NAMES.index(name)}",
            "peers": [DaemonPeer(me, 65000, port, families=(VPNV4, *spoken))],
        }

    with ExitStack() as stack:
        enter = stack.enter_context
        serve = enter(Serve(policies, f"sqlite:///{directory / 'store'}", directory))
        bgp = common("gobgp", FLOW_VPN4, FLOW_VPN6)
        vpns = common("exabgp", FLOW_VPN4, FLOW_VPN6)
        flows = Flows(
            serve=serve,
            address=me,
            policies=policies,
            gobgp=enter(gobgp(directory / "g", port=free_port(me), **bgp)),
            exabgp=enter(exabgp(directory / "x", **vpns)),
            frr=enter(frr(directory / "f", port=free_port(me), **common("frr", FLOW4, FLOW6))),
        )
        for name in NAMES:
            getattr(flows, name).wait_established(me)
        yield flows
