"""A controller and the Junos-like routers that it configures, and the operator's files.

E1 is a VPLS at its head office (pe-a, which somebody else configures), and may be extended to
``cloud``, whose PEs are the managed routers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.junos import Fleet, Keys, Running
from tests.support.loopback import free_port, loopback_address
from vpnctl.controller import views
from vpnctl.controller.controller import Controller
from vpnctl.controller.requests import PlanRequest
from vpnctl.lab.junos.router import Router
from vpnctl.provisioning.transaction import Patience

QUICK = Patience(lock=(0.05, 0.05), settle=(0.05, 0.2), window_s=60)
E1 = """\
vpn: E1
service: vpls
sites: [hq]
"""


class Bed:
    """Everything that a test of provisioning needs; ``count`` managed routers in the cloud."""

    def __init__(self, directory: Path, fleet: Fleet, keys: Keys, count: int) -> None:
        self.policies = directory / "policies"
        self.policies.mkdir()
        self.store_url = f"sqlite:///{directory / 'store.sqlite'}"
        self.keys = keys
        self.listening = f"{(address := loopback_address())}:{free_port(address)}"
        self.names = [f"pe-c{number}" for number in range(1, count + 1)]
        self.routers: dict[str, Running] = {name: fleet.start(Router(name)) for name in self.names}
        self.timeouts = "{connect: 30, rpc: 30, commit: 30}"
        self.write()
        (self.policies / "e1.yaml").write_text(E1)
        self.controller: Controller | None = None

    def write(self, **access: str) -> None:
        """``network.yaml``, with other words for how to log in to some routers."""
        lines = [
            "controller:",
            f'  {{asn: 65000, router_id: 10.255.0.1, listen: "{self.listening}"}}',
            "sites:",
            "  hq: {kind: enterprise, pes: [pe-a]}",
            f"  cloud: {{kind: cloud, pes: [{', '.join(self.names)}]}}",
            "pes:",
            f"  pe-a: {{address: {loopback_address()}, passive: true, families: [vpls]}}",
        ]
        for name, router in self.routers.items():
            login = access.get(
                name.replace("-", "_"),
                f'{{user: vpnctl, key: "{self.keys.client}", address: 127.0.0.1,'
                f' port: {router.port}, host_key: "{self.keys.fingerprint}",'
                f" timeouts: {self.timeouts}}}",
            )
            lines += [
                f"  {name}:",
                f"    {{address: {loopback_address()}, platform: junos-mx,",
                f"     port: ge-0/0/1, netconf: {login}}}",
            ]
        (self.policies / "network.yaml").write_text("\n".join(lines) + "\n")

    async def start(self, **more: Any) -> Controller:
        self.controller = Controller(self.policies, self.store_url, patience=QUICK, **more)
        await self.controller.start()
        return self.controller

    @property
    def running(self) -> Controller:
        assert self.controller is not None
        return self.controller

    async def stop(self) -> None:
        if self.controller is not None:
            controller, self.controller = self.controller, None
            await controller.stop()

    async def change(self, kind: str, **more: Any) -> views.Applied:
        site = kind in ("extend", "retract")
        request = PlanRequest(kind, "E1", "cloud") if site else PlanRequest(kind)
        arguments: dict[str, Any] = {"plan_id": None, "base": None, "confirm_s": None}
        arguments |= {"author": "ada", "wait_s": 5.0} | more
        return await self.running.apply(request, **arguments)

    def write_bgp_port(self, name: str, port: int) -> None:
        """Let a router hold its BGP session at another port than 179."""
        path = self.policies / "network.yaml"
        path.write_text(
            path.read_text().replace(f"  {name}:\n    {{", f"  {name}:\n    {{bgp_port: {port}, ")
        )

    def target_at(self, name: str) -> str:
        """What a router announces E1's routes with."""
        words = [line for line in self.routers[name].running if "E1_cloud vrf-target" in line]
        return words[0].rpartition("target:")[2]

    def have(self) -> set[str]:
        """The routers that have E1's instance."""
        return {
            name
            for name, router in self.routers.items()
            if any("instance-type vpls" in line for line in router.running)
        }

    def left_behind(self) -> list[str]:
        return [thing for router in self.routers.values() for thing in router.left_behind]
