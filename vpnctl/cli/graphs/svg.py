"""A drawing as SVG, laid out here: no other program is needed, and the same input looks the same.

In `Layout.RING` every group is a panel with its boxes on an ellipse, the one box that has a part
in every arrow of the group (a hub) in the middle; where arrows run between groups, the panels
stand below each other and those arrows bow out to the right.  In `Layout.COLUMNS` every group is
a band and its boxes stand in columns.  Colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from vpnctl.cli.graphs.drawing import Arrow, Box, Drawing, Group, Layout

_TITLE_CHAR, _LINE_CHAR = 8.2, 6.8
_PAD, _GAP, _MARGIN = 12.0, 28.0, 24.0
_TITLE_HEIGHT, _LINE_HEIGHT, _HEADER = 20.0, 15.0, 46.0
_TOP = 56.0
_COLUMN_GAP = 110.0
_PANELS_PER_ROW = 3

_STYLE = """
    text { font-family: system-ui, "DejaVu Sans", sans-serif; fill: #1c2733; }
    .title { font-size: 18px; font-weight: 600; }
    .group { font-size: 15px; font-weight: 600; }
    .caption, .heading { font-size: 12px; fill: #5a6b7d; }
    .box-title { font-size: 13px; font-weight: 600; text-anchor: middle; }
    .box-line { font-size: 11px; fill: #46566a; text-anchor: middle; }
    .paper { fill: #ffffff; }
    .panel { fill: #f4f7fa; stroke: #d3dce6; }
    .box { fill: #ffffff; stroke: #3d7ab8; stroke-width: 1.5; }
    .arrow { stroke: #64788c; stroke-width: 1.5; fill: none; }
    .across { stroke: #b3651b; stroke-dasharray: 6 4; }
    .head { fill: #64788c; } .across-head { fill: #b3651b; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .caption, .heading, .box-line { fill: #9fb0c0; }
      .paper { fill: #0d1117; }
      .panel { fill: #151c25; stroke: #2f3b49; }
      .box { fill: #1d2733; stroke: #6aa5de; }
      .arrow { stroke: #93a7ba; } .head { fill: #93a7ba; }
      .across { stroke: #e09a55; } .across-head { fill: #e09a55; }
    }
"""


@dataclass(frozen=True, slots=True)
class _Rect:
    """A box or panel; ``x`` and ``y`` are its upper left corner, all in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def moved(self, dx: float, dy: float) -> _Rect:
        return _Rect(self.x + dx, self.y + dy, self.width, self.height)

    def edge_towards(self, point: tuple[float, float]) -> tuple[float, float]:
        """Where the line from the centre to ``point`` leaves the rectangle."""
        (cx, cy), (px, py) = self.centre, point
        dx, dy = px - cx, py - cy
        if not dx and not dy:
            return cx, cy
        scale = min(
            self.width / 2 / abs(dx) if dx else math.inf,
            self.height / 2 / abs(dy) if dy else math.inf,
        )
        return cx + dx * scale, cy + dy * scale


@dataclass(frozen=True, slots=True)
class _Panel:
    """A group laid out: its own rectangle and its boxes', by key."""

    group: Group
    rect: _Rect
    boxes: dict[str, _Rect]

    def moved(self, dx: float, dy: float) -> _Panel:
        moved = {key: rect.moved(dx, dy) for key, rect in self.boxes.items()}
        return _Panel(self.group, self.rect.moved(dx, dy), moved)


def render(drawing: Drawing) -> str:
    """``drawing`` as an SVG document."""
    columns = drawing.layout is Layout.COLUMNS
    panels = _bands(drawing) if columns else _rings(drawing)
    width = max([panel.rect.x + panel.rect.width for panel in panels], default=300.0) + _MARGIN
    height = max([panel.rect.y + panel.rect.height for panel in panels], default=_TOP) + _MARGIN
    width = max(width, _MARGIN * 2 + len(drawing.title) * 11)
    places = {key: rect for panel in panels for key, rect in panel.boxes.items()}
    if not columns:
        width = max([width, *(reach + _MARGIN for reach in _reaches(drawing, places))])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' width="{width:.0f}" height="{height:.0f}" role="img">',
        f"  <title>{escape(drawing.title)}</title>",
        f"  <style>{_STYLE}  </style>",
        "  <defs>",
        _marker("head", "head"),
        _marker("across-head", "across-head"),
        "  </defs>",
        f'  <rect class="paper" width="{width:.0f}" height="{height:.0f}"/>',
        _text("title", _MARGIN, 36, drawing.title),
    ]
    for panel in panels:
        parts += _panel(panel)
    if columns and panels:
        parts += _headings(drawing, panels[0])
    parts += [
        _arrow(arrow, places[arrow.source], places[arrow.target], columns)
        for arrow in drawing.arrows
    ]
    for panel in panels:
        for box in panel.group.boxes:
            parts += _box(box, panel.boxes[box.key])
    return "\n".join([*parts, "</svg>"]) + "\n"


# Layout


def _size(box: Box) -> tuple[float, float]:
    widest = max([len(box.title) * _TITLE_CHAR, *(len(line) * _LINE_CHAR for line in box.lines)])
    return widest + 2 * _PAD, _TITLE_HEIGHT + len(box.lines) * _LINE_HEIGHT + _PAD


def _rings(drawing: Drawing) -> list[_Panel]:
    """Panels in rows, each row as high as its highest panel."""
    stacked = any(arrow.dashed for arrow in drawing.arrows)
    laid = [_ring(group, drawing.arrows, stacked) for group in drawing.groups]
    panels: list[_Panel] = []
    y = _TOP
    per_row = 1 if stacked else _PANELS_PER_ROW
    for first in range(0, len(laid), per_row):
        x = _MARGIN
        row = laid[first : first + per_row]
        for panel in row:
            panels.append(panel.moved(x, y))
            x += panel.rect.width + _GAP
        y += max(panel.rect.height for panel in row) + _GAP
    return panels


def _bow(source: _Rect, target: _Rect) -> float:
    """Where the control points of an arrow between panels lie, in pixels from the left."""
    distance = abs(source.centre[1] - target.centre[1])
    return max(source.x + source.width, target.x + target.width) + 40 + 0.35 * distance


def _reaches(drawing: Drawing, places: dict[str, _Rect]) -> Iterable[float]:
    """How far to the right the arrows between panels may come: a cubic stays 3/4 of the way."""
    for arrow in drawing.arrows:
        if arrow.dashed:
            source, target = places[arrow.source], places[arrow.target]
            edge = max(source.x + source.width, target.x + target.width)
            yield edge + 0.75 * (_bow(source, target) - edge)


def _ring(group: Group, arrows: Iterable[Arrow], stacked: bool) -> _Panel:
    """``stacked``: keep the right of a box free, where arrows to other panels leave."""
    sizes = {box.key: _size(box) for box in group.boxes}
    own = [arrow for arrow in arrows if arrow.source in sizes and arrow.target in sizes]
    hub = _hub(group, own)
    around = [box.key for box in group.boxes if box.key != hub]
    width = max(size[0] for size in sizes.values())
    height = max(size[1] for size in sizes.values())
    # Wide enough that neighbours on the ellipse do not touch.
    rx = max(width * 0.8, len(around) * (width + _GAP) / 5.2) if len(around) > 1 else 0.0
    ry = max(height * 1.5, len(around) * (height + _GAP) / 4.4) if len(around) > 2 else 0.0
    if hub is not None:
        rx, ry = max(rx, width + _GAP), max(ry, height * 1.8)
    centres: dict[str, tuple[float, float]] = {}
    start = math.pi if len(around) <= 2 and hub is None and not stacked else -math.pi / 2
    if stacked and len(around) == 2:
        ry = (height + 1.5 * _GAP) / 2
    for number, key in enumerate(around):
        angle = start + 2 * math.pi * number / len(around)
        centres[key] = rx * math.cos(angle), ry * math.sin(angle)
    if hub is not None:
        centres[hub] = 0.0, 0.0
    rects = {
        key: _Rect(x - sizes[key][0] / 2, y - sizes[key][1] / 2, *sizes[key])
        for key, (x, y) in centres.items()
    }
    return _framed(group, rects)


def _hub(group: Group, arrows: Sequence[Arrow]) -> str | None:
    if len(group.boxes) < 4:
        return None
    for box in group.boxes:
        if arrows and all(box.key in (arrow.source, arrow.target) for arrow in arrows):
            return box.key
    return None


def _framed(group: Group, rects: dict[str, _Rect]) -> _Panel:
    """A panel around ``rects`` with room for its name, its corner at the origin."""
    left = min(rect.x for rect in rects.values())
    top = min(rect.y for rect in rects.values())
    right = max(rect.x + rect.width for rect in rects.values())
    bottom = max(rect.y + rect.height for rect in rects.values())
    named = max(len(group.name) * 9.5, len(group.caption) * 7.0)
    width = max(right - left, named) + 2 * _PAD
    dx = (width - (right - left)) / 2 - left
    frame = _Rect(0, 0, width, bottom - top + _HEADER + _PAD)
    moved = {key: rect.moved(dx, _HEADER - top) for key, rect in rects.items()}
    return _Panel(group, frame, moved)


def _bands(drawing: Drawing) -> list[_Panel]:
    """One band below the other, their columns aligned."""
    columns = len(drawing.headings)
    widths = [
        max(
            [len(heading) * 7.0]
            + [
                _size(box)[0]
                for group in drawing.groups
                for box in group.boxes
                if box.column == column
            ]
        )
        for column, heading in enumerate(drawing.headings)
    ]
    lefts = [_PAD + sum(widths[:column]) + _COLUMN_GAP * column for column in range(columns)]
    total = lefts[-1] + widths[-1] + _PAD
    panels: list[_Panel] = []
    y = _TOP + 20
    for group in drawing.groups:
        stacks = [[box for box in group.boxes if box.column == column] for column in range(columns)]
        heights = [sum(_size(box)[1] + _PAD for box in stack) for stack in stacks]
        inner = max(heights)
        rects: dict[str, _Rect] = {}
        for column, stack in enumerate(stacks):
            gap = (inner - heights[column]) / max(1, len(stack))
            top = _HEADER + gap / 2
            for box in stack:
                height = _size(box)[1]
                rects[box.key] = _Rect(lefts[column], top, widths[column], height)
                top += height + _PAD + gap
        panel = _Panel(group, _Rect(0, 0, total, inner + _HEADER), rects)
        panels.append(panel.moved(_MARGIN, y))
        y += panel.rect.height + _GAP
    return panels


# Writing


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'  <text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _rectangle(kind: str, rect: _Rect, radius: int) -> str:
    return (
        f'  <rect class="{kind}" x="{rect.x:.1f}" y="{rect.y:.1f}" width="{rect.width:.1f}"'
        f' height="{rect.height:.1f}" rx="{radius}"/>'
    )


def _panel(panel: _Panel) -> list[str]:
    x, y = panel.rect.x + _PAD, panel.rect.y
    return [
        _rectangle("panel", panel.rect, 10),
        _text("group", x, y + 21, panel.group.name),
        _text("caption", x, y + 37, panel.group.caption),
    ]


def _headings(drawing: Drawing, panel: _Panel) -> list[str]:
    first = {box.column: panel.boxes[box.key].x for box in reversed(panel.group.boxes)}
    return [
        _text("heading", first[column], _TOP + 10, heading)
        for column, heading in enumerate(drawing.headings)
        if column in first
    ]


def _box(box: Box, rect: _Rect) -> list[str]:
    x = rect.centre[0]
    y = rect.y + _PAD / 2 + 15
    return [
        _rectangle("box", rect, 6),
        _text("box-title", x, y, box.title),
        *(
            _text("box-line", x, y + _LINE_HEIGHT * number, line)
            for number, line in enumerate(box.lines, 1)
        ),
    ]


def _arrow(arrow: Arrow, source: _Rect, target: _Rect, columns: bool) -> str:
    head = "across-head" if arrow.dashed else "head"
    start = f' marker-start="url(#{head})"' if arrow.both else ""
    kind = "arrow across" if arrow.dashed else "arrow"
    if columns:
        (x1, y1), (x2, y2) = source.centre, target.centre
        x1, x2 = x1 + source.width / 2, x2 - target.width / 2
        middle = (x1 + x2) / 2
        path = f"M{x1:.1f} {y1:.1f} C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    elif arrow.dashed:
        (_, y1), (_, y2) = source.centre, target.centre
        x1, x2, bow = source.x + source.width, target.x + target.width, _bow(source, target)
        path = f"M{x1:.1f} {y1:.1f} C{bow:.1f} {y1:.1f} {bow:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    else:
        (x1, y1), (x2, y2) = source.edge_towards(target.centre), target.edge_towards(source.centre)
        path = f"M{x1:.1f} {y1:.1f} L{x2:.1f} {y2:.1f}"
    return f'  <path class="{kind}" d="{path}"{start} marker-end="url(#{head})"/>'


def _marker(key: str, kind: str) -> str:
    return (
        f'    <marker id="{key}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
        f' markerHeight="7" orient="auto-start-reverse"><path class="{kind}"'
        ' d="M0 0 L10 5 L0 10 z"/></marker>'
    )
