"""The network learns where a machine is while it stands still."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from tests.migration.world import World, define, moved
from tests.support.namespaces import devices, namespaces, within
from tests.support.qemu import Shape
from vpnctl.lab.namespaces import routing
from vpnctl.migration.agent.messages import MachineView
from vpnctl.migration.agent.peer import LONG_S
from vpnctl.migration.definition import Nic

pytestmark = pytest.mark.daemon

MAC = "52:54:00:00:00:0a"
_RARP = 0x8035


def _sniffer() -> socket.socket:
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_RARP))
    sniffer.bind(("br-e1", 0))
    sniffer.setblocking(False)
    return sniffer


def test_a_machine_is_announced_and_its_old_tap_is_gone(world: World) -> None:
    async def story(namespace: str) -> None:
        world.namespace = namespace
        for site in "ab":
            world.start_agent(site)
        nic = Nic(bridge="br-e1", mac=MAC)
        definition = define(Shape(), world.shared_disk()).model_copy(update={"nics": (nic,)})
        async with world.client("a") as agent:
            await agent.post("machines", MachineView, definition, LONG_S)
        await world.verify("a")
        (before,) = await asyncio.to_thread(devices, namespace) - {"br-e1"}
        with within(namespace, _sniffer) as sniffer:
            async with world.coordinator() as coordinator:
                view = await moved(coordinator.watch(await coordinator.start("web1", "b")))
            assert view.phase == "done", view
            heard = sniffer.recv(2000)
        source, kind = heard[6:12], struct.unpack("!H", heard[12:14])[0]
        assert (source.hex(":"), kind) == (MAC, _RARP)
        assert "announced at b" in [mark.what for mark in view.timeline]
        (after,) = await asyncio.to_thread(devices, namespace) - {"br-e1"}
        assert before != after
        assert await world.verify("b") > 0

    with namespaces(1) as (namespace,):
        with routing(namespace) as netlink:
            netlink.link("add", ifname="br-e1", kind="bridge")
            netlink.link("set", index=netlink.link_lookup(ifname="br-e1")[0], state="up")
        asyncio.run(story(namespace))
