"""A whole controller on loopback with two customers, one of whose PEs is hostile.

E1 is at pe-1, pe-2 and pe-s; E2 is at pe-x, which is hostile, and at pe-s, which they share.  Each
has an L3VPN, an EVPN and a VPLS.  Everything is real but the PEs: ``vpnctl serve`` as a process,
its session process, the policy from YAML.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Self

from tests.routing import wire
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import RawPeer
from tests.support.serve import Serve
from vpnctl.model import EVPN, VPLS, VPNV4, Family, RouteTarget
from vpnctl.routing.nlri import KEY_OF

ASN = 65000
PES = {"e1-hq": "pe-1", "cloud1": "pe-2", "shared": "pe-s", "e2-hq": "pe-x"}
E1_SITES, E2_SITES = ("e1-hq", "cloud1", "shared"), ("e2-hq", "shared")
#: First target and route distinguisher of each VPN; its sites count up from there.
FIRST = {
    ("l3vpn", "e1"): 1100,
    ("l3vpn", "e2"): 1200,
    ("evpn", "e1"): 2100,
    ("evpn", "e2"): 2200,
    ("vpls", "e1"): 3100,
    ("vpls", "e2"): 3200,
}
#: (family, key) -> (targets, NLRI)
Held = dict[tuple[str, bytes], tuple[tuple[str, ...], bytes]]
HOSTILE_TARGET = {VPNV4: "65000:1200", EVPN: "65000:2200", VPLS: "65000:3200"}
SHARED_IMPORTS = {"65000:1201", "65000:2201", "65000:3201"}


def _files(listening: str, at: dict[str, str]) -> dict[str, str]:
    lines = [f'controller: {{asn: {ASN}, router_id: 10.255.0.1, listen: "{listening}"}}', "sites:"]
    lines += [f"  {site}: {{kind: enterprise, pes: [{pe}]}}" for site, pe in PES.items()]
    lines += ["pes:"]
    lines += [
        f"  {pe}: {{address: {at[pe]}, passive: true, families: [vpnv4, vpnv6, evpn, vpls]}}"
        for pe in PES.values()
    ]
    files = {"network.yaml": "\n".join(lines)}
    for (service, customer), first in FIRST.items():
        lines = [f"vpn: {customer}-{service}", f"service: {service}", "sites:"]
        for number, site in enumerate(E1_SITES if customer == "e1" else E2_SITES, first):
            lines += [f"  - {{site: {site}, targets: 65000:{number}, rd: '65000:{number}'}}"]
        files[f"{customer}-{service}.yaml"] = "\n".join(lines)
    return files


def announce(
    family: Family, nlris: list[bytes], *targets: str, basic: bytes = wire.BASIC, more: bytes = b""
) -> bytes:
    return wire.update(wire.reach(family, *nlris), basic, more, wire.targets(*targets))


class Field:
    """The controller and its four PEs, each with its own routes announced."""

    def __init__(self, directory: Path) -> None:
        policies = directory / "policies"
        policies.mkdir()
        self.address = loopback_address()
        self.port = free_port(self.address)
        self.at = {pe: loopback_address() for pe in PES.values()}
        for name, text in _files(f"{self.address}:{self.port}", self.at).items():
            (policies / name).write_text(text + "\n")
        self.pes: dict[str, RawPeer] = {}
        self.marks = 0
        self.serve = Serve(policies, f"sqlite:///{directory / 'store.sqlite'}", directory)

    def __enter__(self) -> Self:
        for name in self.at:
            self.connect(name)
        self.pes["pe-1"].send(announce(VPNV4, [wire.vpnv4(1100, b"\x0a\1\1")], "65000:1100"))
        mac = wire.evpn_mac(2100, b"\2\0\0\0\0\1", address=b"\x0a\0\0\1")
        self.pes["pe-1"].send(announce(EVPN, [mac], "65000:2100"))
        self.pes["pe-1"].send(announce(VPLS, [wire.vpls(3100, 1)], "65000:3100"))
        self.pes["pe-s"].send(announce(VPNV4, [wire.vpnv4(1102, b"\x0a\3\1")], "65000:1102"))
        for name in ("pe-1", "pe-s"):
            self.converge(name)
        return self

    def __exit__(self, *_: object) -> None:
        for pe in self.pes.values():
            pe.__exit__()
        self.serve.kill()

    @property
    def hostile(self) -> RawPeer:
        return self.pes["pe-x"]

    def raw(self, name: str) -> RawPeer:
        return RawPeer(
            local=self.at[name],
            remote=(self.address, self.port),
            asn=ASN,
            router_id=f"10.255.1.{1 + list(self.at).index(name)}",
        )

    def connect(self, name: str) -> None:
        """A session of a PE; tried again while the controller still has the former one."""
        former = self.pes.pop(name, None)
        if former is not None:
            former.__exit__()
        for _ in range(200):
            raw = self.raw(name)
            raw.connect()
            raw.wait(lambda raw=raw: raw.closed or raw.keepalives > 0, "a session or its end")  # type: ignore[misc]
            if not raw.closed:
                self.pes[name] = raw
                return
            raw.__exit__()
        raise AssertionError(f"{name} was refused: {raw.notification}")

    def converge(self, name: str) -> None:
        """A route that a PE announces and withdraws now comes and goes at all that hear it.

        What the PE sent before has been dealt with, then.
        """
        self.marks += 1
        rd, target, hearers = {
            "pe-1": (1100, "65000:1100", ("pe-2", "pe-s")),
            "pe-s": (1102, "65000:1102", ("pe-1", "pe-2")),
            "pe-x": (1200, "65000:1200", ("pe-s",)),
        }[name]
        nlri = wire.vpnv4(rd, b"\xc0" + struct.pack("!H", self.marks))
        for octets in (announce(VPNV4, [nlri], target), wire.update(wire.unreach(VPNV4, nlri))):
            before = {hearer: len(self.pes[hearer].updates) for hearer in hearers}
            self.pes[name].send(octets)
            for hearer in hearers:
                self._wait_for(nlri, hearer, before[hearer])

    def _wait_for(self, nlri: bytes, hearer: str, since: int) -> None:
        pe = self.pes[hearer]
        pe.wait(lambda: any(nlri[4:] in octets for octets in pe.updates[since:]), "a marker")

    def held(self, name: str) -> Held:
        """What a PE holds after every UPDATE it was sent."""
        held: Held = {}
        for octets in list(self.pes[name].updates):
            update = wire.decode(octets[19:])
            if update.withdrawn_family is not None:
                for nlri in update.withdrawn:
                    key = KEY_OF[update.withdrawn_family](nlri)
                    held.pop((update.withdrawn_family.name, key), None)
            if update.family is not None:
                targets = tuple(str(RouteTarget(each)) for each in sorted(update.targets))
                for nlri in update.announced:
                    held[update.family.name, KEY_OF[update.family](nlri)] = targets, nlri
        return held
