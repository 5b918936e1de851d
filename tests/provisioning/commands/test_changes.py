"""A change of the policy and of the routers is one change: both happen, or neither."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.controller.stage import until
from tests.provisioning.commands.bed import E1, Bed
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import (
    HostKeyError,
    OutcomeUnknownError,
    PolicyError,
    ProvisioningError,
    RejectedError,
    StoreError,
)
from vpnctl.lab.junos.faults import FULL_DISK, Fault, Wrong, drop, refuse, slow
from vpnctl.store import Store

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

Beds = Callable[[int], Bed]


async def test_extend_gives_the_routers_their_endpoint_and_retract_takes_it(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    applied = await bed.change("extend")
    assert bed.have() == {"pe-c1", "pe-c2"}
    assert [step.name for step in applied.timeline if step.router == "pe-c2"] == [
        "connect", "lock", "load", "diff", "check", "commit", "verify", "confirm",
    ]  # fmt: skip
    assert applied.silent == ("pe-c1", "pe-c2")  # no BGP session, so no route
    stored = (await bed.running.revision(applied.revision.number))[1]
    assert stored == applied.timeline
    await bed.change("retract")
    assert bed.have() == set()
    assert bed.left_behind() == []


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


async def test_what_somebody_else_has_made_is_not_replaced(beds: Beds) -> None:
    """Nobody has adopted the router, and its VLAN 100 was somebody's."""
    bed = beds(2)
    await bed.start()
    theirs = "interfaces ge-0/0/1 unit 100 vlan-id 100"
    router = bed.routers["pe-c2"]
    where = "logical-systems vpnctl"
    router.configure(
        f"set {where} interfaces ge-0/0/1 unit 100 encapsulation vlan-vpls\nset {where} {theirs}"
    )
    before = router.running
    plan = await bed.running.plan(PlanRequest("extend", "E1", "cloud"))
    assert plan.routers[0].trouble == ""
    assert "which vpnctl has not made" in plan.routers[1].trouble
    with pytest.raises(ProvisioningError, match=r"pe-c2 has .*unit\[name='100'\] already") as no:
        await bed.change("extend")
    assert "vpnctl adopt pe-c2" in no.value.hint
    assert bed.have() == set()
    assert router.running == before
    await bed.running.adopt("pe-c2", author="ada")
    await bed.change("extend")
    assert bed.have() == {"pe-c1", "pe-c2"}
    assert f"{where} {theirs}" in router.running


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

    async def doubt() -> str:
        return "".join(one for one in (await bed.running.status()).problems if "pe-c2 (" in one)

    with pytest.raises(ProvisioningError, match=r"in doubt, and asked again.*: pe-c2"):
        await bed.change("extend")
    assert "pe-c1" not in bed.have()
    status = await bed.running.status()
    assert status.revision == 3  # the one that was undone, and the one that undid it
    assert (await bed.running.history())[0].kind == "auto-rollback"
    assert (bed.policies / "e1.yaml").read_text() == E1
    with pytest.raises(OutcomeUnknownError, match="in doubt since an earlier change: pe-c2"):
        await bed.change("extend")
    assert "in doubt" in await doubt()
    (checkup,) = await bed.running.doctor(["pe-c2"])
    assert [check.ok for check in checkup.checks if check.name == "last change"] == [False]
    await bed.running.stop()
    await bed.start()
    assert "in doubt" in await doubt()  # from the first moment
    lost.ask(lambda router: router.faults.clear())
    await until(lambda: not bed.running._routers.unfinished, "pe-c2 to be asked again")
    assert await doubt() == ""
    assert bed.have() == set()
    assert bed.left_behind() == []
    await bed.change("extend")
    assert bed.have() == {"pe-c1", "pe-c2"}


async def test_what_was_undone_at_routers_under_a_later_revision_is_told(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    await bed.change("extend")
    (bed.policies / "e2.yaml").write_text("vpn: E2\nservice: vpls\nsites: [hq]\n")
    await bed.change("apply")
    await bed.running._undo(2, "routers were on their way back")
    (told,) = (one for one in (await bed.running.status()).problems if "revision 2 gave" in one)
    assert "on which revision 3 builds" in told
    await bed.running.drift(fix=True)
    assert not [one for one in (await bed.running.status()).problems if "revision 2" in one]
    await bed.change("rollback")
    await bed.running._undo(3, "as before")  # nothing builds on it any more
    assert not [one for one in (await bed.running.status()).problems if "revision 3" in one]


async def test_a_router_in_doubt_that_hangs_holds_up_nobody(beds: Beds) -> None:
    bed = beds(2)
    bed.timeouts = "{connect: 30, rpc: 60, commit: 60}"
    bed.write()
    await bed.start()
    lost = bed.routers["pe-c2"]
    lost.fault("connect", slow(0), refuse("gone", times=0))
    lost.fault("confirm", drop())
    with pytest.raises(ProvisioningError, match=r"in doubt, and asked again.*: pe-c2"):
        await bed.change("extend")
    lost.ask(lambda router: router.faults.clear())
    lost.fault("ask", Fault(Wrong.HANG, times=0))
    await until(lambda: bool(lost.router.sessions), "pe-c2 to be asked again")
    (session,) = lost.router.sessions
    with pytest.raises(OutcomeUnknownError, match="since an earlier change: pe-c2") as refused:
        await bed.change("extend")
    assert "vpnctl doctor pe-c2" in refused.value.hint
    plan = await bed.running.plan(PlanRequest("extend", "E1", "cloud"))
    assert [bool(one.diff) for one in plan.routers] == [True, False]
    assert plan.routers[1].trouble.startswith("in doubt since an earlier change")
    assert session in lost.router.sessions  # nobody has waited for what it does there
    lost.ask(lambda router: router.faults.clear())


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
