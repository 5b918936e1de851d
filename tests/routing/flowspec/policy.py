"""A network whose PEs speak flow families in all the ways there are, and access rules for it.

============ ======================= =================================
PE           site                    speaks
============ ======================= =================================
pe0          hq of E1, of E2         flow-vpn of both versions
pe1          branch of E1, of E2     flow-vpn of IPv4
pe2 (eBGP)   lone of E1              plain flow of both versions
pe3          cloud of E1             flow-vpn and flow of both versions
============ ======================= =================================
"""

from __future__ import annotations

from collections.abc import Sequence

_NETWORK = """\
controller: {{asn: 65000, router_id: 10.0.0.100, listen: [10.0.0.100]}}
sites:
  hq: {{kind: enterprise, pes: pe0}}
  branch: {{kind: enterprise, pes: pe1}}
  lone: {{kind: enterprise, pes: pe2}}
  cloud: {{kind: cloud, pes: pe3}}
pes:
  pe0: {{address: 10.0.0.1, families: [vpnv4, ipv4 flow-vpn, ipv6 flow-vpn]}}
  pe1: {{address: 10.0.0.2, families: [vpnv4, ipv4 flow-vpn{branch}]}}
  pe2: {{address: 10.0.0.3, asn: 65002, families: [vpnv4, ipv4 flow, ipv6 flow]}}
  pe3:
    address: 10.0.0.4
    families: [vpnv4, ipv4 flow, ipv6 flow{cloud}]
"""

_E1 = """\
vpn: E1
service: l3vpn
sites:
  - {site: hq, prefixes: [10.1.0.0/16, "2001:db8:1::/48"]}
  - {site: branch, prefixes: 10.2.0.0/16}
  - {site: lone, prefixes: [10.3.0.0/16, "2001:db8:3::/48"]}
  - {site: cloud, prefixes: [10.4.0.0/16, "2001:db8:4::/48"]}
"""
_E2 = """\
vpn: E2
service: l3vpn
sites:
  - {site: hq, prefixes: 10.1.0.0/16}
  - {site: branch, prefixes: 10.2.0.0/16}
extranet: [{to: E1}]
"""

#: In an order in which any of them may stand together.
RULES_OF_E1 = (
    "accept: {to: hq, from: branch, protocol: tcp, to_port: 22}",
    "deny: {to: hq, from: 192.0.2.0/24}",
    "deny: {to: hq, protocol: tcp, to_port: 22, at: [hq, cloud]}",
    "accept: {to: hq, protocol: udp}",
    "accept: {to: branch, protocol: icmp}",
    "deny: {to: lone, protocol: tcp, tcp_flags: [syn, not-ack]}",
    "deny: {to: [lone, cloud], family: ipv6}",
    "accept: {at: [lone, cloud], protocol: 47}",
)
RULES_OF_E2 = (
    "accept: {to: hq, protocol: udp}",
    "deny: {to: branch}",
)
#: What an accepting rule may do besides.
EXTRAS = ("", "rate: 1 Mb/s", "rate: 2 Mb/s", "mark: ef")


def network(
    *,
    branch_speaks_ipv6: bool = False,
    cloud_is_plain: bool = False,
    trusted: Sequence[str] = (),
) -> bytes:
    """``trusted``: names of PEs, of pe0 and pe1, whose own flow routes are taken."""
    branch = ", ipv6 flow-vpn" if branch_speaks_ipv6 else ""
    cloud = "" if cloud_is_plain else ", ipv4 flow-vpn, ipv6 flow-vpn"
    text = _NETWORK.format(branch=branch, cloud=cloud)
    for pe in trusted:
        text = text.replace(f"{pe}: {{address", f"{pe}: {{flow_routes: true, address")
    return text.encode()


def vpn(head: str, rules: Sequence[str], comment: str = "") -> bytes:
    """A VPN's file; ``rules``: each with its extras behind a newline, if it has some."""
    lines = [head.rstrip(), *([f"# {comment}"] if comment else [])]
    if rules:
        lines.append("access:")
        for rule in rules:
            first, *more = rule.split("\n")
            lines += [f"  - {first}", *(f"    {line}" for line in more if line)]
    return ("\n".join(lines) + "\n").encode()


def files(
    e1: Sequence[str] = (),
    e2: Sequence[str] | None = (),
    *,
    comment: str = "",
    branch_speaks_ipv6: bool = False,
    cloud_is_plain: bool = False,
    trusted: Sequence[str] = (),
) -> dict[str, bytes]:
    """A policy; ``e2`` None: without E2; ``comment``: a line above the rules of E1."""
    found = {
        "network.yaml": network(
            branch_speaks_ipv6=branch_speaks_ipv6,
            cloud_is_plain=cloud_is_plain,
            trusted=trusted,
        ),
        "e1.yaml": vpn(_E1, e1, comment),
    }
    if e2 is not None:
        found["e2.yaml"] = vpn(_E2, e2)
    return found
