"""A change of the policy and of the routers is one change: both happen, or neither."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.controller.stage import until
from tests.provisioning.commands.bed import E1, Bed
from tests.routing import wire
from tests.support.rawbgp import VPLS as VPLS_PAIR
from tests.support.rawbgp import RawPeer
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import (
    HostKeyError,
    OutcomeUnknownError,
    PolicyError,
    ProvisioningError,
    RejectedError,
    StoreError,
)
from vpnctl.lab.junos.faults import FULL_DISK, drop, refuse, slow
from vpnctl.model import VPLS
from vpnctl.store import Store

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

Beds = Callable[[int], Bed]


async def test_extend_gives_the_routers_their_endpoint_and_retract_takes_it(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    applied = await bed.change("extend")
    assert bed.have() == {"pe-c1", "pe-c2"}
    assert [step.name for step in applied.timeline if step.router == "pe-c2"] == [
        "connect", "lock", "load", "diff", "check", "commit", "confirm",
    ]  # fmt: skip
    assert applied.silent == ("pe-c1", "pe-c2")  # no BGP session, so no route
    stored = (await bed.running.revision(applied.revision.number))[1]
    assert stored == applied.timeline
    await bed.change("retract")
    assert bed.have() == set()
    assert bed.left_behind() == []


async def test_the_timeline_tells_when_the_new_endpoints_route_came(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    with RawPeer(
        local=str(bed.running._network.pes["pe-c1"].address),
        remote=("127.0.0.1", 0),
        asn=65000,
        families=(VPLS_PAIR,),
    ) as pe:
        bed.write_bgp_port("pe-c1", pe.listen())
        await bed.change("apply")
        await asyncio.to_thread(pe.accept)
        await asyncio.to_thread(pe.wait_established)
        asking = asyncio.create_task(bed.change("extend", wait_s=20.0))
        await until(lambda: bool(bed.have()), "the router to have its endpoint")
        target = bed.target_at("pe-c1")
        route = wire.reach(VPLS, wire.vpls(1, 2))
        await asyncio.to_thread(pe.send, wire.update(route, wire.BASIC, wire.targets(target)))
        applied = await asking
    assert applied.silent == ()
    (received,) = [step for step in applied.timeline if step.name == "route received"]
    assert received.router == "pe-c1"


async def test_a_plan_shows_each_routers_diff_and_changes_nothing(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    before = {name: router.running for name, router in bed.routers.items()}
    bed.routers["pe-c2"].fault("lock", refuse("configuration database locked by: ada"))
    bed.routers["pe-c2"].fault("lock", refuse("configuration database locked by: ada"))
    plan = await bed.running.plan(PlanRequest("extend", "E1", "cloud"))
    ours, theirs = plan.routers
    assert ours.router == "pe-c1"
    assert "E1_cloud" in ours.diff
    assert theirs.trouble
    assert {name: router.running for name, router in bed.routers.items()} == before
    assert bed.left_behind() == []
    bed.routers["pe-c2"].ask(lambda router: router.faults.clear())


async def test_what_a_router_refuses_is_no_revision(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    bed.routers["pe-c2"].fault("commit", refuse(FULL_DISK))
    with pytest.raises(RejectedError, match=r"No space left.*no router was changed"):
        await bed.change("extend")
    assert bed.have() == set()
    assert bed.left_behind() == []
    assert (await bed.running.status()).revision == 1
    await bed.change("extend")  # nothing is in the way of the next one
    assert bed.have() == {"pe-c1", "pe-c2"}


async def test_what_the_store_does_not_take_the_routers_do_not_keep(
    beds: Beds, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = beds(2)
    await bed.start()

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit", full)
        with pytest.raises(StoreError, match="the disk is full"):
            await bed.change("extend")
    assert bed.have() == set()
    assert bed.left_behind() == []


async def test_a_router_lost_while_confirming_brings_back_the_others_and_the_revision(
    beds: Beds,
) -> None:
    bed = beds(2)
    await bed.start()
    lost = bed.routers["pe-c2"]
    lost.fault("connect", slow(0), refuse("gone", times=0))
    lost.fault("confirm", drop())
    with pytest.raises(ProvisioningError, match=r"in doubt, and asked again.*: pe-c2"):
        await bed.change("extend")
    assert "pe-c1" not in bed.have()
    status = await bed.running.status()
    assert status.revision == 3  # the one that was undone, and the one that undid it
    assert (await bed.running.history())[0].kind == "auto-rollback"
    assert (bed.policies / "e1.yaml").read_text() == E1
    with pytest.raises(OutcomeUnknownError, match="in doubt since an earlier change: pe-c2"):
        await bed.change("extend")
    await until(
        lambda: any("pe-c2" in one for one in bed.running._troubles.values()), "the doubt told"
    )
    await bed.running.stop()
    await bed.start()
    assert any("pe-c2" in one for one in bed.running._troubles.values())  # from the first moment
    lost.ask(lambda router: router.faults.clear())
    await until(lambda: not bed.running._routers.unfinished, "pe-c2 to be asked again")
    assert bed.have() == set()
    assert bed.left_behind() == []
    await bed.change("extend")
    assert bed.have() == {"pe-c1", "pe-c2"}


async def test_a_rollback_takes_the_endpoint_from_the_routers(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    await bed.change("extend", confirm_s=600)
    assert bed.have() == {"pe-c1", "pe-c2"}
    await bed.change("rollback")
    assert bed.have() == set()
    assert bed.left_behind() == []


async def test_what_a_router_cannot_have_is_said_before_anything_is_done(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    text = (bed.policies / "network.yaml").read_text()
    (bed.policies / "network.yaml").write_text(text.replace("junos-mx", "junos-nx"))
    with pytest.raises(PolicyError) as refused:
        await bed.running.plan(PlanRequest("apply"))
    assert refused.value.mistakes


async def test_a_first_policy_that_a_router_cannot_have_can_be_corrected(beds: Beds) -> None:
    bed = beds(1)
    network = bed.policies / "network.yaml"
    right = network.read_text()
    network.write_text(right.replace("port: ge-0/0/1,", "port: ge-0/0/1, passive: true,"))
    await bed.start()
    with pytest.raises(PolicyError):
        await bed.change("extend")
    network.write_text(right)
    await bed.change("apply")
    await bed.change("extend")
    assert bed.have() == {"pe-c1"}


async def test_a_stranger_at_a_routers_address_gets_nothing(beds: Beds) -> None:
    bed = beds(1)
    port = bed.routers["pe-c1"].port
    stranger = f"SHA256:{'A' * 43}"
    bed.write(
        pe_c1=f'{{user: vpnctl, key: "{bed.keys.client}", address: 127.0.0.1, port: {port},'
        f' host_key: "{stranger}"}}'
    )
    await bed.start()
    with pytest.raises(HostKeyError, match="pe-c1"):
        await bed.change("extend")
    assert bed.have() == set()


async def test_a_network_without_managed_routers_needs_no_router(beds: Beds) -> None:
    bed = beds(1)
    text = (bed.policies / "network.yaml").read_text()
    (bed.policies / "network.yaml").write_text(
        "\n".join(
            line.partition(", netconf:")[0] + ("}" if ", netconf:" in line else "")
            for line in text.splitlines()
        )
    )
    await bed.start(open_router=None)  # which would be an error if it were called
    applied = await bed.change("extend")
    assert not any(step.router for step in applied.timeline)
    assert applied.plan.routers == ()
