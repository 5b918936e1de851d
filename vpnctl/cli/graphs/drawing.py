"""Boxes and arrows: who hears whom within and between VPNs, and which target becomes which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from vpnctl.controller.views import Endpoint, Vpn
from vpnctl.errors import NotFoundError


class Layout(Enum):
    """How a group's boxes are arranged."""

    RING = "ring"
    COLUMNS = "columns"


@dataclass(frozen=True, slots=True)
class Box:
    """A box; ``column`` counts from 0 and matters in `Layout.COLUMNS` only."""

    key: str
    title: str
    lines: tuple[str, ...] = ()
    column: int = 0


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another, by their keys; ``both`` ways; ``dashed`` across VPNs."""

    source: str
    target: str
    both: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A VPN's boxes."""

    name: str
    caption: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything to draw; ``headings`` are the names of the columns."""

    title: str
    layout: Layout
    groups: tuple[Group, ...]
    arrows: tuple[Arrow, ...]
    headings: tuple[str, ...] = ()


def choose(vpns: Sequence[Vpn], name: str | None) -> tuple[Vpn, ...]:
    """All of ``vpns``, or the one called ``name`` and those it shares an extranet with."""
    if name is None:
        return tuple(vpns)
    wanted = next((vpn for vpn in vpns if vpn.name == name), None)
    if wanted is None:
        raise NotFoundError(
            f"no VPN is called {name!r}",
            hint="there are: " + (", ".join(sorted(vpn.name for vpn in vpns)) or "none"),
        )
    return (wanted, *(vpn for vpn in vpns if vpn.name in wanted.extranets and vpn is not wanted))


def draw_vpns(vpns: Sequence[Vpn]) -> Drawing:
    """Which site hears which: an arrow goes the way that routes are announced."""
    groups = tuple(
        Group(vpn.name, f"{vpn.service}, {vpn.topology}", tuple(_site_boxes(vpn))) for vpn in vpns
    )
    drawn = {box.key for group in groups for box in group.boxes}
    heard = {
        (speaker, _member(endpoint))
        for vpn in vpns
        for endpoint in vpn.endpoints
        for speaker in _speakers(endpoint)
        if speaker in drawn
    }
    arrows = tuple(_joined(heard))
    across = " (dashed: extranet)" if any(arrow.dashed for arrow in arrows) else ""
    return Drawing(f"VPNs: who hears whom{across}", Layout.RING, groups, arrows)


def draw_targets(vpns: Sequence[Vpn]) -> Drawing:
    """Which export target is rewritten to which import targets."""
    members: dict[str, list[Endpoint]] = {}
    for vpn in vpns:
        for endpoint in vpn.endpoints:
            members.setdefault(_member(endpoint), []).append(endpoint)
    rewritten: dict[tuple[str, str], None] = {}
    arrows: dict[Arrow, None] = {}
    for hearers in members.values():
        for hearer in hearers:
            for speaker in _speakers(hearer):
                for source in members.get(speaker, ()):
                    for old in source.export_targets:
                        for new in hearer.import_targets:
                            rewritten[f"out:{old}", f"in:{new}"] = None
    groups = []
    for vpn in vpns:
        boxes: dict[str, Box] = {}
        for endpoint in vpn.endpoints:
            where = f"{endpoint.site}/{endpoint.pe}"
            said, taken = f"from:{vpn.name}/{where}", f"to:{vpn.name}/{where}"
            boxes[said] = Box(said, endpoint.site, (endpoint.pe,), 0)
            boxes[taken] = Box(taken, endpoint.site, (endpoint.pe,), 3)
            for target in endpoint.export_targets:
                boxes[f"out:{target}"] = Box(f"out:{target}", target, (), 1)
                arrows[Arrow(said, f"out:{target}")] = None
            for target in endpoint.import_targets:
                boxes[f"in:{target}"] = Box(f"in:{target}", target, (), 2)
                arrows[Arrow(f"in:{target}", taken)] = None
        groups.append(Group(vpn.name, f"{vpn.service}, {vpn.topology}", tuple(boxes.values())))
    home = {box.key: group.name for group in groups for box in group.boxes}
    for old, new in rewritten:
        arrows[Arrow(old, new, dashed=home[old] != home[new])] = None
    return Drawing(
        "Route targets: what is rewritten to what",
        Layout.COLUMNS,
        tuple(groups),
        tuple(arrows),
        ("announced by", "export target", "import target", "taken in by"),
    )


def _member(endpoint: Endpoint) -> str:
    return f"{endpoint.vpn}/{endpoint.site}"


def _speakers(endpoint: Endpoint) -> Iterable[str]:
    """``hears`` with the VPN's name where it is left out because it is the endpoint's own."""
    for heard in endpoint.hears:
        yield heard if "/" in heard else f"{endpoint.vpn}/{heard}"


def _site_boxes(vpn: Vpn) -> Iterable[Box]:
    for site in vpn.sites:
        endpoints = [endpoint for endpoint in vpn.endpoints if endpoint.site == site]
        pes = ", ".join(endpoint.pe for endpoint in endpoints)
        numbers = dict.fromkeys(
            f"{name} {number}"
            for endpoint in endpoints
            for name, number in (("VLAN", endpoint.tags), ("VNI", endpoint.vni))
            if number is not None
        )
        yield Box(f"{vpn.name}/{site}", site, (pes, *([", ".join(numbers)] if numbers else [])))


def _joined(heard: set[tuple[str, str]]) -> Iterable[Arrow]:
    """One arrow for each pair, with two heads where both hear each other."""
    for speaker, hearer in sorted(heard):
        both = (hearer, speaker) in heard
        if both and speaker > hearer:
            continue
        dashed = speaker.partition("/")[0] != hearer.partition("/")[0]
        yield Arrow(speaker, hearer, both, dashed)
