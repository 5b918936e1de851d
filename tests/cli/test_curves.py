"""Curves over time as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

from vpnctl.cli.graphs.curves import Band, Curves, Look, Mark, Panel, render

_SVG = "{http://www.w3.org/2000/svg}"
CURVES = Curves(
    "web1 <moves>",
    10.0,
    (
        Panel("answers", "ms", ((0.0, 5.0), (10.0, 10.0)), Look.DOTS),
        Panel("rate", "MB/s", ((0.0, 0.0), (5.0, 2.0)), Look.LINE),
        Panel("left", "MB", ((1.0, 3.0),), Look.BARS),
    ),
    (Band(4.0, 6.0, "it stands still"),),
    (Mark(4.0, "guest stopped"), Mark(6.0, "runs & answers")),
)


def test_panels_share_one_axis() -> None:
    root = ElementTree.fromstring(render(CURVES))
    dots = root.findall(f"{_SVG}circle")
    line = root.find(f"{_SVG}polyline")
    assert line is not None
    begin, middle = (point.split(",")[0] for point in line.attrib["points"].split())
    assert [dots[0].get("cx"), begin] == [begin, begin]
    halfway = (float(dots[0].attrib["cx"]) + float(dots[1].attrib["cx"])) / 2
    assert abs(float(middle) - halfway) < 0.2


def test_bands_and_marks_go_through_all_panels() -> None:
    root = ElementTree.fromstring(render(CURVES))
    bands = [one for one in root.findall(f"{_SVG}rect") if one.get("class") == "band"]
    marks = [one for one in root.findall(f"{_SVG}line") if one.get("class") == "mark"]
    assert len(bands) == len(CURVES.panels)
    assert {one.get("x") for one in bands} == {marks[0].get("x1")}
    said = {(text.text or "").strip() for text in root.findall(f"{_SVG}text")}
    assert {"web1 <moves>", "4.00 s  guest stopped", "6.00 s  runs & answers"} <= said


def test_nothing_to_show_is_a_picture_too() -> None:
    empty = Curves("nothing yet", 0.0, (Panel("answers", "ms", ()),))
    assert ElementTree.fromstring(render(empty)).tag == f"{_SVG}svg"
