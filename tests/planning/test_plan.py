"""Plans put differences into words: files, numbers, sessions, routes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from types import SimpleNamespace

import pytest

from tests.support.rulesets import network
from vpnctl.model import VPLS, VPNV4, Allocation, Network, RouteTarget
from vpnctl.planning.plan import (
    AllocationChange,
    PeerChange,
    Plan,
    Policy,
    RouteChange,
    SessionChange,
    changed_files,
    plan,
    plan_id,
)
from vpnctl.routing.changes import Move
from vpnctl.routing.nlri import from_text

PATH = SimpleNamespace(source="pe0", family=VPNV4)
T1, T2 = (RouteTarget.parse(text).octets for text in ("65000:1", "65000:2"))


def made(
    old: dict[str, bytes] | None = None,
    new: dict[str, bytes] | None = None,
    *,
    had: tuple[Allocation, ...] = (),
    has: tuple[Allocation, ...] = (),
    before: Network | None = None,
    after: Network | None = None,
    moves: tuple[Move, ...] = (),
    routes: int = 100,
) -> Plan:
    return plan(
        base=41,
        summary="a change",
        old=Policy(old or {}, frozenset(had), before),
        new=Policy(new or {}, frozenset(has), after),
        vpns=(),
        moves=moves,
        routes=routes,
    )


def move(peer: str, old: bytes | None, new: bytes | None, *nlris: str) -> Move:
    family, _ = from_text(nlris[0])
    keys = tuple(from_text(nlri)[1] for nlri in nlris)
    sides = [None if side is None else (PATH, (side,)) for side in (old, new)]
    return Move(peer, family, sides[0], sides[1], keys)  # type: ignore[arg-type]


def test_nothing_is_an_empty_plan() -> None:
    same = network()
    assert made({"a": b"x"}, {"a": b"x"}, before=same, after=same).empty


def test_files_that_differ() -> None:
    old, new = {"a": b"1\n", "b": b"2\n", "c": b"3\n"}, {"a": b"1\n", "c": b"4\n", "d": b"5\n"}
    assert changed_files(old, new) == {
        "b": (b"2\n", None),
        "c": (b"3\n", b"4\n"),
        "d": (None, b"5\n"),
    }
    found = {change.file: change.diff.splitlines() for change in made(old, new).files}
    assert found["b"] == ["--- b", "+++ /dev/null", "@@ -1 +0,0 @@", "-2"]
    assert found["c"] == ["--- c", "+++ c", "@@ -1 +1 @@", "-3", "+4"]
    assert found["d"] == ["--- /dev/null", "+++ d", "@@ -0,0 +1 @@", "+5"]


def test_an_id_names_the_base_and_the_contents() -> None:
    old, new = {"a": b"1"}, {"a": b"2"}
    known = plan_id(41, old, new)
    assert known == plan_id(41, {**old, "b": b"x"}, {**new, "b": b"x"})
    others = {
        plan_id(42, old, new),
        plan_id(None, old, new),
        plan_id(41, old, {"a": b"3"}),
        plan_id(41, old, {}),
        plan_id(41, old, {**new, "b": b""}),
    }
    assert len(others) == 5
    assert known not in others


@pytest.mark.parametrize(
    ("had", "has", "action"),
    [
        (None, False, "take"),
        (False, True, "release"),
        (True, False, "take up again"),
        (None, True, None),
        (False, False, None),
        (False, None, None),
    ],
)
def test_numbers_taken_and_released(had: bool | None, has: bool | None, action: str | None) -> None:
    def numbers(released: bool | None) -> tuple[Allocation, ...]:
        kept = Allocation("vlan/pe0", "E1/hq", 100)
        mine = Allocation("route-target", "E1/hq", 7, bool(released))
        return (kept,) if released is None else (kept, mine)

    expected = () if action is None else (AllocationChange("route-target", "E1/hq", 7, action),)
    assert made(had=numbers(had), has=numbers(has)).allocations == expected


def test_sessions_that_come_go_and_change() -> None:
    every = network(("pe0", "pe1", "pe2", "pe3"))
    before = replace(every, pes={name: every.pes[name] for name in ("pe0", "pe1", "pe2")})
    pes = {name: every.pes[name] for name in ("pe1", "pe2", "pe3")}
    pes["pe1"] = replace(pes["pe1"], hold_time=30)
    found = made(before=before, after=replace(every, pes=pes)).sessions
    assert found == (
        SessionChange("pe0", "-", "10.0.0.1 AS 65000"),
        SessionChange("pe1", "~", "the session is closed and opened again"),
        SessionChange("pe3", "+", "10.0.0.4 AS 65000"),
    )


def test_what_does_not_concern_a_session_leaves_it_alone() -> None:
    before = network(("pe0",))
    pes = {"pe0": replace(before.pes["pe0"], port="ge-0/0/1", vlans=(7, 9), platform="frr")}
    assert made(before=before, after=replace(before, pes=pes)).sessions == ()


@pytest.mark.parametrize("change", [{"asn": 65001}, {"router_id": IPv4Address("10.9.9.9")}])
def test_another_speaker_opens_every_session_again(change: dict[str, object]) -> None:
    before = network(("pe0", "pe1"))
    after = replace(before, controller=replace(before.controller, **change))  # type: ignore[arg-type]
    assert [(s.peer, s.action) for s in made(before=before, after=after).sessions] == [
        ("pe0", "~"),
        ("pe1", "~"),
    ]


MOVES = (
    move("pe2", None, T1, "65000:1:10.0.0.0/8", "65000:1:10.1.0.0/16"),
    move("pe1", T1, T2, "65000:1:10.0.0.0/8"),
    move("pe1", T1, None, "10.0.0.1:5:ve1@1"),
)


def test_routes_by_peer_and_family() -> None:
    found = made(moves=MOVES)
    assert found.peers == (PeerChange("pe1", 0, 1, 1), PeerChange("pe2", 2, 0, 0))
    assert found.routes == (
        RouteChange(
            "pe1", VPNV4.name, "~", "65000:1:10.0.0.0/8", "pe0", ("65000:1",), ("65000:2",)
        ),
        RouteChange("pe1", VPLS.name, "-", "10.0.0.1:5:ve1@1", "pe0", ("65000:1",), ()),
        RouteChange("pe2", VPNV4.name, "+", "65000:1:10.0.0.0/8", "pe0", (), ("65000:1",)),
        RouteChange("pe2", VPNV4.name, "+", "65000:1:10.1.0.0/16", "pe0", (), ("65000:1",)),
    )
    assert not found.empty


@pytest.mark.parametrize("most", [0, 1, 2, 3, 4, 5])
def test_the_list_is_bounded_and_the_counts_are_not(most: int) -> None:
    found = made(moves=MOVES, routes=most)
    assert found.routes == made(moves=MOVES).routes[:most]
    assert found.peers == made(moves=MOVES).peers
