"""Drift, doctor and adopt: what an operator asks about routers, beside changing the policy."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

import pytest

from tests.controller.stage import until
from tests.provisioning.commands.bed import Bed
from vpnctl.errors import NotFoundError, UsageError
from vpnctl.lab.junos.faults import refuse
from vpnctl.provisioning.profile_files import shipped

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

Beds = Callable[[int], Bed]


async def test_routers_that_were_let_alone_have_not_drifted(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    await bed.change("extend")
    assert [(one.router, one.diff, one.trouble) for one in await bed.running.drift(fix=False)] == [
        ("pe-c1", "", ""),
        ("pe-c2", "", ""),
    ]
    assert bed.left_behind() == []


async def test_what_somebody_changed_of_ours_is_shown_and_fixed(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    await bed.change("extend")
    router = bed.routers["pe-c2"]
    ours = next(line for line in router.running if "instance-type vpls" in line)
    instance = ours.partition(" instance-type")[0]
    router.configure(f"set {instance} description changed-by-ada")
    before = router.running
    one, other = await bed.running.drift(fix=False)
    assert one.diff == ""
    assert "changed-by-ada" in other.diff
    assert router.running == before
    (fixed,) = await bed.running.drift(["pe-c2"], fix=True)
    assert fixed.fixed
    assert not any("changed-by-ada" in line for line in router.running)
    assert bed.left_behind() == []
    (again,) = await bed.running.drift(["pe-c2"], fix=True)
    assert again.diff == ""
    assert not again.fixed


async def test_what_is_not_ours_is_no_drift(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    await bed.change("extend")
    bed.routers["pe-c1"].configure("set system host-name changed-by-ada")
    (one,) = await bed.running.drift(fix=True)
    assert one.diff == ""
    assert "system host-name changed-by-ada" in bed.routers["pe-c1"].running


async def test_a_router_that_cannot_be_asked_is_told_beside_the_others(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    await bed.change("extend")
    bed.routers["pe-c1"].fault("connect", refuse("gone", times=0))
    one, other = await bed.running.drift(fix=True)
    assert "pe-c1" in one.trouble
    assert (other.diff, other.trouble) == ("", "")


async def test_only_managed_routers_can_be_asked(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    with pytest.raises(UsageError, match="pe-a is not managed"):
        await bed.running.drift(["pe-a"], fix=False)
    with pytest.raises(NotFoundError, match="no router is called 'pe-x'"):
        await bed.running.doctor(["pe-x"])


async def test_the_doctor_finds_a_healthy_router_healthy(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    (checkup,) = await bed.running.doctor()
    found = {check.name: check.ok for check in checkup.checks}
    assert found == {
        "templates": True,
        "session": True,
        "host key": True,
        "rights": True,
        "candidate": True,
        "capabilities": True,
        "numbers": True,
        "BGP session": False,  # nobody is there who would hold it
    }


async def test_the_doctor_tells_a_stranger_from_silence(beds: Beds) -> None:
    bed = beds(2)
    login = (
        f'{{user: vpnctl, key: "{bed.keys.client}", address: 127.0.0.1,'
        f' port: {bed.routers["pe-c1"].port}, host_key: "SHA256:{"A" * 43}"}}'
    )
    bed.write(pe_c1=login)
    bed.routers["pe-c2"].fault("connect", refuse("gone", times=0))
    await bed.start()
    stranger, silent = await bed.running.doctor()
    assert next(check.name for check in stranger.checks if not check.ok) == "host key"
    assert next(check.name for check in silent.checks if not check.ok) == "session"


async def test_the_doctor_tells_who_is_at_work_on_a_router(beds: Beds) -> None:
    bed = beds(3)
    await bed.start()
    typing, locking, waiting = bed.routers.values()
    typing.dirty("set system host-name ada")
    ada = locking.ask(lambda router: router.log_in("ada"))
    locking.ask(lambda router: router.lock(ada))
    waiting.dirty("set system host-name bob")
    bob = waiting.ask(lambda router: router.log_in("bob"))
    committing = waiting.ask(
        lambda router: asyncio.ensure_future(
            router.commit(bob, client="cli", confirm_s=3600, minutes=60, stays=True)
        )
    )
    await until(committing.done, "bob to have committed")
    found = [
        next(check for check in checkup.checks if check.name == "candidate")
        for checkup in await bed.running.doctor()
    ]
    assert [check.ok for check in found] == [False] * 3
    assert "uncommitted changes of somebody else" in found[0].detail
    assert "locked by" in found[1].detail
    assert "ada" in found[1].detail
    assert "a confirmed commit of bob that waits" in found[2].detail
    assert all(check.hint for check in found)
    assert "system host-name ada" in typing.candidate
    assert locking.router.locked_by is ada


async def test_the_doctor_tells_where_what_a_router_cannot_have_is_written(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    bed.running._routers._templates.mkdir()
    broken = bed.running._routers._templates / "junos-mx"
    shutil.copytree(shipped() / "junos-mx", broken)
    profile = (broken / "profile.yaml").read_text()
    (broken / "profile.yaml").write_text(profile.replace("families: [vpls, ", "families: ["))
    (checkup,) = await bed.running.doctor()
    (templates,) = [check for check in checkup.checks if check.name == "templates"]
    assert "pes.pe-c1.families: junos-mx cannot be configured for" in templates.detail
    assert f"{bed.policies / 'network.yaml'}:" in templates.hint


async def test_an_adopted_routers_numbers_are_not_given_to_anybody(beds: Beds) -> None:
    bed = beds(1)
    router = bed.routers["pe-c1"]
    router.configure(
        "set interfaces ge-0/0/1 unit 100 encapsulation vlan-vpls\n"
        "set interfaces ge-0/0/1 unit 100 vlan-id 100"
    )
    await bed.start()
    adoption = await bed.running.adopt("pe-c1", author="ada")
    assert [(one.kind, one.value) for one in adoption.reserved if one.kind == "vlan"] == [
        ("vlan", "100")
    ]
    assert adoption.conflicts == ()
    assert "interfaces ge-0/0/1 unit 100 vlan-id 100" in router.running
    await bed.change("extend")
    assert any("vlan-id 101" in line for line in router.running)
    # Its own configuration stays, and what is ours is not taken for its own.
    again = await bed.running.adopt("pe-c1", author="ada")
    assert again == adoption


async def test_a_router_without_its_last_endpoint_has_not_drifted(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    (fixed,) = await bed.running.drift(fix=True)  # its session with the controller
    assert fixed.fixed
    await bed.change("extend")
    await bed.change("retract")
    assert [one.diff for one in await bed.running.drift(fix=False)] == [""]
    assert not any("routing-instances" in line for line in bed.routers["pe-c1"].running)
