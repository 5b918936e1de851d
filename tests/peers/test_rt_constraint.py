"""GoBGP asks for the targets of its VRFs (RFC 4684), and is sent those and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.test_world import becomes
from tests.routing import wire
from tests.support.daemons import DaemonPeer, GoBgp, gobgp, require
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPNV4, RawPeer
from tests.support.serve import Serve
from vpnctl.model import VPNV4 as FAMILY

pytestmark = pytest.mark.daemon

RTC = (1, 132)


class Pair:
    """GoBGP with constraint at one site of two customers, a raw PE at their other one."""

    def __init__(self, serve: Serve, daemon: GoBgp, raw: RawPeer, address: str) -> None:
        self.serve, self.daemon, self.raw, self.address = serve, daemon, raw, address

    def held(self) -> set[str]:
        return set(self.daemon.rib("vpnv4"))

    def asked(self) -> str:
        peers = self.serve.client.get("peers")["peers"]
        return next(str(peer["asked"]) for peer in peers if peer["name"] == "gobgp")

    def vrf(self, name: str, target: str) -> None:
        self.daemon.cli("vrf", "add", name, "rd", target, "rt", "both", target)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    require("gobgpd", "gobgp")
    ours, theirs, other = (loopback_address() for _ in range(3))
    port, there = free_port(ours), free_port(theirs)
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "network.yaml").write_text(
        f'controller: {{asn: 65000, router_id: 10.255.0.1, listen: "{ours}:{port}"}}\n'
        "sites: {hq: {kind: enterprise, pes: [raw]}, shop: {kind: enterprise, pes: [gobgp]}}\n"
        "pes:\n"
        f"  raw: {{address: {other}, passive: true, families: [vpnv4]}}\n"
        f"  gobgp: {{address: {theirs}, passive: true, families: [vpnv4], rt_constraint: true}}\n"
    )
    for number in (1, 2):
        (policies / f"e{number}.yaml").write_text(
            f"vpn: E{number}\nservice: l3vpn\nsites:\n"
            f"  - {{site: hq, targets: 65000:{number}01}}\n"
            f"  - {{site: shop, targets: 65000:{number}02}}\n"
        )
    serve = Serve(policies, f"sqlite:///{tmp_path / 'store.sqlite'}", tmp_path)
    try:
        with (
            RawPeer(
                local=other,
                remote=(ours, port),
                asn=65000,
                router_id="10.255.0.3",
                families=(VPNV4,),
            ) as raw,
            gobgp(
                tmp_path / "gobgp",
                address=theirs,
                port=there,
                asn=65000,
                router_id="10.255.0.2",
                peers=[DaemonPeer(ours, 65000, port=port, families=(VPNV4, RTC))],
            ) as daemon,
        ):
            raw.connect()
            raw.wait_established()
            for number in (1, 2):
                nlri = wire.vpnv4(number, bytes((10, number)))
                targets = wire.targets(f"65000:{number}01")
                raw.send(wire.update(wire.reach(FAMILY, nlri), wire.BASIC, targets))
            daemon.wait_established(ours)
            yield Pair(serve, daemon, raw, ours)
    finally:
        serve.kill()


def test_gobgp_gets_the_routes_of_the_vrfs_that_it_has(pair: Pair) -> None:
    becomes(pair.asked, "0 targets")
    assert pair.held() == set()
    pair.vrf("e1", "65000:102")
    becomes(pair.held, {"65000:1:10.1.0.0/16"})
    assert pair.asked() == "1 target"
    told = pair.serve.client.get("explain", nlri="65000:2:10.2.0.0/16", peer="gobgp")
    assert told["explanation"]["lines"][-1] == (
        "not sent to gobgp: it did not ask for target 65000:202 (RFC 4684)"
    )
    pair.vrf("e2", "65000:202")
    becomes(pair.held, {"65000:1:10.1.0.0/16", "65000:2:10.2.0.0/16"})
    assert pair.asked() == "2 targets"


def test_gobgp_is_asked_for_everything_and_both_fall_silent(pair: Pair) -> None:
    pair.vrf("e1", "65000:102")
    becomes(pair.held, {"65000:1:10.1.0.0/16"})
    # It sends us what it has, because we asked for everything.
    pair.daemon.cli("vrf", "e1", "rib", "add", "10.77.0.0/16")
    pair.raw.wait(lambda: any(b"\x0a\x4d" in octets for octets in pair.raw.updates), "its route")

    # No update loop: what each side has said it does not say again.
    def sent() -> tuple[int, int]:
        peers = pair.serve.client.get("peers")["peers"]
        return next((p["updates_heard"], p["updates_sent"]) for p in peers if p["name"] == "gobgp")

    before = sent()
    for number in range(3, 8):
        nlri = wire.vpnv4(1, bytes((10, 1, number)))
        pair.raw.send(wire.update(wire.reach(FAMILY, nlri), wire.BASIC, wire.targets("65000:101")))
    becomes(lambda: len(pair.held()), 7)
    after = sent()
    assert after[0] == before[0]
    assert after[1] - before[1] <= 5
