"""What surrounds netem, on kernels without it too: other disciplines stand in for it.

A wide ``tbf`` has room for a discipline inside, as netem has, and ``blackhole`` loses all; neither
delays, which `test_link` alone can show, where the kernel has netem.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.frames import Port
from tests.support.namespaces import devices, namespaces, require_root
from vpnctl.errors import LabError
from vpnctl.lab.wan import netem
from vpnctl.lab.wan.devices import LinkEnd, Spot
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.link import Method, WanLink, attach, create

pytestmark = pytest.mark.daemon


@dataclass
class Asked:
    """What netem was asked for, at each end in turn."""

    figures: list[WanFigures] = field(default_factory=list)

    def stand_in(self, netlink: Any, index: int, spot: Spot, figures: WanFigures) -> None:
        self.figures.append(figures)
        if figures.loss == 1:
            netlink.tc("replace", "blackhole", index, spot.handle, parent=spot.parent)
        else:
            netlink.tc(
                "replace", "tbf", index, spot.handle, parent=spot.parent,
                rate=1_000_000_000, burst=1_000_000, limit=1_000_000,
            )  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    require_root()
    found = Asked()
    monkeypatch.setattr(netem, "_replace", found.stand_in)
    return found


@pytest.fixture
def ends() -> Iterator[tuple[LinkEnd, LinkEnd]]:
    with namespaces(2) as (one, two):
        yield LinkEnd(one, "eth1"), LinkEnd(two, "wan")


@pytest.fixture
def link(asked: Asked, ends: tuple[LinkEnd, LinkEnd], tmp_path: Path) -> Iterator[WanLink]:
    assert asked.figures == []
    made = create(tmp_path, ends, WanFigures(rate=465_000_000), by=Method.NETEM)
    yield made
    made.remove()


def disciplines(end: LinkEnd) -> list[tuple[str, str]]:
    """Kind and handle of what hangs at an interface, outer ones first."""
    done = subprocess.run(
        ["ip", "netns", "exec", end.namespace, "tc", "qdisc", "show", "dev", end.interface],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = [line.split() for line in done.stdout.splitlines()]
    return [(line[1], line[2]) for line in words if line[2] != "0:"]


def test_the_rate_is_inside(link: WanLink, asked: Asked, ends: tuple[LinkEnd, LinkEnd]) -> None:
    for end in ends:
        assert disciplines(end) == [("tbf", "1:"), ("tbf", "10:")]
    link.change(WanFigures(delay=0.01))
    for end in ends:
        assert disciplines(end) == [("tbf", "1:")]
    assert asked.figures == [WanFigures(rate=465_000_000)] * 2 + [WanFigures(delay=0.01)] * 2


def test_a_cut_takes_the_place_of_it_all(
    link: WanLink, ends: tuple[LinkEnd, LinkEnd], tmp_path: Path
) -> None:
    with Port(ends[0].namespace, "eth1") as here, Port(ends[1].namespace, "wan") as there:
        here.send(b"before")
        assert there.until(b"before") == [b"before"]
        attach(tmp_path).cut()
        assert link.status().is_cut
        assert disciplines(ends[0]) == [("blackhole", "2:")]
        here.send(b"lost")
        link.change(WanFigures(rate=100_000_000))
        assert disciplines(ends[0]) == [("blackhole", "2:")]
        attach(tmp_path).heal()
        assert disciplines(ends[0]) == [("tbf", "1:"), ("tbf", "10:")]
        here.send(b"after")
        assert there.until(b"after") == [b"after"]
        status = link.status()
        assert (status.is_cut, status.figures) == (False, WanFigures(rate=100_000_000))
        assert status.directions[0].forwarded >= 2


def test_the_pair_goes(link: WanLink, ends: tuple[LinkEnd, LinkEnd], tmp_path: Path) -> None:
    assert [devices(end.namespace) for end in ends] == [{"eth1"}, {"wan"}]
    assert (link.pid, link.status().method) == (None, Method.NETEM)
    link.remove()
    link.remove()
    assert [devices(end.namespace) for end in ends] == [set(), set()]
    with pytest.raises(LabError, match=r"netem.json cannot be read"):
        attach(tmp_path).status()


def test_a_name_that_is_taken_is_left_alone(
    link: WanLink, ends: tuple[LinkEnd, LinkEnd], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(LabError, match="File exists"):
        create(other, ends, WanFigures(), by=Method.NETEM)
    assert link.status().figures == WanFigures(rate=465_000_000)
