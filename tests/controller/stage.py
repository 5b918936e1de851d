"""A controller on loopback, the operator's files, and PEs that keep what they are told.

Two customers with overlapping addresses: E1 at its head office (pe-a) and at cloud1 (pe-b), E2 at
its head office (pe-a too) and at cloud2 (pe-c).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.routing import wire
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPNV4 as VPNV4_PAIR
from tests.support.rawbgp import RawPeer
from vpnctl.controller import views
from vpnctl.controller.controller import Controller
from vpnctl.controller.requests import PlanRequest
from vpnctl.model import VPNV4, Family, RouteTarget
from vpnctl.routing.nlri import KEY_OF, to_text

ASN = 65000
PATIENCE_S = 30.0

E1 = """\
# Customer E1.
vpn: E1
service: l3vpn
sites:
  - site: e1-hq          # the head office
    targets: 65000:1101
  - site: cloud1
    targets: 65000:1102
  # cloud2 comes later
"""

E2 = """\
vpn: E2
service: l3vpn
sites:
  - {site: e2-hq, targets: 65000:1201}
  - {site: cloud2, targets: 65000:1202}
"""

#: What each PE has: (route distinguisher, prefixes, target).
ROUTES = {
    "pe-a": [(11, ("10.1.1", "10.1.2"), "65000:1101"), (12, ("10.1.1",), "65000:1201")],
    "pe-b": [(21, ("10.2.1",), "65000:1102")],
    "pe-c": [(32, ("10.1.1", "10.1.9"), "65000:1202")],
}

HeldRoutes = dict[str, tuple[str, ...]]


async def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Let the event loop run until a condition holds."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + seconds
    while not condition():
        assert loop.time() < give_up, f"waited in vain for {what}"
        await asyncio.sleep(0.002)


def prefix(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


class Pe:
    """A PE: what it announces, and what it holds of what it was told."""

    def __init__(self, name: str, raw: RawPeer) -> None:
        self.name = name
        self.raw = raw
        self.told = 0

    def announce(
        self, rd: int, prefixes: tuple[str, ...], *targets: str, more: bytes = b""
    ) -> None:
        nlris = [wire.vpnv4(rd, prefix(each)) for each in prefixes]
        attributes = wire.BASIC, more, wire.targets(*targets)
        self._send(wire.update(wire.reach(VPNV4, *nlris), *attributes))

    def withdraw(self, rd: int, prefixes: tuple[str, ...]) -> None:
        nlris = [wire.vpnv4(rd, prefix(each)) for each in prefixes]
        self._send(wire.update(wire.unreach(VPNV4, *nlris)))

    def end_of_rib(self) -> None:
        self._send(wire.update(wire.unreach(VPNV4)))

    def _send(self, update: bytes) -> None:
        self.raw.send(update)
        self.told += 1

    @property
    def held(self) -> HeldRoutes:
        """NLRI -> targets, after everything that came."""
        return replayed(self.raw.updates)

    def since(self, count: int) -> list[wire.Decoded]:
        """The UPDATEs after the first ``count``."""
        return [wire.decode(octets[19:]) for octets in self.raw.updates[count:]]


def name_of(family: Family, nlri: bytes) -> str:
    return to_text(family, KEY_OF[family](nlri))


def replayed(updates: list[bytes]) -> HeldRoutes:
    held: HeldRoutes = {}
    for octets in list(updates):
        update = wire.decode(octets[19:])
        if update.withdrawn_family is not None:
            for nlri in update.withdrawn:
                held.pop(name_of(update.withdrawn_family, nlri), None)
        if update.family is not None:
            targets = tuple(str(RouteTarget(each)) for each in sorted(update.targets))
            for nlri in update.announced:
                held[name_of(update.family, nlri)] = targets
    return held


class Stage:
    """Everything that a test of the controller needs, and the end of all of it."""

    def __init__(self, directory: Path) -> None:
        self.policies = directory / "policies"
        self.policies.mkdir()
        self.store_url = f"sqlite:///{directory / 'store.sqlite'}"
        self.address = loopback_address()
        self.port = free_port(self.address)
        self.at = {name: loopback_address() for name in ("pe-a", "pe-b", "pe-c", "pe-d")}
        self.pes: dict[str, Pe] = {}
        self.controller: Controller | None = None
        self.write("network.yaml", self.network())
        self.write("e1.yaml", E1)
        self.write("e2.yaml", E2)

    # The operator's files

    def network(self, *pes: str, more: str = "") -> str:
        """``network.yaml`` with some PEs, pe-a to pe-c unless named; ``more``: keys of pe-c."""
        lines = [
            f'controller: {{asn: {ASN}, router_id: 10.255.0.1, listen: "{self.listening}"}}',
            "sites:",
            "  e1-hq: {kind: enterprise, pes: [pe-a]}",
            "  e2-hq: {kind: enterprise, pes: [pe-a]}",
            "  cloud1: {kind: cloud, pes: [pe-b]}",
            "  cloud2: {kind: cloud, pes: [pe-c]}",
            "pes:",
        ]
        for name in pes or ("pe-a", "pe-b", "pe-c"):
            extra = more if name == "pe-c" else ""
            lines.append(
                f"  {name}: {{address: {self.at[name]}, passive: true, families: [vpnv4]{extra}}}"
            )
        return "\n".join(lines) + "\n"

    @property
    def listening(self) -> str:
        return f"{self.address}:{self.port}"

    def path(self, name: str) -> Path:
        return self.policies / name

    def write(self, name: str, text: str) -> None:
        self.path(name).write_text(text)

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(self.policies.glob("*.yaml"))}

    # The controller

    async def start(self, **more: Any) -> Controller:
        controller = Controller(self.policies, self.store_url, **more)
        await controller.start()
        self.controller = controller
        return controller

    @property
    def running(self) -> Controller:
        assert self.controller is not None
        return self.controller

    async def stop(self) -> None:
        if self.controller is not None:
            controller, self.controller = self.controller, None
            await controller.stop()

    async def restart(self, **more: Any) -> Controller:
        """Stop, start, and let the PEs come back."""
        await self.stop()
        await self.start(**more)
        for name in list(self.pes):
            await self.connect(name)
        await self.settled()
        return self.running

    async def close(self) -> None:
        for pe in self.pes.values():
            await asyncio.to_thread(pe.raw.__exit__)
        await self.stop()

    async def change(self, request: PlanRequest, **more: Any) -> views.Applied:
        """Apply without a plan made before."""
        arguments: dict[str, Any] = {"plan_id": None, "base": None, "confirm_s": None}
        arguments |= {"author": "ada", "wait_s": PATIENCE_S} | more
        return await self.running.apply(request, **arguments)

    async def extend(self, vpn: str = "E1", site: str = "cloud2", **more: Any) -> views.Applied:
        return await self.change(PlanRequest("extend", vpn, site), **more)

    async def retract(self, vpn: str = "E1", site: str = "cloud2", **more: Any) -> views.Applied:
        return await self.change(PlanRequest("retract", vpn, site), **more)

    async def apply(self, **more: Any) -> views.Applied:
        return await self.change(PlanRequest("apply"), **more)

    async def rollback(self, revision: int | None = None, **more: Any) -> views.Applied:
        return await self.change(PlanRequest("rollback", revision=revision), **more)

    # The PEs

    async def connect(
        self, name: str, *, asn: int = ASN, capabilities: bytes = b"", **more: Any
    ) -> Pe:
        """A PE's session, a new one if it had one; its routes are announced again."""
        earlier = self.pes.pop(name, None)
        if earlier is not None:
            await asyncio.to_thread(earlier.raw.__exit__)
            # Before that is noticed, another connection is refused (RFC 4271 section 6.8).
            engine = self.running._engine
            await until(lambda: name not in engine.by_peer, f"the end of {name}'s session")
        raw = RawPeer(
            local=self.at[name],
            remote=(self.address, self.port),
            asn=asn,
            router_id=f"10.255.1.{1 + sorted(self.at).index(name)}",
            families=(VPNV4_PAIR,),
            more=capabilities,
        )
        pe = self.pes[name] = Pe(name, raw)
        await asyncio.to_thread(raw.connect, **more)
        await asyncio.to_thread(raw.wait_established)
        for rd, prefixes, target in ROUTES.get(name, ()):
            pe.announce(rd, prefixes, target)
        pe.end_of_rib()
        return pe

    async def connect_all(self) -> None:
        for name in ROUTES:
            await self.connect(name)
        await self.settled()

    async def peer(self, name: str) -> views.Peer:
        return next(peer for peer in await self.running.peers() if peer.name == name)

    async def settled(self) -> None:
        """Until the controller has heard all that the PEs said, and the PEs all that it said."""
        engine = self.running._engine

        def quiet() -> bool:
            for name, pe in self.pes.items():
                session = engine.by_peer.get(name)
                if session is None or session.updates_heard != pe.told:
                    return False
                if session.updates_sent != len(pe.raw.updates) or session.waiting:
                    return False
            return True

        await until(quiet, "the PEs and the controller to fall silent")

    def held(self) -> dict[str, HeldRoutes]:
        return {name: pe.held for name, pe in self.pes.items()}


#: What the PEs hold with the policy as it is at first.
AT_FIRST = {
    "pe-a": {
        "65000:21:10.2.1.0/24": ("65000:1101",),
        "65000:32:10.1.1.0/24": ("65000:1201",),
        "65000:32:10.1.9.0/24": ("65000:1201",),
    },
    "pe-b": {
        "65000:11:10.1.1.0/24": ("65000:1102",),
        "65000:11:10.1.2.0/24": ("65000:1102",),
    },
    "pe-c": {"65000:12:10.1.1.0/24": ("65000:1202",)},
}

#: The same after E1 was extended to cloud2, whose target for E1 is the first of the pool.
EXTENDED = AT_FIRST | {
    "pe-c": {
        "65000:12:10.1.1.0/24": ("65000:1202",),
        "65000:11:10.1.1.0/24": ("65000:100",),
        "65000:11:10.1.2.0/24": ("65000:100",),
        "65000:21:10.2.1.0/24": ("65000:100",),
    }
}
