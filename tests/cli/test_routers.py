"""``drift``, ``doctor``, ``adopt``: what is asked of the controller, and how it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.support.fake_controller import FakeController
from vpnctl.cli.timeline_svg import timeline_svg
from vpnctl.controller.views import Step


def test_drift_shows_what_differs_and_ends_with_1(vpnctl: Any, controller: FakeController) -> None:
    result = vpnctl("drift")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "~ pe-c2a  junos-mx",
        "    [edit routing-instances]",
        "    + E1_cloud2 { ... }",
        "  pe-c2b  as it shall be",
    ]
    assert controller.asked[-1] == ("drift", False, "ada")


def test_drift_that_was_fixed_is_none(vpnctl: Any, controller: FakeController) -> None:
    result = vpnctl("drift", "pe-c2a", "--fix")
    assert result.exit_code == 0
    assert "  pe-c2a  fixed" in result.stdout.splitlines()
    assert controller.asked[-1] == ("drift", "pe-c2a", True, "ada")


def test_the_doctor_names_what_is_bad_and_what_to_do(
    vpnctl: Any, controller: FakeController
) -> None:
    result = vpnctl("doctor", "pe-c2a", "pe-c2b")
    assert result.exit_code == 1
    assert "pe-c2b: no answer in 10 s" in result.stdout
    assert "hint: pe-c2b  is it on?" in result.stdout
    assert controller.asked[-1] == ("doctor", "pe-c2a", "pe-c2b")


def test_adopt_names_who_has_a_number_already(vpnctl: Any) -> None:
    result = vpnctl("adopt", "pe-c2a")
    assert result.exit_code == 1
    assert "TAKEN by E1/cloud2" in result.stdout
    assert "used twice" in result.stderr


def test_what_tables_show_json_gives(vpnctl: Any) -> None:
    drift = json.loads(vpnctl("drift", "-o", "json").stdout)["drift"]
    assert [one["router"] for one in drift] == ["pe-c2a", "pe-c2b"]
    doctor = json.loads(vpnctl("doctor", "-o", "json").stdout)["doctor"]
    assert doctor[1]["checks"][0]["ok"] is False
    adoption = json.loads(vpnctl("adopt", "pe-c2a", "-o", "json").stdout)["adoption"]
    assert adoption["reserved"][0]["value"] == "7"


def test_a_change_draws_its_timeline(vpnctl: Any, tmp_path: Path) -> None:
    picture = tmp_path / "t.svg"
    result = vpnctl("extend", "E1", "--site", "cloud2", "--yes", "--timeline-svg", str(picture))
    assert result.exit_code == 0
    assert ElementTree.fromstring(picture.read_text()).tag.endswith("svg")
    again = tmp_path / "again.svg"
    assert vpnctl("history", "42", "--timeline-svg", str(again)).exit_code == 0
    assert again.read_text().count("<rect") == picture.read_text().count("<rect")


def test_a_picture_that_cannot_be_written_says_that_the_change_was_made(
    vpnctl: Any, tmp_path: Path
) -> None:
    where = tmp_path / "no" / "t.svg"
    result = vpnctl("extend", "E1", "--site", "cloud2", "--yes", "--timeline-svg", str(where))
    assert result.exit_code == 2
    assert "the change was made" in result.stderr


def test_a_picture_has_a_bar_for_each_step_whatever_its_name() -> None:
    steps = [Step("commit", 1.0, 4.0, "", "pe<1>"), Step("a & b", 0.0, 5.0, "\x00]]>")]
    root = ElementTree.fromstring(timeline_svg(steps, "<title>"))
    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "pe<1>  commit" in names
    assert "a & b" in names
    bars = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if len(rect)]
    assert len(bars) == len(steps)
