"""FRR and GoBGP fall silent, or end their sessions for good (RFC 8538)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import FRR_BGPD, DaemonPeer, frr, gobgp, require, wait_until
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPNV4
from tests.support.serve import Serve

pytestmark = pytest.mark.daemon

#: Seconds of silence after which a session ends, and for which routes stay then.
HOLD, RESTART = 9, 60
#: Seconds that GoBGP stays away after a reset: long enough to be seen.
AWAY = 10

FRR = f"""\
 bgp graceful-restart
 bgp graceful-restart notification
 bgp graceful-restart preserve-fw-state
 bgp graceful-restart restart-time {RESTART}
 bgp hard-administrative-reset
exit
route-map FIRST permit 10
 set extcommunity rt 65000:101
 set ip next-hop 192.0.2.1
"""
FRR_ROUTE = (
    "configure terminal",
    "router bgp 65000",
    "address-family ipv4 vpn",
    "network 10.1.0.0/16 rd 65000:1 label 20 route-map FIRST",
)
GOBGP_ROUTE = "10.2.0.0/16 label 20 rd 65000:2 rt 65000:102 nexthop 192.0.2.2"
AT_FRR = "65000:1:10.1.0.0/16"


class House:
    """A controller with FRR and GoBGP, each with a route that the other one has."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.ours = loopback_address()
        port = free_port(self.ours)
        at = {name: loopback_address() for name in ("frr", "gobgp")}
        # FRR waits to be connected to by a neighbor that restarts.
        frr_port = free_port(at["frr"])
        self.policies = policies = directory / "policies"
        policies.mkdir()
        (policies / "network.yaml").write_text(
            "controller: {asn: 65000, router_id: 10.255.0.1,"
            f' listen: "{self.ours}:{port}"}}\n'
            "sites:\n"
            "  at-frr: {kind: enterprise, pes: [frr]}\n"
            "  at-gobgp: {kind: enterprise, pes: [gobgp]}\n"
            "pes:\n"
            f"  frr: {{address: {at['frr']}, families: [vpnv4], hold_time: {HOLD},"
            f" graceful_restart: {RESTART}, bgp_port: {frr_port}}}\n"
            f"  gobgp: {{address: {at['gobgp']}, families: [vpnv4], hold_time: {HOLD},"
            f" graceful_restart: {RESTART}, passive: true}}\n"
        )
        (policies / "e1.yaml").write_text(
            "vpn: E1\nservice: l3vpn\nsites:\n"
            "  - {site: at-frr, targets: 65000:101}\n"
            "  - {site: at-gobgp, targets: 65000:102}\n"
        )
        store = f"sqlite:///{directory / 'store.sqlite'}"
        self.serve = stack.enter_context(Serve(policies, store, directory))
        peer = DaemonPeer(
            self.ours,
            65000,
            port=port,
            families=(VPNV4,),
            hold_time=HOLD,
            restart=(RESTART, RESTART),
            notification=True,
        )
        self.frr = stack.enter_context(
            frr(
                directory / "frr",
                address=at["frr"],
                port=frr_port,
                asn=65000,
                router_id="10.255.1.1",
                peers=[peer],
                extra=FRR,
            )
        )
        self.gobgp = stack.enter_context(
            gobgp(
                directory / "gobgp",
                address=at["gobgp"],
                port=free_port(at["gobgp"]),
                asn=65000,
                router_id="10.255.1.2",
                peers=[peer],
                idle=AWAY,
            )
        )
        self.frr.wait_established(self.ours)
        self.gobgp.wait_established(self.ours)
        self.frr.vtysh(*FRR_ROUTE)
        self.gobgp.cli("global", "rib", "add", "-a", "vpnv4", *GOBGP_ROUTE.split())

    def at_gobgp(self) -> set[str]:
        return set(self.gobgp.rib("vpnv4"))

    def at_frr(self) -> list[bool]:
        """Whether GoBGP's route is stale at FRR; empty where it is not there."""
        lines = self.frr.vtysh("show bgp ipv4 vpn").splitlines()
        return [line.startswith("S") for line in lines if "10.2.0.0/16" in line]

    def told(self, pe: str) -> dict[str, Any]:
        """What the controller says of a PE."""
        peers = self.serve.client.get("peers")["peers"]
        [found] = [peer for peer in peers if peer["name"] == pe]
        return dict(found)

    def rows(self, pe: str) -> list[str]:
        """What the controller says of a PE's own route."""
        answer = self.serve.client.get("peers", pe, "rib-in")
        return [row["status"] for row in answer["routes"]]

    def lost(self, pe: str) -> str:
        """Wait until a PE's session is over; why."""
        wait_until(lambda: self.told(pe)["state"] != "established", f"{pe}'s session to be lost")
        return str(self.told(pe)["last_error"])

    def wait_all(self) -> None:
        """Wait until everybody has what there is."""
        for pe in ("frr", "gobgp"):
            wait_until(lambda pe=pe: self.rows(pe) == ["accepted"], f"{pe}'s route to be fresh")  # type: ignore[misc]
        wait_until(lambda: AT_FRR in self.at_gobgp(), "GoBGP to have FRR's route")
        wait_until(lambda: self.at_frr() == [False], "FRR to have GoBGP's route")

    def others_have(self, pe: str) -> bool:
        """Whether the other one has a PE's route."""
        return AT_FRR in self.at_gobgp() if pe == "frr" else self.at_frr() == [False]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    require(FRR_BGPD, "vtysh", "gobgpd", "gobgp")
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("house"), stack)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("pe", ["frr", "gobgp"])
def test_who_falls_silent_keeps_its_routes_and_comes_back(house: House, pe: str) -> None:
    house.wait_all()
    daemon = house.frr if pe == "frr" else house.gobgp
    with frozen(daemon.process.pid):
        assert "4/0: Hold timer expired" in house.lost(pe)
        assert house.others_have(pe)
        [row] = house.rows(pe)
        assert row.startswith("stale: the PE is restarting")
    house.wait_all()


def test_a_hard_reset_takes_them_along(house: House) -> None:
    house.wait_all()
    frr_as = ("configure terminal", "router bgp 65000")
    house.frr.vtysh(*frr_as, f"neighbor {house.ours} shutdown")
    reason = house.lost("frr")
    assert "NOTIFICATION 6/9: Cease / Hard Reset, 6/2: Cease / Administrative Shutdown" in reason
    wait_until(lambda: AT_FRR not in house.at_gobgp(), "GoBGP to lose FRR's route")
    assert house.rows("frr") == []
    house.frr.vtysh(*frr_as, f"no neighbor {house.ours} shutdown")
    house.wait_all()


def test_a_notification_that_is_no_hard_reset_leaves_the_routes(house: House) -> None:
    house.wait_all()
    house.gobgp.cli("neighbor", house.ours, "reset")
    assert "the peer sent NOTIFICATION 6/4" in house.lost("gobgp")
    # First what is true only until it is back.
    [row] = house.rows("gobgp")
    assert row.startswith("stale: the PE is restarting")
    assert house.others_have("gobgp")


def test_frr_keeps_our_routes_when_we_fall_silent(house: House) -> None:
    wait_until(lambda: house.at_frr() == [False], "FRR to have GoBGP's route")
    serve = house.serve.process.pid
    [sessions] = Path(f"/proc/{serve}/task/{serve}/children").read_text().split()
    with frozen(int(sessions)):
        wait_until(lambda: house.at_frr() == [True], "FRR to know that the route is stale")
    wait_until(lambda: house.at_frr() == [False], "FRR to have it anew")


def test_who_is_taken_out_of_the_policy_keeps_nothing(house: House) -> None:
    house.frr.wait_established(house.ours)
    wait_until(lambda: house.at_frr() == [False], "FRR to have GoBGP's route")
    for file, keep in (("network.yaml", "frr"), ("e1.yaml", "at-frr")):
        lines = (house.policies / file).read_text().splitlines(keepends=True)
        (house.policies / file).write_text("".join(line for line in lines if keep not in line))
    house.serve.change("apply")
    wait_until(lambda: house.at_frr() == [], "FRR to drop the route")
