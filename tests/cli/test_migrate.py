"""How ``vpnctl migrate`` asks the controller for the VPNs of the machines that it moves."""

from __future__ import annotations

import asyncio

import pytest

from tests.cli.conftest import Served
from tests.support.fake_controller import AT, FakeController
from vpnctl.cli.agent.serve_cmd import _bridges
from vpnctl.cli.client import Client
from vpnctl.cli.migrate.network import ControllerNetwork
from vpnctl.cli.settings import Settings
from vpnctl.controller.views import Event
from vpnctl.errors import ControllerError, MigrationError, NotFoundError, UsageError
from vpnctl.migration.network import RouteMoment

MAC = "52:54:00:00:00:01"


@pytest.fixture
def network(served: Served, controller: FakeController) -> ControllerNetwork:
    del controller
    return ControllerNetwork(Client(Settings(socket=served.socket)))


def test_a_vpn_is_extended_once_it_is_known_not_to_reach(network: ControllerNetwork) -> None:
    async def story() -> None:
        assert await network.sites("E1") == ("e1-hq", "cloud1")
        await network.extend("E1", "cloud2")
        assert await network.sites("E1") == ("e1-hq", "cloud1", "cloud2")
        with pytest.raises(NotFoundError, match="no VPN 'E9'"):
            await network.sites("E9")

    asyncio.run(story())


def test_the_sites_own_pes_have_to_take_it(
    network: ControllerNetwork, controller: FakeController
) -> None:
    controller.waiting = ("pe-e1",)
    asyncio.run(network.extend("E1", "cloud2"))
    controller.waiting = ("pe-c2b",)
    with pytest.raises(MigrationError, match=r"not been taken by pe-c2b"):
        asyncio.run(network.extend("E1", "cloud2"))


def test_routes_are_what_the_controller_tells_of_the_address(
    network: ControllerNetwork, controller: FakeController
) -> None:
    controller.happened = [
        Event(AT, "session", "pe-c2a", "established"),
        Event(AT, "route", "pe-c2a", f"{MAC} announced by pe-c2a"),
        Event(AT, "route", "pe-e1", f"{MAC} announced to pe-e1"),
    ]

    async def story() -> list[RouteMoment]:
        return [moment async for moment in network.routes([MAC])]

    moments = asyncio.run(story())
    assert controller.watched == (bytes.fromhex("525400000001"),)
    assert [(one.what, one.sent) for one in moments] == [
        (f"route for {MAC} announced by pe-c2a", False),
        (f"route for {MAC} announced to pe-e1", True),
    ]
    assert {one.mac for one in moments} == {MAC}


def test_a_controller_that_is_not_there_is_told(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    nowhere = Settings(socket=tmp_path_factory.mktemp("none") / "c.sock")

    async def story() -> None:
        async for _ in ControllerNetwork(Client(nowhere)).routes([MAC]):
            raise AssertionError("nobody tells anything")

    with pytest.raises(ControllerError, match="no controller answers"):
        asyncio.run(story())


def test_all_that_is_wrong_with_bridges_is_told_at_once() -> None:
    with pytest.raises(UsageError) as error:
        _bridges(["E1", "E2=br-e2", "E2=br-0", "E 3=br-e3", "E4=a-name-that-is-too-long"])
    for wrong in ("'E1' is no VPN=BRIDGE", "E2 has two bridges, br-e2 and br-0", "'E 3=", "'E4="):
        assert wrong in error.value.message
    assert _bridges(["E1=br-e1", "E2=br-e2", "E1=br-e1"]) == {"E1": "br-e1", "E2": "br-e2"}
