"""On every platform, a number that somebody else has on the router is found before it is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from tests.provisioning.rendering.network import ROUTERS, intent, profiles
from vpnctl.errors import ProvisioningError
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.foreign import refuse_foreign
from vpnctl.provisioning.journal import RouterChange
from vpnctl.provisioning.numbers import Taking, numbers
from vpnctl.provisioning.rendering import render

pytestmark = pytest.mark.anyio

PLATFORMS = [name for name in ROUTERS if name != "junos-bgp-only"]


class Shown:
    """A router that shows one configuration, and counts how often it has to."""

    def __init__(self, configuration: str) -> None:
        self._configuration = configuration
        self.asked = 0

    async def configuration(self) -> str:
        self.asked += 1
        return self._configuration


def story(platform: str, configuration: str | None = None) -> tuple[RouterChange, Shown]:
    """All of a router's endpoints are made, where it has ``configuration``; by itself: all that."""
    router = intent(ROUTERS[platform])
    nothing = replace(render(None, router, profiles()), delete=())
    after = render(router, None, profiles())
    taking = Taking(tuple(sorted(numbers(router))), profiles().platforms[platform].profile)
    change = RouterChange(router.router, after, nothing, taking=taking)
    return change, Shown(after.content if configuration is None else configuration)


async def refuse(change: RouterChange, router: Shown) -> None:
    await refuse_foreign(cast("Driver", router), change)


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_what_is_ours_there_already_is_not_in_our_way(platform: str) -> None:
    await refuse(*story(platform))


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_the_same_in_what_is_not_ours_is(platform: str) -> None:
    change, router = story(platform)
    stranger = replace(change, after=replace(change.after, owned=()))
    with pytest.raises(ProvisioningError) as refused:
        await refuse(stranger, router)
    first = intent(ROUTERS[platform]).attachments[0]
    assert f"route distinguisher {first.rd}, which is for " in refused.value.message
    assert "more, and that is not vpnctl's" in refused.value.message
    assert refused.value.router == change.router


async def test_an_frr_router_that_imports_from_everybody_is_seen() -> None:
    router = intent("frr")
    target = str(router.attachments[0].import_targets[0])
    number = target.partition(":")[2]
    shown = (
        f"router bgp 65000 vrf x\n address-family l2vpn evpn\n  route-target import *:{number}\n"
    )
    with pytest.raises(ProvisioningError, match=rf"route target {target}, .* import \*:{number}"):
        await refuse(*story("frr-evpn", shown))


@pytest.mark.parametrize("taking", [None, ()])
async def test_a_change_that_takes_no_number_reads_nothing(taking: Any) -> None:
    change, router = story("junos-mx")
    assert change.taking is not None
    without = None if taking is None else replace(change.taking, numbers=taking)
    await refuse(replace(change, taking=without), router)
    assert router.asked == 0


async def test_what_a_change_takes_is_no_part_of_the_journal() -> None:
    change, _ = story("junos-mx")
    assert RouterChange.from_document(change.document()) == change
    assert RouterChange.from_document(change.document()).taking is None
