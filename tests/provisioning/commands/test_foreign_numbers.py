"""A number that somebody else's instance has at a router is given to no customer there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.provisioning.commands.bed import Bed
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import ProvisioningError

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

Beds = Callable[[int], Bed]

#: What a router's instance may import a target by, and what a refusal points at.
IMPORTS = {
    "of the main router": (
        "set routing-instances OLD instance-type vrf\n"
        "set routing-instances OLD route-distinguisher 10.0.0.9:9\n"
        "set routing-instances OLD vrf-target target:{target}\n",
        "/routing-instances/instance[name='OLD']",
    ),
    "of another logical system": (
        "set logical-systems old routing-instances OLD instance-type vrf\n"
        "set logical-systems old routing-instances OLD route-distinguisher 10.0.0.9:9\n"
        "set logical-systems old routing-instances OLD vrf-target import target:{target}\n"
        "set logical-systems old routing-instances OLD vrf-target export target:65000:9999\n",
        "/logical-systems[name='old']/routing-instances/instance[name='OLD']",
    ),
    "in our logical system, by a policy": (
        "set logical-systems vpnctl policy-options community blue members target:{target}\n"
        "set logical-systems vpnctl policy-options policy-statement in term 1 from community blue\n"
        "set logical-systems vpnctl policy-options policy-statement in term 1 then accept\n"
        "set logical-systems vpnctl routing-instances OLD instance-type vrf\n"
        "set logical-systems vpnctl routing-instances OLD route-distinguisher 10.0.0.9:9\n"
        "set logical-systems vpnctl routing-instances OLD vrf-import in\n"
        "set logical-systems vpnctl routing-instances OLD vrf-export in\n",
        "/logical-systems[name='vpnctl']/policy-options/community[name='blue']",
    ),
}


async def given(bed: Bed) -> str:
    """The target that the router would be given."""
    plan = await bed.running.plan(PlanRequest("extend", "E1", "cloud"))
    pool = [one for one in plan.allocations if one.pool.startswith("route-target")]
    return f"65000:{pool[0].number}"


@pytest.mark.parametrize("how", IMPORTS)
async def test_a_target_that_another_instance_imports_is_refused_before_anything_is_changed(
    beds: Beds, how: str
) -> None:
    bed = beds(2)
    await bed.start()
    target = await given(bed)
    commands, where = IMPORTS[how]
    router = bed.routers["pe-c2"]
    router.configure(commands.format(target=target))
    before = {name: one.running for name, one in bed.routers.items()}
    (_, planned) = (await bed.running.plan(PlanRequest("extend", "E1", "cloud"))).routers
    with pytest.raises(ProvisioningError) as refused:
        await bed.change("extend")
    for told in (planned.trouble, refused.value.message):
        assert f"pe-c2: route target {target}, which is for E1 at cloud, is in use in" in told
        assert where in told
    assert "'vpnctl adopt pe-c2'" in refused.value.hint
    assert {name: one.running for name, one in bed.routers.items()} == before
    assert bed.left_behind() == []
    # The remedy that it names.
    await bed.running.adopt("pe-c2", author="ada")
    await bed.change("extend")
    assert bed.have() == {"pe-c1", "pe-c2"}
    assert bed.target_at("pe-c2") != target


async def test_a_drift_is_not_fixed_into_somebody_elses_vpn(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    await bed.change("extend")
    router = bed.routers["pe-c1"]
    target = bed.target_at("pe-c1")
    ours = [line for line in router.running if "E1_cloud" in line]
    instance = ours[0].partition(" E1_cloud")[0] + " E1_cloud"
    theirs = IMPORTS["of the main router"][0].format(target=target)
    router.configure(f"delete {instance}\n{theirs}")
    (drift,) = await bed.running.drift(fix=True)
    assert f"route target {target}, which is for E1 at cloud, is in use in" in drift.trouble
    assert not drift.fixed
    assert bed.have() == set()


async def test_a_drift_of_something_else_is_fixed_all_the_same(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    await bed.change("extend")
    router = bed.routers["pe-c1"]
    target = bed.target_at("pe-c1")
    ours = next(line for line in router.running if "instance-type vpls" in line)
    instance = ours.partition(" instance-type")[0]
    theirs = IMPORTS["of the main router"][0].format(target=target)
    router.configure(f"set {instance} description changed-by-ada\n{theirs}")
    (drift,) = await bed.running.drift(fix=True)
    assert drift.fixed
    assert not any("changed-by-ada" in line for line in router.running)


async def test_the_doctor_finds_who_has_taken_a_number_of_ours_since(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    await bed.change("extend")
    target = bed.target_at("pe-c1")
    bed.routers["pe-c1"].configure(IMPORTS["of another logical system"][0].format(target=target))
    (checkup,) = await bed.running.doctor()
    (numbers,) = [check for check in checkup.checks if check.name == "numbers"]
    assert not numbers.ok
    assert numbers.detail == (
        f"route target {target}, which is for E1 at cloud, is in use in"
        " /logical-systems[name='old']/routing-instances/instance[name='OLD']"
    )


async def test_what_is_taken_from_a_router_asks_nothing_of_others(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    await bed.change("extend")
    theirs = IMPORTS["of the main router"][0].format(target=bed.target_at("pe-c1"))
    bed.routers["pe-c1"].configure(theirs)
    await bed.change("retract")
    assert bed.have() == set()
