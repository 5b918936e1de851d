"""Several paths to one destination (RFC 7911) between real daemons."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.test_bird import WITHIN, Bird, bird, namespace
from tests.peers.test_world import becomes
from tests.routing import wire
from tests.support.daemons import DaemonPeer, Frr, GoBgp, frr, gobgp, require
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPNV4, RawPeer, add_path
from tests.support.serve import Serve
from vpnctl.model import VPNV4 as FAMILY

pytestmark = pytest.mark.daemon
__all__ = ["namespace"]

#: An anycast address of E1 is at two machines behind the raw PE: ``label`` is that of a route.
NLRI = wire.vpnv4(7, b"\x0a\x07\x01")
NAME = "65000:7:10.7.1.0/24"
TARGET = "65000:101"


@dataclass
class Four:
    """E1 at four PEs: a raw one that has the routes, GoBGP, FRR, and one without identifiers."""

    serve: Serve
    raw: RawPeer
    gobgp: GoBgp
    frr: Frr
    plain: RawPeer

    def announce(self, number: int, hop: int) -> None:
        next_hop = bytes(8) + bytes((192, 0, 2, hop))
        nlri = wire.path_id(number) + NLRI
        head = wire.reach(FAMILY, nlri, next_hop=next_hop)
        self.raw.send(wire.update(head, wire.BASIC, wire.targets(TARGET)))

    def withdraw(self, number: int) -> None:
        self.raw.send(wire.update(wire.unreach(FAMILY, wire.path_id(number) + NLRI)))

    def at_gobgp(self) -> list[str]:
        """Next hops of what GoBGP has."""
        paths = self.gobgp.rib("vpnv4").get(NAME, [])
        found = [a["nexthop"] for path in paths for a in path["attrs"] if a["type"] == 14]
        return sorted(found)

    def at_frr(self) -> list[str]:
        said = json.loads(self.frr.vtysh("show bgp ipv4 vpn rd 65000:7 10.7.1.0/24 json"))
        paths = said.get("65000:7", {}).get("paths", ())
        return sorted(path["nexthops"][0]["ip"] for path in paths)

    def at_plain(self) -> list[int]:
        """Last octets of the next hops that the PE without identifiers was told, in order."""
        decoded = [wire.decode(octets[19:]) for octets in self.plain.updates]
        return [each.next_hop[-1] for each in decoded if each.announced == [NLRI]]


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Four]:
    require("gobgpd", "gobgp", "vtysh")
    ours, at_gobgp, at_frr, at_raw, at_plain = (loopback_address() for _ in range(5))
    port = free_port(ours)
    policies = tmp_path / "policies"
    policies.mkdir()
    more = "passive: true, families: [vpnv4], add_path: {send: 2, receive: 3}"
    (policies / "network.yaml").write_text(
        f'controller: {{asn: 65000, router_id: 10.255.0.1, listen: "{ours}:{port}"}}\n'
        "sites:\n"
        + "".join(
            f"  s{at}: {{kind: enterprise, pes: [{pe}]}}\n"
            for at, pe in enumerate(("raw", "gobgp", "frr", "plain"))
        )
        + f"pes:\n  raw: {{address: {at_raw}, {more}}}\n  gobgp: {{address: {at_gobgp}, {more}}}\n"
        f"  frr: {{address: {at_frr}, {more}}}\n  plain: {{address: {at_plain}, {more}}}\n"
    )
    sites = "".join(f"  - {{site: s{at}, targets: 65000:{at + 1}01}}\n" for at in range(4))
    (policies / "e1.yaml").write_text(f"vpn: E1\nservice: l3vpn\nsites:\n{sites}")
    raw = RawPeer(
        local=at_raw,
        remote=(ours, port),
        asn=65000,
        router_id="10.255.0.3",
        families=(VPNV4,),
        more=add_path(VPNV4, send=True, receive=False),
    )
    plain = RawPeer(
        local=at_plain, remote=(ours, port), asn=65000, router_id="10.255.0.4", families=(VPNV4,)
    )
    peers = [DaemonPeer(ours, 65000, port, families=(VPNV4,), paths=4)]
    with ExitStack() as stack:
        serve = stack.enter_context(Serve(policies, f"sqlite:///{tmp_path / 'store'}", tmp_path))
        found = Four(
            serve,
            stack.enter_context(raw),
            stack.enter_context(
                gobgp(
                    tmp_path / "gobgp", address=at_gobgp, port=free_port(at_gobgp), asn=65000,
                    router_id="10.255.0.2", peers=peers,
                )
            ),
            stack.enter_context(
                frr(
                    tmp_path / "frr", address=at_frr, port=free_port(at_frr), asn=65000,
                    router_id="10.255.0.5", peers=peers,
                )
            ),
            stack.enter_context(plain),
        )  # fmt: skip
        for each in (raw, plain):
            each.connect()
            each.wait_established()
        found.gobgp.wait_established(ours)
        found.frr.wait_established(ours)
        yield found


def test_gobgp_and_frr_hold_both_paths_and_lose_the_one_that_goes(four: Four) -> None:
    four.announce(71, hop=1)
    four.announce(72, hop=2)
    both = ["192.0.2.1", "192.0.2.2"]
    becomes(four.at_gobgp, both)
    becomes(four.at_frr, both)
    four.plain.wait(lambda: four.at_plain() == [1], "the best path alone")
    # A third one is heard, and not among the two that are sent.
    four.announce(73, hop=3)
    heard = lambda: len(four.serve.client.get("peers", "raw", "rib-in")["routes"])  # noqa: E731
    becomes(heard, 3)
    assert (four.at_gobgp(), four.at_frr()) == (both, both)
    four.withdraw(71)
    left = ["192.0.2.2", "192.0.2.3"]
    becomes(four.at_gobgp, left)
    becomes(four.at_frr, left)
    # The third one is in the first one's place, where no other path of the three is better.
    four.plain.wait(lambda: four.at_plain()[1:] in ([2], [3]), "another path in its place")
    four.serve.change("retract", vpn="E1", site="s1")
    becomes(four.at_gobgp, [])
    assert four.at_frr() == left


CONFIGURATION = """\
router id {router_id};
vpn4 table four;
protocol device {{ }}
protocol static here {{
  vpn4 {{ table four; }};
  route {rd} 10.9.1.0/24 unreachable {{
    bgp_community.add((65000, 1)); bgp_ext_community.add((rt, 65000, {target})); }};
}}
protocol static there {{
  vpn4 {{ table four; }};
  route {rd} 10.9.1.0/24 unreachable {{
    bgp_community.add((65000, 2)); bgp_ext_community.add((rt, 65000, {target})); }};
}}
protocol bgp reflector {{
  local {local} as 65000;
  neighbor 127.0.0.1 port 1790 as 65000;
  multihop;
  strict bind yes;
  connect retry time 1;
  connect delay time 1;
  vpn4 mpls {{ table four; add paths on; import all; export where source = RTS_STATIC;
    next hop address 192.0.2.9; }};
}}
"""
BIRDS = """\
controller: {asn: 65000, router_id: 10.255.0.1, listen: "127.0.0.1:1790"}
sites:
  west: {kind: enterprise, pes: [one]}
  east: {kind: enterprise, pes: [other]}
pes:
  one: {address: 127.0.0.2, platform: bird, passive: true, add_path: {send: 4, receive: 4}}
  other: {address: 127.0.0.3, platform: bird, passive: true, add_path: {send: 4, receive: 4}}
"""
OFFICE = """\
vpn: office
service: l3vpn
sites: [{site: west, targets: 65000:1107}, {site: east, targets: 65000:1108}]
"""


def communities(daemon: Bird, rd: str) -> list[str]:
    """Of BIRD's paths that came from the route server."""
    said = daemon.ask("show route table four protocol reflector all")
    wanted = [part for part in re.split(r"\n(?=\d+:\d+ )", said) if rd in part]
    return sorted(re.findall(r"BGP.community: (\(\S+\))", "\n".join(wanted)))


@pytest.mark.usefixtures("namespace")
def test_birds_send_and_hold_several_paths(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "network.yaml").write_text(BIRDS)
    (policies / "office.yaml").write_text(OFFICE)
    with ExitStack() as stack:
        serve = stack.enter_context(
            Serve(policies, f"sqlite:///{tmp_path / 'store'}", tmp_path, WITHIN)
        )
        one, other = (
            stack.enter_context(
                bird(
                    tmp_path / name, CONFIGURATION, router_id=f"10.255.1.{number}",
                    target=1105 + number, local=f"127.0.0.{number}", rd=f"65000:{number}",
                )
            )
            for name, number in (("one", 2), ("other", 3))
        )  # fmt: skip
        both = ["(65000,1)", "(65000,2)"]
        becomes(lambda: communities(one, "65000:3"), both)
        becomes(lambda: communities(other, "65000:2"), both)
        one.ask("disable here")
        becomes(lambda: communities(other, "65000:2"), both[1:])
        assert len(serve.client.get("peers", "other", "rib-in")["routes"]) == 2
