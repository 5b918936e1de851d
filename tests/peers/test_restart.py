"""PEs and controller restart, one at a time, and nobody else's routes go (RFC 4724)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.routing import wire
from tests.support.daemons import (
    FRR_BGPD,
    DaemonPeer,
    Frr,
    GoBgp,
    frr,
    gobgp,
    require,
    wait_until,
)
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import EVPN, VPNV4, RawPeer, capability, end_of_rib
from tests.support.serve import Serve
from vpnctl.model import VPNV4 as FAMILY

pytestmark = pytest.mark.daemon

NLRI = wire.vpnv4(1, b"\x0a\x01")
ROUTE = wire.update(wire.reach(FAMILY, NLRI), wire.BASIC, wire.targets("65000:101"))


def graceful(*, preserved: bool) -> bytes:
    families = struct.pack("!HBB", *VPNV4, 0x80 if preserved else 0)
    return capability(64, struct.pack("!H", (0x8000 if preserved else 0) | 60) + families)


class House:
    """A controller with a raw PE that announces, and FRR and GoBGP that hear it."""

    def __init__(self, directory: Path) -> None:
        self.ours = loopback_address()
        self.port = free_port(self.ours)
        self.at = {name: loopback_address() for name in ("raw", "frr", "gobgp")}
        self.policies, self.directory = directory / "policies", directory
        self.policies.mkdir()
        # FRR waits to be connected to by a neighbor that restarts.
        self.frr_port = free_port(self.at["frr"])
        pes = "".join(
            f"  {name}: {{address: {address}, families: [vpnv4, evpn], graceful_restart: 60, "
            + (f"bgp_port: {self.frr_port}}}\n" if name == "frr" else "passive: true}\n")
            for name, address in self.at.items()
        )
        sites = "".join(f"  at-{name}: {{kind: enterprise, pes: [{name}]}}\n" for name in self.at)
        (self.policies / "network.yaml").write_text(
            "controller: {asn: 65000, router_id: 10.255.0.1,"
            f' listen: "{self.ours}:{self.port}"}}\n'
            f"sites:\n{sites}pes:\n{pes}"
        )
        lines = "".join(
            f"  - {{site: at-{name}, targets: 65000:{number}}}\n"
            for number, name in enumerate(self.at, 101)
        )
        (self.policies / "e1.yaml").write_text(f"vpn: E1\nservice: l3vpn\nsites:\n{lines}")
        self.serve = self.start()

    def start(self) -> Serve:
        store = f"sqlite:///{self.directory / 'store.sqlite'}"
        return Serve(self.policies, store, self.directory)

    def raw(self, *, preserved: bool) -> RawPeer:
        """The announcing PE's next session, its routes sent."""
        remote = self.ours, self.port
        families = (VPNV4, EVPN)
        for _ in range(100):
            raw = RawPeer(
                local=self.at["raw"],
                remote=remote,
                asn=65000,
                router_id="10.255.0.9",
                families=families,
                more=graceful(preserved=preserved),
            )
            raw.connect()
            raw.wait(lambda raw=raw: raw.closed or raw.keepalives > 0, "a session or its end")  # type: ignore[misc]
            if not raw.closed:
                return raw
            raw.__exit__()
        raise AssertionError("the raw PE was refused")

    def peer(self) -> DaemonPeer:
        return DaemonPeer(self.ours, 65000, port=self.port, families=(VPNV4, EVPN))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    try:
        yield house
    finally:
        house.serve.kill()


def at_frr(daemon: Frr) -> list[bool]:
    """Whether each of FRR's routes is stale."""
    lines = daemon.vtysh("show bgp ipv4 vpn").splitlines()
    return [line.startswith("S") for line in lines if line.endswith(" i") and "10.1.0.0" in line]


def at_gobgp(daemon: GoBgp) -> set[str]:
    return set(daemon.rib("vpnv4"))


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_the_controller_restarts_and_no_route_is_gone_meanwhile(house: House, way: str) -> None:
    require(FRR_BGPD, "vtysh")
    raw = house.raw(preserved=False)
    raw.send(ROUTE + end_of_rib(VPNV4) + end_of_rib(EVPN))
    with frr(
        house.directory / "frr",
        address=house.at["frr"],
        port=house.frr_port,
        asn=65000,
        router_id="10.255.0.2",
        peers=[house.peer()],
    ) as daemon:
        wait_until(lambda: at_frr(daemon) == [False], "FRR to have the route")
        if way == "killed":
            house.serve.kill()
        else:
            house.serve.stop()
        wait_until(lambda: raw.closed, "the session to be lost")
        assert raw.notification is None
        wait_until(lambda: at_frr(daemon) == [True], "FRR to know that it is stale")
        house.serve = house.start()
        daemon.wait_established(house.ours)
        # It stays until the PE that has it is back, too.
        assert len(at_frr(daemon)) == 1
        with house.raw(preserved=True) as again:
            again.send(ROUTE + end_of_rib(VPNV4) + end_of_rib(EVPN))
            wait_until(lambda: at_frr(daemon) == [False], "FRR to have it anew")
    raw.__exit__()


def test_a_pe_restarts_and_nobody_else_is_told(house: House) -> None:
    require("gobgpd", "gobgp")
    raw = house.raw(preserved=False)
    raw.send(ROUTE + end_of_rib(VPNV4) + end_of_rib(EVPN))
    with gobgp(
        house.directory / "gobgp",
        address=house.at["gobgp"],
        port=free_port(house.at["gobgp"]),
        asn=65000,
        router_id="10.255.0.3",
        peers=[house.peer()],
    ) as daemon:
        wait_until(lambda: at_gobgp(daemon) == {"65000:1:10.1.0.0/16"}, "GoBGP to have the route")

        def told() -> tuple[int, str]:
            peers = {peer["name"]: peer for peer in house.serve.client.get("peers")["peers"]}
            return peers["gobgp"]["updates_sent"], peers["raw"]["state"]

        before = told()
        raw.close()
        wait_until(lambda: told()[1] != "established", "the session to be lost")
        assert at_gobgp(daemon) == {"65000:1:10.1.0.0/16"}
        with house.raw(preserved=True) as again:
            again.send(ROUTE + end_of_rib(VPNV4) + end_of_rib(EVPN))
            wait_until(
                lambda: all(
                    peer["synced"]
                    for peer in house.serve.client.get("peers")["peers"]
                    if peer["name"] == "raw"
                ),
                "the PE to have said everything",
            )
            assert told()[0] == before[0]
            # What it has no more goes.
            again.send(wire.update(wire.unreach(FAMILY, NLRI)))
            wait_until(lambda: at_gobgp(daemon) == set(), "GoBGP to lose the route")
    raw.__exit__()
