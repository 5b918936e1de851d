"""What the controller tells of access rules."""

from __future__ import annotations

from tests.routing.flowspec.test_flow_engine import SSH, SSH_FLOW, TARGET_OF_HQ, House
from vpnctl.controller import present, views
from vpnctl.model.family import FAMILIES
from vpnctl.planning.plan import route_changes
from vpnctl.routing.rewrite import compile_rules


def test_each_rule_is_told_with_its_place_and_where_it_stands() -> None:
    house = House(SSH)
    assert present.access(house.engine, "E1") == (
        views.AccessRoute(
            vpn="E1",
            place="e1.yaml:9",
            pe="pe0",
            family="ipv4 flow-vpn",
            nlri=SSH_FLOW,
            targets=(TARGET_OF_HQ,),
            actions=("drop",),
            status="sent",
        ),
    )
    assert present.access(house.engine, "E2") == ()
    assert present.access_problems(house.engine) == ()


def test_a_pe_that_cannot_be_told_is_a_problem_once_its_session_is_up() -> None:
    house = House(SSH, families=frozenset(FAMILIES.values()))
    (problem,) = present.access_problems(house.engine)
    assert problem.startswith("pe0 did not negotiate ipv4 flow-vpn: its access rules are not")
    house.engine.session_down(0)
    assert present.access_problems(house.engine) == ()


def test_what_was_sent_is_listed_with_the_rule_that_it_comes_from() -> None:
    house = House(SSH)
    (route,) = present.rib_out(house.engine, "pe0", None, "E1", 10)
    assert (route.source, route.nlri, route.actions) == ("e1.yaml:9", SSH_FLOW, ("drop",))
    assert present.rib_out(house.engine, "pe0", None, "E2", 10) == ()
    owned = {target.target: target.routes for target in present.targets(house.engine)}
    assert owned[TARGET_OF_HQ] == 0


def test_a_plan_tells_what_becomes_of_packets() -> None:
    house = House(SSH)
    before = house.engine.rules
    house.apply([])
    change = compile_rules(before.ruleset, house.engine.rules)
    (planned,) = route_changes(house.engine.preview(change), 10)
    assert (planned.action, planned.nlri, planned.source) == ("+", SSH_FLOW, "e1.yaml:9")
    assert (planned.old_actions, planned.new_actions) == ((), ("drop",))
