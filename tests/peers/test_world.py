"""Real daemons hold the routes that the policy says, with the attributes that the RFCs say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.peers.world import (
    Held,
    World,
    announce,
    exabgp_held,
    forget,
    frr_evpn,
    frr_vpn,
    learned,
)
from tests.support.daemons import wait_until

pytestmark = pytest.mark.daemon

T = TypeVar("T")

#: E1 of gobgp1 is reflected to iBGP clients with these (RFC 4456 section 8).
REFLECTED = {"originator": "10.255.1.1", "clusters": ("10.255.0.1",)}

AT_GOBGP1 = {
    # E1 of exabgp1: heard over eBGP, so nothing is prepended and nothing is reflected.
    "65010:51:10.5.1.0/24": Held(("65000:1101",), "192.0.2.5", (65010,)),
    # DNS of frr, which is no VPN of gobgp1 but an extranet of one; a 4-octet AS.
    "65000:23:10.2.1.0/24": Held(("65000:1101",), "192.0.2.3", (4200000001,)),
    # E2's hub; the other spoke is not heard.
    "65000:22:0.0.0.0/0": Held(("65000:2101",), "192.0.2.2", (), "10.255.1.2", ("10.255.0.1",)),
}
AT_GOBGP2 = {
    "65000:12:10.1.1.0/24": Held(("65000:2102",), "192.0.2.1", (), **REFLECTED),  # type: ignore[arg-type]
    "65010:52:10.5.1.0/24": Held(("65000:2102",), "192.0.2.5", (65010,)),
}
E1_AT_GOBGP2 = {
    "65000:11:10.1.1.0/24": Held(("65000:100",), "192.0.2.1", (), **REFLECTED),  # type: ignore[arg-type]
    "65010:51:10.5.1.0/24": Held(("65000:100",), "192.0.2.5", (65010,)),
    "65000:23:10.2.1.0/24": Held(("65000:100",), "192.0.2.3", (4200000001,)),
}
AT_FRR = {
    "65000:11:10.1.1.0/24": Held(("65000:5103",), "192.0.2.1", (65000,)),
    "65010:51:10.5.1.0/24": Held(("65000:5103",), "192.0.2.5", (65000, 65010)),
}
AT_EXABGP1 = {
    "65000:11:10.1.1.0/24": Held(("65000:1105",), "192.0.2.1", (65000,)),
    "65000:23:10.2.1.0/24": Held(("65000:1105",), "192.0.2.3", (65000, 4200000001)),
    "65000:22:0.0.0.0/0": Held(("65000:2105",), "192.0.2.2", (65000,)),
}


def becomes(ask: Callable[[], T], wanted: T) -> None:
    """Until a daemon that can only be asked answers so."""
    said: list[T] = []

    def answers() -> bool:
        said[:] = [ask()]
        return said[0] == wanted

    try:
        wait_until(answers, "the routes", 20.0)
    except AssertionError:
        assert said[0] == wanted


def test_gobgp_inside_holds_vpn_routes(world: World) -> None:
    becomes(lambda: learned(world.gobgp1, "vpnv4"), AT_GOBGP1)
    becomes(lambda: learned(world.gobgp2, "vpnv4"), AT_GOBGP2)
    assert learned(world.gobgp1, "vpnv6") == {}


def test_frr_outside_holds_vpn_routes(world: World) -> None:
    becomes(lambda: frr_vpn(world.frr, "ipv4"), AT_FRR)
    wanted = {"65000:11:2001:db8:1::/48": Held(("65000:5103",), "2001:db8::1", (65000,))}
    becomes(lambda: frr_vpn(world.frr, "ipv6"), wanted)


def test_exabgp_outside_holds_vpn_routes(world: World) -> None:
    becomes(lambda: exabgp_held(world.exabgp1, "ipv4 mpls-vpn"), AT_EXABGP1)


def test_evpn_of_all_kinds_inside_and_outside(world: World) -> None:
    names = (
        "[type:macadv][rd:65000:31][etag:0][mac:00:11:22:33:44:55][ip:10.1.0.5]",
        "[type:multicast][rd:65000:31][etag:0][ip:192.0.2.1]",
        "[type:Prefix][rd:65000:31][etag:0][prefix:10.9.0.0/24]",
    )
    inside = Held(("65000:3102",), "192.0.2.1", (), **REFLECTED)  # type: ignore[arg-type]
    becomes(lambda: learned(world.gobgp2, "evpn"), dict.fromkeys(names, inside))
    names = (
        "65000:31[2]:[0]:[48]:[00:11:22:33:44:55]:[32]:[10.1.0.5]",
        "65000:31[3]:[0]:[32]:[192.0.2.1]",
        "65000:31[5]:[0]:[24]:[10.9.0.0]",
    )
    outside = Held(("65000:3103",), "192.0.2.1", (65000,))
    becomes(lambda: frr_evpn(world.frr), dict.fromkeys(names, outside))


def test_vpls_inside_and_outside(world: World) -> None:
    wanted = {"65010:45:ve5": Held(("65000:4106",), "192.0.2.5", (65010,))}
    becomes(lambda: exabgp_held(world.exabgp2, "l2vpn vpls"), wanted)
    wanted = {"65000:46:ve6": Held(("65000:4105",), "192.0.2.6", (65000,))}
    becomes(lambda: exabgp_held(world.exabgp1, "l2vpn vpls"), wanted)


def test_extended_and_retracted_while_nobody_else_hears_of_it(world: World) -> None:
    before = {name: world.peer(name)["updates_sent"] for name in ("gobgp1", "frr", "exabgp1")}
    applied = world.serve.change("extend", vpn="E1", site="lab")
    assert applied["complete"]
    assert {peer["peer"] for peer in applied["plan"]["peers"]} == {"gobgp2"}
    becomes(lambda: learned(world.gobgp2, "vpnv4"), AT_GOBGP2 | E1_AT_GOBGP2)
    assert learned(world.gobgp2, "vpnv6").keys() == {"65000:11:2001:db8:1::/48"}
    assert "  - lab\n" in (world.policies / "e1.yaml").read_text()
    world.serve.change("retract", vpn="E1", site="lab")
    becomes(lambda: learned(world.gobgp2, "vpnv4"), AT_GOBGP2)
    assert learned(world.gobgp2, "vpnv6") == {}
    assert {name: world.peer(name)["updates_sent"] for name in before} == before
    # What the daemons hold is what the controller says that they hold.
    assert world.sent("gobgp1") == {name: held.targets for name, held in AT_GOBGP1.items()}


def test_rollback_brings_routes_back(world: World) -> None:
    world.serve.change("extend", vpn="E1", site="lab")
    becomes(lambda: learned(world.gobgp2, "vpnv4"), AT_GOBGP2 | E1_AT_GOBGP2)
    world.serve.change("rollback")
    becomes(lambda: learned(world.gobgp2, "vpnv4"), AT_GOBGP2)


def test_a_target_that_the_pe_does_not_own_is_refused(world: World) -> None:
    # gobgp2 pretends to be E1's head office.
    forged = "10.66.0.0/24 label 66 rd 65000:66 rt 65000:1101 nexthop 192.0.2.66"
    announce(world.gobgp2, "vpnv4", forged)
    try:
        wait_until(lambda: world.peer("gobgp2")["refused_targets"] == 1, "the refusal")
        becomes(lambda: learned(world.gobgp1, "vpnv4"), AT_GOBGP1)
        assert "65000:66:10.66.0.0/24" not in exabgp_held(world.exabgp1, "ipv4 mpls-vpn")
    finally:
        forget(world.gobgp2, "vpnv4", forged)
    wait_until(lambda: world.peer("gobgp2")["refused_targets"] == 0, "the withdrawal")


def test_frr_asks_again_and_is_answered(world: World) -> None:
    becomes(lambda: frr_vpn(world.frr, "ipv4"), AT_FRR)
    before = world.peer("frr")["updates_sent"]
    world.frr.vtysh("clear bgp ipv4 vpn * soft in")
    wait_until(lambda: world.peer("frr")["updates_sent"] > before, "the answer to the refresh")
    becomes(lambda: frr_vpn(world.frr, "ipv4"), AT_FRR)
    assert world.peer("frr")["state"] == "established"


def test_the_end_of_the_first_table_is_marked(world: World) -> None:
    def ends() -> set[tuple[str, str]]:
        found = set()
        for event in world.exabgp1.events():
            eor = event.get("neighbor", {}).get("message", {}).get("eor")
            if eor:
                found.add((eor["afi"], eor["safi"]))
        return found

    becomes(ends, {("ipv4", "mpls-vpn"), ("l2vpn", "vpls")})
    # ExaBGP marks the end of its own, too.
    assert world.peer("exabgp1")["synced"]


def test_a_lost_session_takes_its_routes_along(world: World) -> None:
    world.exabgp1.process.terminate()
    left = {name: held for name, held in AT_GOBGP1.items() if held.as_path != (65010,)}
    becomes(lambda: learned(world.gobgp1, "vpnv4"), left)
    becomes(lambda: set(frr_vpn(world.frr, "ipv4")), {"65000:11:10.1.1.0/24"})
    becomes(lambda: exabgp_held(world.exabgp2, "l2vpn vpls"), {})
    assert world.peer("exabgp1")["state"] != "established"
    assert world.peer("exabgp1")["last_error"]
