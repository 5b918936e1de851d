"""What an adopted router uses is not given to anybody, and not taken from whoever has it."""

from __future__ import annotations

from tests.ruleset.policies import compiled, policy
from vpnctl.model import Allocation, InUse
from vpnctl.ruleset import adopt, load

E1 = """\
vpn: E1
service: vpls
sites: [hq, cloud1]
"""


def vlan(value: str, port: str = "ge-0/0/3") -> InUse:
    return InUse("vlan", value, f"{port}.{value}", port)


def test_nobody_is_given_what_the_router_uses() -> None:
    before = compiled(e1=E1)
    mine = before.ruleset.vpns["E1"].endpoints[1]
    assert (mine.pe, mine.vlan, str(mine.rd), mine.ve_id) == ("pe-c1", 100, "10.0.0.2:1", 2)
    target = str(mine.import_targets[0])
    adopted = adopt(
        before,
        "pe-c1",
        [
            vlan("101"), vlan("102", "ge-9/9/9"), vlan("4001/17"),
            InUse("rd", "10.0.0.2:2", "legacy"), InUse("rd", "192.0.2.1:3", "legacy"),
            InUse("route-target", "65000:102", "legacy"), InUse("route-target", "1:1", "legacy"),
            InUse("vni", "10000", "legacy"),
            InUse("ve-id", "3", "legacy", targets=(target,)),
            InUse("ve-id", "4", "another", targets=("65000:9999",)),
        ],
    )  # fmt: skip
    assert adopted.conflicts == ()
    assert {(one.kind, one.value) for one in adopted.reserved} == {
        ("vlan", "101"), ("vlan", "4001/17"), ("rd", "10.0.0.2:2"), ("route-target", "65000:102"),
        ("vni", "10000"), ("ve-id", "3"),
    }  # fmt: skip
    wider = policy(
        e1=E1.replace("cloud1]", "cloud1, branch]"),
        e2="vpn: E2\nservice: vpls\nsites: [cloud1]\n",
        e3="vpn: E3\nservice: evpn\nsites: [cloud1]\n",
    )
    after = load(wider, adopted.allocations)
    (e1, e2, e3) = (after.ruleset.vpns[name] for name in ("E1", "E2", "E3"))
    assert e1.endpoints[1] == mine
    assert e1.endpoints[2].ve_id == 4
    assert (e2.endpoints[0].vlan, str(e2.endpoints[0].rd)) == (102, "10.0.0.2:3")
    assert e3.endpoints[0].vni == 10001
    used = {str(one.export_targets[0]) for vpn in (e1, e2, e3) for one in vpn.endpoints}
    assert "65000:102" not in used
    # They stay reserved, whatever is loaded afterwards.
    assert {one for one in after.allocations if one.adopted} == {
        one for one in adopted.allocations if one.adopted
    }


def test_what_a_vpn_was_given_before_is_a_conflict_and_stays_its_own() -> None:
    before = compiled(e1=E1)
    adopted = adopt(before, "pe-c1", [vlan("100")])
    assert adopted.conflicts == ((vlan("100"), "E1/cloud1"),)
    assert adopted.allocations == before.allocations


def test_a_released_number_is_the_routers_again() -> None:
    before = load(policy(e1=E1.replace(", cloud1", "")), compiled(e1=E1).allocations)
    adopted = adopt(before, "pe-c1", [vlan("100")])
    assert Allocation("vlan/pe-c1/ge-0/0/3", "@pe-c1/100", 100) in adopted.allocations
    # So E1 gets another one when it comes back.
    again = load(policy(e1=E1), adopted.allocations)
    assert again.ruleset.vpns["E1"].endpoints[1].vlan == 101


def test_adopting_again_forgets_what_is_not_in_use_any_more() -> None:
    first = adopt(compiled(e1=E1), "pe-c1", [vlan("101"), vlan("102")])
    second = adopt(load(policy(e1=E1), first.allocations), "pe-c1", [vlan("102")])
    assert {one.number for one in second.allocations if one.adopted} == {102}


def test_what_the_policy_says_itself_is_not_questioned() -> None:
    adopted = adopt(compiled(e1=E1), "pe-c1", [vlan("105")])
    legacy = "vpn: E9\nservice: vpls\nsites: [{site: cloud1, vlan: 105}]\n"
    assert (
        load(policy(e1=E1, e9=legacy), adopted.allocations).ruleset.vpns["E9"].endpoints[0].vlan
        == 105
    )
