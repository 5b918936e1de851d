"""What is rendered is taken by a router that refuses what real ones refuse, and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.provisioning.rendering.network import ROUTERS, intent, profiles, ruleset
from tests.support.junos import Fleet, fleet, make_keys
from vpnctl.lab.junos.router import Router
from vpnctl.model import Netconf, Timeouts
from vpnctl.provisioning.documents import owned_text
from vpnctl.provisioning.drivers import open_driver
from vpnctl.provisioning.inuse import in_use
from vpnctl.provisioning.rendered import Rendered
from vpnctl.provisioning.rendering import render

pytestmark = pytest.mark.anyio

GROUND = """
set routing-options autonomous-system {asn}
set routing-options router-id 10.0.0.1
set interfaces lo0 unit 0 family inet address 10.0.0.1/32
"""
#: What is shared with others or leads to ours, and so stays.
SHARED = {
    "interfaces ge-0/0/1 flexible-vlan-tagging",
    "interfaces ge-0/0/1 encapsulation flexible-ethernet-services",
    "interfaces et-0/0/1 flexible-vlan-tagging",
    "interfaces et-0/0/1 encapsulation flexible-ethernet-services",
    "interfaces xe-0/0/1 flexible-vlan-tagging",
    "interfaces xe-0/0/1 encapsulation flexible-ethernet-services",
    "logical-systems vpnctl routing-options autonomous-system 65000",
    "logical-systems vpnctl interfaces ge-0/0/1",
}


@pytest.fixture(scope="module")
def routers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(make_keys(tmp_path_factory.mktemp("keys"))) as running:
        yield running


@pytest.mark.parametrize("platform", [name for name in ROUTERS if name.startswith("junos")])
async def test_a_router_takes_it_and_gives_it_back(platform: str, routers: Fleet) -> None:
    router = intent(ROUTERS[platform])
    running = routers.start(Router(router.router), ground=GROUND.format(asn=router.asn))
    before = running.running
    login = Netconf(
        "vpnctl",
        str(routers.keys.client),
        IPv4Address("127.0.0.1"),
        running.port,
        routers.keys.fingerprint,
        Timeouts(20, 20, 20),
    )
    pe = replace(ruleset().network.pes[router.router], netconf=login)

    async def put(rendered: Rendered, name: str) -> str:
        """Commit it for good; gives the difference."""
        driver = open_driver(pe)
        await driver.connect()
        try:
            await driver.lock()
            await driver.load(rendered)
            diff = await driver.diff()
            if diff:
                await driver.check()
                await driver.commit_confirmed(name, 300)
                await driver.confirm(name)
            await driver.unlock()
            assert await driver.running(rendered.owned) == owned_text(
                rendered.content, rendered.owned
            )
            found = in_use(profiles().platforms[platform].profile, await driver.configuration())
        finally:
            await driver.close()
        rds = {one.value for one in found if one.kind == "rd"}
        assert rds == {
            str(one.rd) for one in router.attachments
            if rendered.owned and platform != "junos-bgp-only"
        }  # fmt: skip
        return diff

    wanted = render(router, None, profiles())
    assert "+" in await put(wanted, "vpnctl-1")
    assert await put(wanted, "vpnctl-2") == ""
    assert "-" in await put(render(None, router, profiles()), "vpnctl-3")
    assert running.running - before <= SHARED
    assert before <= running.running
    assert running.left_behind == []
