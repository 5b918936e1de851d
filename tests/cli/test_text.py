"""Plans and timelines as text: diffs, groups of peers, bars."""

from __future__ import annotations

import difflib
from dataclasses import asdict, replace

import pytest

from vpnctl.cli.decode import decode
from vpnctl.cli.output import count, table
from vpnctl.cli.text import diff_lines, duration, plan_lines, route_lines, timeline_lines
from vpnctl.controller.views import (
    AllocationChange,
    Applied,
    FileChange,
    PeerChange,
    Plan,
    Revision,
    RouteChange,
    RouterPlan,
    Step,
)

PLAN = Plan("7f3a", 41, "apply", False, (), (), (), (), (), ())


def change(old: str, new: str) -> list[str]:
    diff = "\n".join(difflib.unified_diff(old.split(), new.split(), lineterm=""))
    return diff_lines([FileChange("f", diff)])


def test_one_line_for_another_is_one_change() -> None:
    assert change("a b c", "a x c") == ["f:2   b -> x"]


def test_lines_are_numbered_as_in_the_new_file_and_as_where_the_old_ones_were() -> None:
    assert change("a b c d e f g h i j", "a b c d e f g h i j k") == ["f:11   + k"]
    assert change("a b c", "a c") == ["f:2   - b"]
    assert change("a b c d", "x a c y") == ["f:1   + x", "f:3   - b", "f:4   d -> y"]
    assert change("a b", "x y z") == [
        "f:1   - a",
        "f:1   - b",
        "f:1   + x",
        "f:2   + y",
        "f:3   + z",
    ]


def test_a_new_and_a_deleted_file() -> None:
    assert change("", "a b") == ["f:1   + a", "f:2   + b"]
    assert change("a", "") == ["f:1   - a"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  vlan: 100  # cloud", "  vlan: 200  # cloud", "vlan: 100 -> 200"),
        ("  vlan: 100  # cloud", "  vlan: 200  # hq", "vlan: 100  # cloud -> 200  # hq"),
        ("  vlan: 100", "  vni: 200", "vlan: 100 -> vni: 200"),
    ],
)
def test_a_key_and_a_comment_that_stay_are_not_repeated(old: str, new: str, said: str) -> None:
    diff = f"--- f\n+++ f\n@@ -1 +1 @@\n-{old}\n+{new}\n"
    assert diff_lines([FileChange("f", diff)]) == [f"f:1   {said}"]


def test_places_are_aligned_over_files() -> None:
    diff = "--- f\n+++ f\n@@ -0,0 +1 @@\n+x\n"
    assert diff_lines([FileChange("a", diff), FileChange("long", diff)]) == [
        "a:1      + x",
        "long:1   + x",
    ]


def test_many_peers_are_counted_and_all_named_when_wide() -> None:
    peers = tuple(PeerChange(f"pe-{number}", 2, 0, 1) for number in range(9))
    plan = replace(PLAN, peers=(*peers, PeerChange("pe-same", 0, 0, 0)))
    narrow = "\n".join(plan_lines(plan))
    assert "pe-0, pe-1, pe-2 and 6 more   + 2 new each   - 1 gone each" in narrow
    wide = "\n".join(plan_lines(plan, wide=True))
    assert ", ".join(peer.peer for peer in peers) in wide
    assert "pe-same" not in wide
    assert "... and 27 more" in wide


def test_many_routes_are_counted_until_each_is_asked_for() -> None:
    routes = tuple(
        RouteChange("pe-1", "vpnv4", "+", f"65000:1:10.0.{number}.0/24", "pe-2", (), ("65000:2",))
        for number in range(21)
    )
    many = replace(PLAN, peers=(PeerChange("pe-1", 21, 0, 0),), routes=routes)
    assert "--routes lists each of the 21" in "\n".join(plan_lines(many))
    for lines in (plan_lines(many, routes=True), plan_lines(many, wide=True)):
        assert sum("65000:1:10.0." in line for line in lines) == 21
    few = replace(PLAN, peers=(PeerChange("pe-1", 20, 0, 0),), routes=routes[:20])
    assert sum("65000:1:10.0." in line for line in plan_lines(few)) == 20


def test_numbers_are_told_in_words_that_tables_have() -> None:
    changes = [
        ("rd/pe-1", 2, "take"),
        ("route-target", 103, "take"),
        ("ve-id/E1", 3, "take up again"),
        ("vlan/pe-1", 101, "release"),
        ("vlan/pe-1/ge-1", 4001 * 4096 + 17, "take"),
    ]
    plan = replace(
        PLAN,
        allocations=tuple(AllocationChange(pool, "E1/hq", n, done) for pool, n, done in changes),
    )
    assert [line[12:] for line in plan_lines(plan)[1:6]] == [
        "+ RD 2 at pe-1               for E1/hq",
        "+ route target 103           for E1/hq",
        "+ VE-ID 3 in E1              for E1/hq",
        "- VLAN 101 at pe-1           for E1/hq",
        "+ VLAN 4001/17 at pe-1/ge-1  for E1/hq",
    ]


def test_a_long_change_of_a_file_is_cut_unless_wide() -> None:
    text = "\n".join(f"+{number}" for number in range(30))
    diff = f"--- /dev/null\n+++ f\n@@ -0,0 +1,30 @@\n{text}"
    plan = replace(PLAN, files=(FileChange("f", diff),))
    assert "f      ... and 10 lines more; -o wide shows them" in plan_lines(plan)[-1]
    assert plan_lines(plan, wide=True)[-1].endswith("f:30   + 29")


def test_a_plan_before_any_revision() -> None:
    assert plan_lines(replace(PLAN, base=None))[0].startswith("Plan 7f3a (before any revision)")


@pytest.mark.parametrize(
    ("ms", "text"), [(0.04, "0.0 ms"), (9.94, "9.9 ms"), (12.3, "12 ms"), (2789.0, "2.79 s")]
)
def test_durations(ms: float, text: str) -> None:
    assert duration(ms) == text


@pytest.mark.parametrize("width", [20, 80, 200])
def test_bars_stay_within_the_terminal_and_no_step_is_without(width: int) -> None:
    steps = [Step("a", 0, 0.1), Step("b", 0.1, 1000), Step("c", 1000, 1000)]
    lines = timeline_lines(steps, width)
    assert all(len(line) <= max(width, 30) for line in lines)
    assert [line.rstrip()[-1] for line in lines] == ["|", "=", "|"]
    assert timeline_lines([], width) == []
    assert timeline_lines([Step("a", 0, 0)], width)


def test_a_long_detail_gives_way_to_the_bars() -> None:
    step = Step("allocated", 0, 1, "VLAN 100, VLAN 101, VLAN 102, VLAN 103")
    assert "(VLAN 100" not in timeline_lines([step], 80)[0]
    assert "(VLAN 100" in timeline_lines([step], 120)[0]


def test_tables_are_aligned_and_never_cut() -> None:
    rows = [("x" * 300, True, ("a", "b")), (None, False, ())]
    assert table(("A", "B", "C"), rows) == [
        f"{'A':300}  B    C",
        f"{'x' * 300}  yes  a, b",
        f"{'-':300}  no   -",
    ]
    assert (count(1, "file"), count(2, "file")) == ("1 file", "2 files")


def test_values_survive_json_and_a_newer_controller() -> None:
    revision = Revision(1, None, "t", "a", "start", "", "applied", None, None)
    applied = Applied(revision, PLAN, (Step("a", 0, 1),), True, ())
    told = {**asdict(applied), "new_key": 1}
    assert decode(Applied, told) == applied
    with pytest.raises(KeyError):
        decode(Revision, {"number": 1})


def test_a_plan_shows_what_each_router_would_get_or_why_it_does_not_say() -> None:
    diff = "[edit]\n+   a;\n-   b;"
    routers = (
        RouterPlan("pe1", "junos-mx", diff),
        RouterPlan("pe2", "junos-mx", "", "pe2: locked by ada"),
        RouterPlan("pe3", "junos-mx", ""),
    )
    assert plan_lines(replace(PLAN, routers=routers))[1:7] == [
        "  routers   ~ pe1  junos-mx",
        "                [edit]",
        "                +   a;",
        "                -   b;",
        "            ! pe2  locked by ada",
        "              pe3  has it already",
    ]


def test_a_long_diff_is_counted() -> None:
    routers = (RouterPlan("pe1", "junos-mx", "\n".join(["+ x"] * 50)),)
    few = plan_lines(replace(PLAN, routers=routers))
    assert "                ... and 10 lines more; -o wide shows them" in few
    assert (
        sum("+ x" in line for line in plan_lines(replace(PLAN, routers=routers), wide=True)) == 50
    )


def test_what_prepares_a_router_is_one_bar() -> None:
    steps = [
        Step("connect", 0, 10, "", "pe1"),
        Step("connect", 0, 20, "", "pe2"),
        Step("lock", 10, 12, "", "pe1"),
        Step("check", 12, 30, "", "pe1"),
        Step("commit", 30, 90, "", "pe1"),
    ]
    names = [line[2:].partition("   ")[0].strip() for line in timeline_lines(steps, 80)]
    assert names == ["pe1  connect to check", "pe2  connect", "pe1  commit"]


def test_a_flow_route_is_listed_with_what_it_does() -> None:
    flow = "flow4/10.0.0.1:1/destination=10.1.0.0/16"
    change = RouteChange(
        "pe-e1", "ipv4 flow-vpn", "~", flow, "policies/e1.yaml:5", ("65000:1",), ("65000:1",),
        ("at most 1 Mb/s",), ("drop",),
    )  # fmt: skip
    (line,) = route_lines([change])
    assert line.endswith(f"{flow}  from policies/e1.yaml:5  65000:1  at most 1 Mb/s -> drop")


PE = "{{address: 10.0.0.3, platform: junos-mx, port: {}, netconf: {{user: a, port: 830}}}}"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (PE.format(1), PE.format(2), "pe-c1: {... port: 1 -> port: 2 ...}"),
        (PE.format(1), PE.format("1, asn: 2"), "pe-c1: {... + asn: 2 ...}"),
        (PE.format("1, asn: 2"), PE.format(1), "pe-c1: {... - asn: 2 ...}"),
        (PE.format(1), PE.format(1).replace("830", "831"),
         "pe-c1: {... netconf: {user: a, port: 830} -> netconf: {user: a, port: 831} ...}"),
        ("{a: 1}", "{a: 2}", "pe-c1: {a: 1} -> {a: 2}"),
    ],
)  # fmt: skip
def test_of_a_long_mapping_on_one_line_what_differs_is_shown(
    before: str, after: str, said: str
) -> None:
    diff = f"@@ -1 +1 @@\n-  pe-c1: {before}\n+  pe-c1: {after}\n"
    assert diff_lines([FileChange("f", diff)]) == [f"f:1   {said}"]
