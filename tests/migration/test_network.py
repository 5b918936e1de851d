"""The network learns where a machine is while it stands still."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Collection

import pytest

from tests.migration.world import World, define, moved
from tests.support.namespaces import devices, namespaces, within
from tests.support.qemu import Shape
from vpnctl.errors import NotFoundError, PrecheckError
from vpnctl.lab.namespaces import routing
from vpnctl.migration.agent.messages import MachineView
from vpnctl.migration.agent.peer import LONG_S
from vpnctl.migration.definition import Nic
from vpnctl.migration.network import RouteMoment

pytestmark = pytest.mark.daemon

MAC = "52:54:00:00:00:0a"
_RARP = 0x8035
#: What the sites call the bridge that the VPN is in.
BRIDGES = {"a": "br-e1", "b": "br-e1-there"}


def _sniffer() -> socket.socket:
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_RARP))
    sniffer.bind((BRIDGES["b"], 0))
    sniffer.setblocking(False)
    return sniffer


class Controller:
    """Knows one VPN, which reaches a; tells of its machine's route when it is announced at b."""

    def __init__(self) -> None:
        self.reached = ["a"]
        self.extended: list[str] = []

    async def sites(self, vpn: str) -> tuple[str, ...]:
        if vpn != "E1":
            raise NotFoundError(f"the controller has no VPN {vpn!r}")
        return tuple(self.reached)

    async def extend(self, vpn: str, site: str) -> None:
        self.reached.append(site)
        self.extended.append(vpn)

    async def routes(self, macs: Collection[str]) -> AsyncIterator[RouteMoment]:
        for words in ("announced by pe-b", "announced to pe-a"):
            for mac in macs:
                yield RouteMoment(time.time(), mac, f"route for {mac} {words}", " to " in words)
        await asyncio.Event().wait()


def test_a_machine_takes_its_network_along(world: World) -> None:
    """Its VPN is extended first, its address is announced in the bridge that the other site has for
    the VPN, and its old tap is gone."""

    async def story(namespace: str) -> None:
        world.namespace = namespace
        for site, bridge in BRIDGES.items():
            world.start_agent(site, "--bridge", f"E1={bridge}")
        nic, controller = Nic(vpn="E1", mac=MAC), Controller()
        definition = define(Shape(), world.shared_disk()).model_copy(update={"nics": (nic,)})
        async with world.client("a") as agent:
            await agent.post("machines", MachineView, definition, LONG_S)
        await world.verify("a")
        (before,) = await asyncio.to_thread(devices, namespace) - {*BRIDGES.values()}
        with within(namespace, _sniffer) as sniffer:
            async with world.coordinator(controller) as coordinator:
                with pytest.raises(PrecheckError, match="E1 does not reach b"):
                    await coordinator.start("web1", "b", extend=False)
                begun = await coordinator.start("web1", "b")
                assert (controller.reached, controller.extended) == (["a", "b"], ["E1"])
                async with coordinator.routes_told([begun]):
                    view = await moved(coordinator.watch(begun))
            assert view.phase == "done", view
            heard = sniffer.recv(2000)
        source, kind = heard[6:12], struct.unpack("!H", heard[12:14])[0]
        assert (source.hex(":"), kind) == (MAC, _RARP)
        told = [mark.what for mark in view.timeline]
        assert told[:2] == ["E1 is extended to b", "E1 reaches b"]
        assert "announced at b" in told
        assert {f"route for {MAC} announced {to}" for to in ("by pe-b", "to pe-a")} <= set(told)
        (after,) = await asyncio.to_thread(devices, namespace) - {*BRIDGES.values()}
        assert before != after
        assert await world.verify("b") > 0

    with namespaces(1) as (namespace,):
        with routing(namespace) as netlink:
            for bridge in BRIDGES.values():
                netlink.link("add", ifname=bridge, kind="bridge")
                netlink.link("set", index=netlink.link_lookup(ifname=bridge)[0], state="up")
        asyncio.run(story(namespace))
