"""plan, apply, confirm, rollback, extend, retract: what is shown, asked, done and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.fake_controller import FakeController
from vpnctl.cli.change import seconds
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import UsageError

PLAN = """\
Plan 7f3a (on revision 41)  extend E1 to cloud2
  sessions  + pe-c2b  10.0.0.4, AS 65000
  numbers   + VE-ID 3 in E1  for E1/cloud2/pe-c2a
  routes    pe-c1            ~ 1 changed
            pe-c2a, pe-c2b   + 1 new each
            pe-e1            - 1 gone
            ~  pe-c1   vpls  10.0.0.1:100:ve1  from pe-e1  65000:100 -> 65000:102
            +  pe-c2a  vpls  10.0.0.1:100:ve1  from pe-e1  65000:103
            +  pe-c2b  vpls  10.0.0.1:100:ve1  from pe-e1  65000:103
            -  pe-e1   vpls  10.0.0.1:100:ve1  from pe-e1  65000:100
  policy    policies/e1.yaml:3   sites: [e1-hq, cloud1] -> [e1-hq, cloud1, cloud2]
"""
TIMELINE = """
  policy checked                    2.1 ms  ====
  numbers allocated (VE-ID 3, 4)    1.9 ms      ====
  first UPDATE out (pe-c2a)         1.2 ms          ===
  last UPDATE out (pe-c2b)           12 ms          ==========================
Done in 16 ms. E1 is now e1-hq, cloud1, cloud2 (revision 42). Undo: vpnctl rollback 41
"""
NEEDS = """\
E1 at pe-c2a must have: RD 65000:102, VE-ID 3, VLAN 100, \
export target 65000:102, import target 65000:102
E1 at pe-c2b must have: RD 65000:102, VE-ID 3, VLAN 100, \
export target 65000:102, import target 65000:102
"""


def test_extend_shows_the_plan_then_the_timeline_then_what_is(vpnctl: Any) -> None:
    result = vpnctl("extend", "E1", "--site", "cloud2", "--yes")
    assert result.exit_code == 0
    assert result.stdout == PLAN + TIMELINE + NEEDS
    assert result.stderr == ""


def test_extend_sends_what_the_plan_said(vpnctl: Any, controller: FakeController) -> None:
    vpnctl("extend", "E1", "--site", "cloud2", "--yes", "--confirm", "5m", "--wait", "3s")
    request = PlanRequest("extend", vpn="E1", site="cloud2")
    assert controller.asked[-1] == ("apply", request, "7f3a", 41, 300.0, "ada", 3.0)


def test_routers_check_what_is_only_shown(vpnctl: Any, controller: FakeController) -> None:
    """What is done after that they check anyway, and nobody wants to wait for it twice."""
    vpnctl("plan")
    vpnctl("extend", "E1", "--site", "cloud2", "--dry-run")
    assert controller.checks == [True, True]
    vpnctl("extend", "E1", "--site", "cloud2", "--yes")
    assert controller.checks[2] is False


def test_plan_lists_each_route(vpnctl: Any) -> None:
    for words in (("plan",), ("plan", "--routes"), ("plan", "-o", "wide")):
        assert vpnctl(*words).stdout == PLAN


def test_a_dry_run_applies_nothing(vpnctl: Any, controller: FakeController) -> None:
    for words in (
        ("extend", "E1", "--site", "cloud2"),
        ("retract", "E1", "--site", "cloud2"),
        ("rollback", "40"),
    ):
        assert vpnctl(*words, "--dry-run").stdout == PLAN
    assert [asked[0] for asked in controller.asked] == ["plan"] * 3


def test_without_a_terminal_yes_is_needed(vpnctl: Any, controller: FakeController) -> None:
    result = vpnctl("apply", input="y\n")
    assert result.exit_code == 2
    assert "no terminal" in result.stderr
    assert "--yes" in result.stderr
    assert [asked[0] for asked in controller.asked] == ["plan"]


@pytest.mark.parametrize(("answer", "code", "applied"), [("y\n", 0, True), ("\n", 1, False)])
def test_on_a_terminal_it_asks(
    vpnctl: Any, controller: FakeController, terminal: Any, answer: str, code: int, applied: bool
) -> None:
    terminal()
    result = vpnctl("apply", input=answer, env={"NO_COLOR": "1"})
    assert result.exit_code == code
    assert result.stderr.startswith("Apply? [y/N] ")
    assert (controller.asked[-1][0] == "apply") is applied
    assert ("nothing was applied" in result.stderr) is not applied


def test_nothing_to_change_is_said_and_not_asked(vpnctl: Any, controller: FakeController) -> None:
    controller.empty = True
    result = vpnctl("apply")
    assert result.exit_code == 0
    assert "nothing changes" in result.stdout
    assert vpnctl("plan", "--detailed-exitcode").exit_code == 0


def test_detailed_exit_codes(vpnctl: Any, controller: FakeController) -> None:
    assert vpnctl("plan", "--detailed-exitcode").exit_code == 2
    controller.fail = UsageError("no")
    assert vpnctl("plan", "--detailed-exitcode").exit_code == 1
    assert vpnctl("plan").exit_code == 2


def test_a_saved_plan_is_applied_as_it_was_shown(
    vpnctl: Any, controller: FakeController, tmp_path: Path
) -> None:
    file = tmp_path / "change.plan"
    saved = vpnctl("plan", "--out", str(file))
    assert f"vpnctl apply {file}" in saved.stderr
    result = vpnctl("apply", str(file), "--yes")
    assert result.exit_code == 0
    assert result.stdout.startswith(PLAN)
    assert controller.asked[-1][:4] == ("apply", PlanRequest("apply"), "7f3a", 41)


def test_a_saved_plan_is_refused_when_the_base_moved(vpnctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "change.plan"
    vpnctl("plan", "--out", str(file))
    assert vpnctl("extend", "E1", "--site", "cloud2", "--yes").exit_code == 0
    result = vpnctl("apply", str(file), "--yes")
    assert result.exit_code == 5
    assert "revision 41" in result.stderr


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "vpnctl/2"}', '{"schema": 1}'])
def test_what_is_no_plan_is_refused(vpnctl: Any, tmp_path: Path, text: str) -> None:
    file = tmp_path / "change.plan"
    file.write_text(text)
    result = vpnctl("apply", str(file))
    assert result.exit_code == 2
    assert "is no plan of this version" in result.stderr
    assert vpnctl("apply", str(tmp_path / "none")).exit_code == 2


def test_json_and_yaml_carry_the_schema(vpnctl: Any) -> None:
    plan = json.loads(vpnctl("plan", "-o", "json").stdout)
    assert plan["schema"] == "vpnctl/1"
    assert plan["plan"]["id"] == "7f3a"
    assert yaml.safe_load(vpnctl("plan", "-o", "yaml").stdout) == plan
    applied = json.loads(vpnctl("apply", "--yes", "-o", "json").stdout)
    assert applied["applied"]["revision"]["number"] == 42


def test_confirm_keeps_a_revision(vpnctl: Any) -> None:
    result = vpnctl("apply", "--yes", "--confirm", "5m")
    assert "undone at 08:19:02Z" in result.stderr
    assert vpnctl("confirm").stdout == "Revision 42 is confirmed.\n"
    assert vpnctl("confirm").exit_code == 6


def test_rollback_names_the_revision_to_come_back(vpnctl: Any, controller: FakeController) -> None:
    assert vpnctl("rollback", "40", "--yes").exit_code == 0
    assert controller.asked[-1][1] == PlanRequest("rollback", revision=40)
    assert vpnctl("rollback", "99", "--yes").exit_code == 4


def test_peers_that_wait_are_named(vpnctl: Any, controller: FakeController) -> None:
    controller.waiting = ("pe-c2b",)
    result = vpnctl("apply", "--yes")
    assert result.exit_code == 0
    assert "not taken by every peer yet: pe-c2b" in result.stderr


def test_what_is_wrong_after_a_change_is_told(vpnctl: Any, controller: FakeController) -> None:
    controller.troubles = ("listen 10.0.0.100:179: address already in use",)
    result = vpnctl("apply", "--yes")
    assert result.exit_code == 0
    assert result.stderr == "warning: listen 10.0.0.100:179: address already in use\n"


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("1.5m", 90)]
)
def test_times(text: str, value: float) -> None:
    assert seconds(text, "--confirm") == value


@pytest.mark.parametrize("text", ["", "5 m", "-1", "1d", "x", "999h", "inf"])
def test_what_is_no_time(vpnctl: Any, text: str) -> None:
    with pytest.raises(UsageError, match="--confirm"):
        seconds(text, "--confirm")
    if text:
        assert vpnctl("apply", f"--confirm={text}", "--yes").exit_code == 2
