"""An operator's own template that does not end, or is never full, harms itself alone."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.provisioning.rendering.network import intent, profiles
from vpnctl.errors import RenderError
from vpnctl.provisioning import confined
from vpnctl.provisioning.confined import fill_confined
from vpnctl.provisioning.profile import Platform
from vpnctl.provisioning.profile_files import read_profiles
from vpnctl.provisioning.rendering import render
from vpnctl.provisioning.templates import TemplateMistakeError, fill

_LOOP = "{% for n in range(9999) %}"
FOR_EVER = 3 * _LOOP + 3 * "{% endfor %}"
#: Twice as much, forty times.
DOUBLING = (
    "{% set here = namespace(all='x') %}\n"
    "{% for n in range(40) %}{% set here.all = here.all ~ here.all %}{% endfor %}"
)


def own(template: str) -> Platform:
    """FRR's platform with one template of an operator's."""
    shipped = profiles().platforms["frr-evpn"]
    profile = shipped.profile.model_copy(update={"templates": ("t.j2",)})
    return Platform("mine", profile, {"t.j2": template}, own=True)


def test_what_it_makes_is_the_same_as_without() -> None:
    for name, router in (("junos-mx", "mx"), ("frr-evpn", "frr")):
        platform = profiles().platforms[name]
        assert fill_confined(intent(router), platform) == fill(intent(router), platform)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (f"a\n{FOR_EVER}", "mine/t.j2:2: it takes more than 3 s to be filled in"),
        (f"a\n{DOUBLING}", "mine/t.j2:3: it takes more memory than it may have"),
        ("a\n{{ 'a' | center(100000000000) }}", "mine/t.j2:2: it takes more memory"),
        (_LOOP + 3000 * "x" + "{% endfor %}", "mine: the templates make"),
        ("a\n{{ router.nmae }}", "mine/t.j2:2: .*nmae"),
    ],
)
def test_one_that_takes_too_much_is_told_by_file_and_line(template: str, message: str) -> None:
    with pytest.raises(TemplateMistakeError, match=message):
        fill_confined(intent("frr"), own(template))
    assert fill_confined(intent("frr"), own("all is well")) == "all is well"


def test_the_most_that_may_be_made_can_be_made() -> None:
    wide = "\U0001f600"  # so that each character takes four octets while it is made
    made = fill_confined(intent("frr"), own(wide + _LOOP + 1600 * "x" + "{% endfor %}"))
    assert made == wide + 9999 * 1600 * "x"


def test_a_process_that_dies_is_started_again() -> None:
    assert fill_confined(intent("frr"), own("one")) == "one"
    child = confined._process._child
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert fill_confined(intent("frr"), own("two")) == "two"


def test_one_that_cannot_be_interrupted_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "WALL_S", 0.1)
    with pytest.raises(TemplateMistakeError, match=r"mine: the templates are not filled in after"):
        fill_confined(intent("frr"), own(FOR_EVER + "longer"))
    monkeypatch.undo()
    assert fill_confined(intent("frr"), own("three")) == "three"


def test_a_folder_of_an_operators_is_confined_and_its_mistake_one_of_the_policy(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    profile = "format: frr\nfamilies: [evpn]\ntemplates: [t.j2]\n"
    (folder / "profile.yaml").write_text(profile)
    (folder / "t.j2").write_text(FOR_EVER)
    router = replace(intent("frr"), platform="mine", attachments=())
    with pytest.raises(RenderError) as caught:
        render(router, None, read_profiles(tmp_path))
    assert "mine/t.j2:1: it takes more than 3 s" in str(caught.value.mistakes[0])
