"""Drawings: what is in them, and that each way of writing them down is well formed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from vpnctl.cli.graphs import dot, mermaid, svg
from vpnctl.cli.graphs.drawing import Arrow, Drawing, choose, draw_targets, draw_vpns
from vpnctl.controller.views import Endpoint, Vpn
from vpnctl.errors import NotFoundError

SVG = "{http://www.w3.org/2000/svg}"


def endpoint(vpn: str, site: str, number: int, *hears: str) -> Endpoint:
    target = (f"65000:{number}",)
    pe = f"pe-{number}"
    return Endpoint(vpn, site, pe, "65000:1", target, target, None, 100, None, hears, "f:1")


def vpn(name: str, *endpoints: Endpoint, extranets: tuple[str, ...] = ()) -> Vpn:
    sites = tuple(one.site for one in endpoints)
    return Vpn(name, "l3vpn", "links", sites, extranets, endpoints, "f:1")


VPNS = (
    vpn("A", endpoint("A", "hq", 1, "s1", "B/dns"), endpoint("A", "s1", 2, "hq"), extranets=("B",)),
    vpn("B", endpoint("B", "dns", 3)),
    vpn("C", endpoint("C", 'x"<&>', 4)),
)
STAR = (
    vpn(
        "S",
        endpoint("S", "hub", 1, "s1", "s2", "s3"),
        *(endpoint("S", f"s{number}", 10 + number, "hub") for number in (1, 2, 3)),
    ),
)


def test_arrows_go_the_way_routes_are_announced() -> None:
    assert set(draw_vpns(VPNS).arrows) == {
        Arrow("A/hq", "A/s1", both=True),
        Arrow("B/dns", "A/hq", dashed=True),
    }


def test_targets_show_what_is_rewritten_to_what() -> None:
    rewritten = {
        (arrow.source, arrow.target, arrow.dashed)
        for arrow in draw_targets(VPNS).arrows
        if arrow.source.startswith("out:")
    }
    assert rewritten == {
        ("out:65000:1", "in:65000:2", False),
        ("out:65000:2", "in:65000:1", False),
        ("out:65000:3", "in:65000:1", True),
    }


def test_one_vpn_comes_with_those_it_shares_an_extranet_with() -> None:
    assert [one.name for one in choose(VPNS, "A")] == ["A", "B"]
    assert [one.name for one in choose(VPNS, None)] == ["A", "B", "C"]
    with pytest.raises(NotFoundError, match="'D'") as caught:
        choose(VPNS, "D")
    assert "A, B, C" in caught.value.hint


@pytest.mark.parametrize(
    "drawing", [draw_vpns(VPNS), draw_targets(VPNS), draw_vpns(STAR), draw_vpns(())]
)
def test_svg_is_well_formed_and_no_two_boxes_overlap(drawing: Drawing) -> None:
    root = ElementTree.fromstring(svg.render(drawing))
    boxes = [one for one in root.iter(f"{SVG}rect") if one.get("class") == "box"]
    assert len(boxes) == sum(len(group.boxes) for group in drawing.groups)
    arrows = [one for one in root.iter(f"{SVG}path") if "arrow" in (one.get("class") or "")]
    assert len(arrows) == len(drawing.arrows)
    rects = [
        tuple(float(box.get(key, 0)) for key in ("x", "y", "width", "height")) for box in boxes
    ]
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for number, (x, y, w, h) in enumerate(rects):
        assert 0 <= x <= width - w
        assert 0 <= y <= height - h
        for ox, oy, ow, oh in rects[:number]:
            assert x >= ox + ow or ox >= x + w or y >= oy + oh or oy >= y + h


@pytest.mark.parametrize("sites", [1, 2, 3, 5, 12, 40])
def test_full_meshes_of_any_size_fit(sites: int) -> None:
    names = [f"site-{number}" for number in range(sites)]
    mesh = vpn(
        "M",
        *(
            endpoint("M", name, number, *(other for other in names if other != name))
            for number, name in enumerate(names)
        ),
    )
    drawing = draw_vpns([mesh])
    assert len(drawing.arrows) == sites * (sites - 1) // 2
    test_svg_is_well_formed_and_no_two_boxes_overlap(drawing)


def test_the_hub_stands_in_the_middle() -> None:
    root = ElementTree.fromstring(svg.render(draw_vpns(STAR)))
    centre = {
        text.text: (float(text.get("x", 0)), float(text.get("y", 0)))
        for text in root.iter(f"{SVG}text")
        if text.get("class") == "box-title"
    }
    spokes = [centre[name] for name in ("s1", "s2", "s3")]
    assert min(y for _, y in spokes) < centre["hub"][1] < max(y for _, y in spokes)
    assert min(x for x, _ in spokes) < centre["hub"][0] < max(x for x, _ in spokes)


def test_svg_follows_the_readers_scheme() -> None:
    assert "prefers-color-scheme: dark" in svg.render(draw_vpns(VPNS))


def test_mermaid() -> None:
    text = mermaid.render(draw_vpns(VPNS))
    assert text.startswith("flowchart TB\n")
    assert "n0 <--> n1" in text
    assert "n2 -.-> n0" in text
    assert 'n3["x#quot;#lt;#amp;><br/>pe-4<br/>VLAN 100"]' in text
    assert mermaid.render(draw_targets(VPNS)).startswith("flowchart LR\n")


def test_dot() -> None:
    text = dot.render(draw_vpns(VPNS))
    assert '"A/hq" -> "A/s1" [dir=both];' in text
    assert '"B/dns" -> "A/hq" [style=dashed];' in text
    assert '"C/x\\"<&>" [label="x\\"<&>\\npe-4\\nVLAN 100"];' in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("kind", "start"), [("svg", "<svg "), ("mermaid", "flowchart "), ("dot", "digraph ")]
)
def test_the_command_asks_the_controller(vpnctl: Any, kind: str, start: str) -> None:
    for subject in ("vpn", "targets"):
        result = vpnctl("graph", subject, "E1", "--format", kind)
        assert result.exit_code == 0
        assert result.stdout.startswith(start)
        assert "E2" not in result.stdout
    assert vpnctl("graph", "vpn", "E9").exit_code == 4


def test_the_command_reads_files_without_a_controller(vpnctl: Any, tmp_path: Path) -> None:
    vpnctl("init", str(tmp_path / "p"))
    out = tmp_path / "e1.svg"
    result = vpnctl("graph", "vpn", "E1", "--policies", str(tmp_path / "p"), "--out", str(out))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"wrote {out}\n")
    titles = re.findall(r'class="box-title"[^>]*>([^<]*)<', out.read_text())
    assert titles == ["e1-hq", "cloud1"]
    missing = ("graph", "vpn", "--policies", str(tmp_path / "p"), "--out", str(tmp_path / "no/x"))
    assert vpnctl(*missing).exit_code == 2
