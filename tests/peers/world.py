"""One ruleset over real daemons: who is there, what they announce, and what they hold.

========= ============== ========== =====================================================
PE        daemon         AS         has
========= ============== ========== =====================================================
gobgp1    GoBGP          iBGP       E1 (l3vpn), E2 (l3vpn, a spoke), V1 (evpn)
gobgp2    GoBGP          iBGP       E2 (the hub), V1; later E1
frr       FRR bgpd       4200000001 DNS (l3vpn, an extranet with E1), V1
exabgp1   stock ExaBGP   65010      E1, E2 (a spoke), L1 (vpls)
exabgp2   stock ExaBGP   iBGP       L1
========= ============== ========== =====================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemons import (
    DaemonPeer,
    Frr,
    GoBgp,
    StockExaBgp,
    exabgp,
    frr,
    gobgp,
    wait_until,
)
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import EVPN, VPLS, VPNV4, VPNV6
from tests.support.serve import Serve

NAMES = ("gobgp1", "gobgp2", "frr", "exabgp1", "exabgp2")
ASN = {"gobgp1": 65000, "gobgp2": 65000, "frr": 4200000001, "exabgp1": 65010, "exabgp2": 65000}

_VPNS = {
    "e1": "vpn: E1\nservice: l3vpn\nsites:\n"
    "  - {site: hq, targets: 65000:1101}   # where E1 began\n"
    "  - {site: shop, targets: 65000:1105}\n",
    "e2": "vpn: E2\nservice: l3vpn\ntopology: {hub-and-spoke: {hubs: [lab]}}\nsites:\n"
    "  - {site: hq, targets: 65000:2101}\n"
    "  - {site: lab, targets: 65000:2102}\n"
    "  - {site: shop, targets: 65000:2105}\n",
    "dns": "vpn: DNS\nservice: l3vpn\nsites: [{site: dc, targets: 65000:5103}]\n"
    "extranet: [{to: E1, direction: both}]\n",
    "v1": "vpn: V1\nservice: evpn\nsites:\n"
    "  - {site: hq, targets: 65000:3101}\n"
    "  - {site: lab, targets: 65000:3102}\n"
    "  - {site: dc, targets: 65000:3103}\n",
    "l1": "vpn: L1\nservice: vpls\nsites:\n"
    "  - {site: shop, targets: 65000:4105}\n"
    "  - {site: branch, targets: 65000:4106}\n",
}

_FRR_POLICY = """\
exit
route-map DNS permit 10
 set extcommunity rt 65000:5103
 set ip next-hop 192.0.2.3
"""
#: Given when the route map is there: bgpd looks at it once.
_FRR_ROUTE = (
    "configure terminal",
    "router bgp 4200000001",
    "address-family ipv4 vpn",
    "network 10.2.1.0/24 rd 65000:23 label 2001 route-map DNS",
)

_EXABGP1_ROUTES = (
    "announce route 10.5.1.0/24 rd 65010:51 next-hop 192.0.2.5 label 5001"
    " extended-community [ target:65000:1105 ]",
    "announce route 10.5.1.0/24 rd 65010:52 next-hop 192.0.2.5 label 5002"
    " extended-community [ target:65000:2105 ]",
    "announce vpls rd 65010:45 endpoint 5 base 5000 offset 1 size 8 next-hop 192.0.2.5"
    " extended-community [ target:65000:4105 l2info:19:0:1500:0 ]",
)
_EXABGP2_ROUTES = (
    "announce vpls rd 65000:46 endpoint 6 base 6000 offset 1 size 8 next-hop 192.0.2.6"
    " extended-community [ target:65000:4106 l2info:19:0:1500:0 ]",
)


@dataclass(frozen=True)
class Held:
    """A route that a peer learned from the route server."""

    targets: tuple[str, ...]
    next_hop: str
    as_path: tuple[int, ...] = ()
    originator: str = ""
    clusters: tuple[str, ...] = ()


@dataclass
class World:
    """Everything that runs."""

    serve: Serve
    address: str
    policies: Path
    gobgp1: GoBgp
    gobgp2: GoBgp
    frr: Frr
    exabgp1: StockExaBgp
    exabgp2: StockExaBgp

    def peer(self, name: str) -> dict[str, Any]:
        """The controller's view of a PE."""
        peers = self.serve.client.get("peers")["peers"]
        return next(dict(peer) for peer in peers if peer["name"] == name)

    def sent(self, name: str) -> dict[str, tuple[str, ...]]:
        """The controller's Adj-RIB-Out: NLRI -> targets."""
        routes = self.serve.client.get("peers", name, "rib-out")["routes"]
        return {route["nlri"]: tuple(route["targets"]) for route in routes}


def learned(daemon: GoBgp, family: str) -> dict[str, Held]:
    """What GoBGP has from the route server, by its name of the route."""
    found = {}
    for name, paths in daemon.rib(family).items():
        for path in paths:
            if "neighbor-ip" in path:
                found[name] = _of_gobgp(path["attrs"])
    return found


def _of_gobgp(attributes: list[dict[str, Any]]) -> Held:
    by_type = {attribute["type"]: attribute for attribute in attributes}
    communities = by_type.get(16, {}).get("value", ())
    segments = by_type.get(2, {}).get("as_paths", ())
    return Held(
        targets=tuple(each["value"] for each in communities if each.get("subtype") == 2),
        next_hop=by_type[14]["nexthop"],
        as_path=tuple(asn for segment in segments for asn in segment["asns"]),
        originator=by_type.get(9, {}).get("value", ""),
        clusters=tuple(by_type.get(10, {}).get("value", ())),
    )


def frr_vpn(daemon: Frr, family: str) -> dict[str, Held]:
    """FRR's VPN routes from the route server, as ``RD:PREFIX``."""
    found = {}
    table = json.loads(daemon.vtysh(f"show bgp {family} vpn json"))
    for rd, prefixes in table["routes"]["routeDistinguishers"].items():
        for prefix in prefixes:
            said = json.loads(daemon.vtysh(f"show bgp {family} vpn rd {rd} {prefix} json"))
            # The route may be gone since the table was shown.
            for path in said.get(rd, {}).get("paths", ()):
                if path["peer"]["peerId"] != "0.0.0.0":
                    found[f"{rd}:{prefix}"] = Held(
                        targets=_targets(path["extendedCommunity"]["string"]),
                        next_hop=path["nexthops"][0]["ip"],
                        as_path=tuple(map(int, path["aspath"]["string"].split())),
                    )
    return found


def frr_evpn(daemon: Frr) -> dict[str, Held]:
    """FRR's EVPN routes, as ``RD`` and FRR's name of the route."""
    found = {}
    table = json.loads(daemon.vtysh("show bgp l2vpn evpn json"))
    for rd, routes in table.items():
        if isinstance(routes, dict):
            for name, route in routes.items():
                if name != "rd":
                    (path,) = route["paths"]
                    found[f"{rd}{name}"] = Held(
                        targets=_targets(path["extendedCommunity"]["string"]),
                        next_hop=path["nexthops"][0]["ip"],
                        as_path=tuple(map(int, path["path"].split())),
                    )
    return found


def _targets(text: str) -> tuple[str, ...]:
    words = text.split()
    return tuple(word.removeprefix("RT:") for word in words if word.startswith("RT:"))


def exabgp_held(daemon: StockExaBgp, family: str) -> dict[str, Held]:
    """What stock ExaBGP was told and not told to forget; VPLS by RD and VE-ID."""
    held: dict[str, Held] = {}
    for event in daemon.events():
        update = event.get("neighbor", {}).get("message", {}).get("update")
        if event.get("type") != "update" or update is None:
            continue
        for nlri in update.get("withdraw", {}).get(family, ()):
            held.pop(_name(nlri), None)
        for next_hop, nlris in update.get("announce", {}).get(family, {}).items():
            attributes = update["attribute"]
            for nlri in nlris:
                held[_name(nlri)] = Held(
                    targets=tuple(
                        each["string"].removeprefix("target:")
                        for each in attributes.get("extended-community", ())
                        if each["string"].startswith("target:")
                    ),
                    next_hop=nlri.get("next-hop", next_hop),
                    as_path=tuple(attributes.get("as-path", {}).get("0", {}).get("value", ())),
                    originator=attributes.get("originator-id", ""),
                    clusters=tuple(attributes.get("cluster-list", ())),
                )
    return held


def _name(nlri: dict[str, Any]) -> str:
    if "endpoint" in nlri:
        return f"{nlri['rd']}:ve{nlri['endpoint']}"
    return f"{nlri['rd']}:{nlri['nlri']}"


def announce(daemon: GoBgp, family: str, words: str) -> None:
    daemon.cli("global", "rib", "add", "-a", family, *words.split())


def forget(daemon: GoBgp, family: str, words: str) -> None:
    daemon.cli("global", "rib", "del", "-a", family, *words.split())


@contextmanager
def running(directory: Path) -> Iterator[World]:
    """The whole world, with all sessions up and all routes announced."""
    me = loopback_address()
    port = free_port(me)
    at = {name: loopback_address() for name in NAMES}
    policies = directory / "policies"
    policies.mkdir()
    sites = {"hq": "gobgp1", "lab": "gobgp2", "dc": "frr", "shop": "exabgp1", "branch": "exabgp2"}
    lines = [f'controller: {{asn: 65000, router_id: 10.255.0.1, listen: "{me}:{port}"}}', "sites:"]
    lines += [f"  {site}: {{kind: enterprise, pes: [{pe}]}}" for site, pe in sites.items()]
    lines += ["pes:"]
    lines += [
        f"  {name}: {{address: {at[name]}, asn: {ASN[name]}, passive: true}}" for name in NAMES
    ]
    (policies / "network.yaml").write_text("\n".join(lines) + "\n")
    for name, text in _VPNS.items():
        (policies / f"{name}.yaml").write_text(text)

    def peers(*families: tuple[int, int]) -> list[DaemonPeer]:
        return [DaemonPeer(me, 65000, port, families=families)]

    def common(name: str) -> dict[str, Any]:
        router_id = f"10.255.1.{1 + NAMES.index(name)}"
        return {"address": at[name], "asn": ASN[name], "router_id": router_id}

    l3_and_evpn = peers(VPNV4, VPNV6, EVPN)
    with ExitStack() as stack:
        enter = stack.enter_context
        serve = enter(Serve(policies, f"sqlite:///{directory / 'store'}", directory))
        world = World(
            serve=serve,
            address=me,
            policies=policies,
            gobgp1=enter(
                gobgp(directory / "g1", port=free_port(me), peers=l3_and_evpn, **common("gobgp1"))
            ),
            gobgp2=enter(
                gobgp(directory / "g2", port=free_port(me), peers=l3_and_evpn, **common("gobgp2"))
            ),
            frr=enter(
                frr(
                    directory / "f", port=free_port(me), peers=l3_and_evpn, extra=_FRR_POLICY,
                    **common("frr"),
                )
            ),
            exabgp1=enter(
                exabgp(
                    directory / "x1", peers=peers(VPNV4, VPLS), routes=_EXABGP1_ROUTES,
                    **common("exabgp1"),
                )
            ),
            exabgp2=enter(
                exabgp(
                    directory / "x2", peers=peers(VPLS), routes=_EXABGP2_ROUTES,
                    **common("exabgp2"),
                )
            ),
        )  # fmt: skip
        for name in NAMES:
            getattr(world, name).wait_established(me)
        world.frr.vtysh(*_FRR_ROUTE, f"neighbor {me} attribute-unchanged next-hop")
        announce(
            world.gobgp1, "vpnv4",
            "10.1.1.0/24 label 1001 rd 65000:11 rt 65000:1101 nexthop 192.0.2.1",
        )  # fmt: skip
        announce(
            world.gobgp1, "vpnv6",
            "2001:db8:1::/48 label 1002 rd 65000:11 rt 65000:1101 nexthop 2001:db8::1",
        )  # fmt: skip
        announce(
            world.gobgp1, "vpnv4",
            "10.1.1.0/24 label 1003 rd 65000:12 rt 65000:2101 nexthop 192.0.2.1",
        )  # fmt: skip
        announce(
            world.gobgp2, "vpnv4",
            "0.0.0.0/0 label 1004 rd 65000:22 rt 65000:2102 nexthop 192.0.2.2",
        )  # fmt: skip
        mine = "etag 0 label 16 rd 65000:31 rt 65000:3101 encap vxlan nexthop 192.0.2.1"
        announce(world.gobgp1, "evpn", f"macadv 00:11:22:33:44:55 10.1.0.5 {mine}")
        announce(world.gobgp1, "evpn", f"multicast 192.0.2.1 {mine.replace('label 16 ', '')}")
        announce(world.gobgp1, "evpn", f"prefix 10.9.0.0/24 gw 0.0.0.0 {mine}")
        heard = {"gobgp1": 6, "gobgp2": 1, "exabgp1": 3, "exabgp2": 1}

        def all_heard() -> bool:
            counts = {
                peer["name"]: sum(family["heard"] for family in peer["families"])
                for peer in serve.client.get("peers")["peers"]
            }
            # FRR sends back what it hears, and its own route.
            own = serve.client.get("peers", "frr", "rib-in", vpn="DNS")["routes"]
            return bool(own) and {name: counts[name] for name in heard} == heard

        wait_until(all_heard, "all routes to be heard")
        yield world
