"""A real guest moves to another cloud and back with its TCP connections open."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from lab.moving.stage import ADDRESS, HOSTS, MIB, WEB1, Clouds, clouds, disk_content, octets
from tests.scenarios.figures import Figures
from tests.support.daemons import wait_until
from tests.support.guest_image import MissingError
from tests.support.lab import require_lab
from tests.support.visitor import Visitor
from tests.support.visitor_program import TICK
from vpnctl.migration.agent.messages import MigrationView

pytestmark = pytest.mark.daemon

DISK, MAC = "web1.img", "52:54:00:00:00:02"
PES = {"cloud1": "10.0.0.3", "cloud2": "10.0.0.4"}


@pytest.fixture
def stage() -> Iterator[Clouds]:
    require_lab()
    try:
        with clouds() as found:
            yield found
    except MissingError as missing:
        pytest.skip(str(missing))


def test_a_machine_moves_there_and_back(stage: Clouds, figures: Figures) -> None:
    stage.make_disk("cloud1", DISK, disk_content(16 * MIB), 32 * MIB)
    stage.start(WEB1, "cloud1")
    assert "cloud2" not in _sites(stage)
    with stage.visiting(ADDRESS) as visitor:
        visitor.wait_written(20)
        first = _move(stage, visitor, figures, "cloud1", "cloud2")
        assert "cloud2" in _sites(stage)
        assert "E1 reaches cloud2" in [mark.what for mark in first.timeline]
        back = _move(stage, visitor, figures, "cloud2", "cloud1")
        assert octets(back) < octets(first)


def _move(
    stage: Clouds, visitor: Visitor, figures: Figures, here: str, there: str
) -> MigrationView:
    begun = visitor.goes_on(time.time())
    (end,) = stage.migrate(WEB1, "--to", there)
    ended = visitor.goes_on(time.time())
    visitor.wait_written(20)
    assert end.phase == "done"
    assert not visitor.doubles()
    stage.check_disks(DISK, there, here, visitor.written())
    _wait_for_route(stage, PES[there])
    left = stage.lab.shell(HOSTS[here]).run(("ip", "-json", "link", "show", "master", "br-e1"))
    assert {device["ifname"] for device in json.loads(left.stdout)} == {"eth1"}
    assert end.stopped_at is not None
    assert end.resumed_at is not None
    way = f"machine moves from {here} to {there}"
    figures.add(f"{way}: stands still", end.resumed_at - end.stopped_at)
    gap = visitor.longest_gap(TICK, begun, ended)
    figures.add(f"{way}: longest gap of its TCP connection", gap, at_most=0.6)
    return end


def _wait_for_route(stage: Clouds, pe: str) -> None:
    """Until the head office's PE forwards the machine's MAC to this PE."""

    def forwards() -> set[str]:
        shown = stage.lab.shell("pe-e1").run(("bridge", "-json", "fdb", "show"))
        return {
            one["dst"] for one in json.loads(shown.stdout) if one["mac"] == MAC and "dst" in one
        }

    wait_until(lambda: forwards() == {pe}, f"pe-e1 to forward {MAC} to {pe}")


def _sites(stage: Clouds) -> str:
    """What the policy says of E1."""
    return (stage.directory / "migrate" / "policies" / "e1.yaml").read_text().partition("sites:")[2]
