"""Curves over one axis of time as SVG: panels below each other, with bands and marks through all.

The same input looks the same, no other program is needed, and colours follow the reader's light or
dark scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.sax.saxutils import escape

_LEFT, _RIGHT, _TOP, _GAP, _FOOT = 84.0, 24.0, 58.0, 34.0, 30.0
_WIDTH, _PANEL = 760.0, 120.0
_TICKS, _LEVELS = 8, 3
_MARK_ROW = 15.0
_STYLE = """
    text { font-family: system-ui, "DejaVu Sans", sans-serif; font-size: 11px; fill: #46566a; }
    .title { font-size: 17px; font-weight: 600; fill: #1c2733; }
    .panel-title { font-size: 12px; font-weight: 600; fill: #1c2733; }
    .level { text-anchor: end; } .tick { text-anchor: middle; }
    .paper { fill: #ffffff; } .panel { fill: #f4f7fa; stroke: #d3dce6; }
    .grid { stroke: #d3dce6; } .band { fill: #f2c9a1; opacity: 0.55; }
    .mark { stroke: #b3651b; stroke-dasharray: 3 3; }
    .line { stroke: #2f6fb0; stroke-width: 1.4; fill: none; } .dot { fill: #2f6fb0; }
    .bar { fill: #7aa9d6; }
    @media (prefers-color-scheme: dark) {
      text { fill: #9fb0c0; } .title, .panel-title { fill: #e6edf3; }
      .paper { fill: #0d1117; } .panel { fill: #151c25; stroke: #2f3b49; }
      .grid { stroke: #2f3b49; } .band { fill: #7a4a1c; } .mark { stroke: #e09a55; }
      .line { stroke: #6aa5de; } .dot { fill: #6aa5de; } .bar { fill: #3f6d99; }
    }
"""


class Look(StrEnum):
    """How a panel shows its points."""

    LINE = "line"
    DOTS = "dots"
    BARS = "bars"


@dataclass(frozen=True, slots=True)
class Panel:
    """``points``: seconds on the common axis, and a figure in ``unit``, not below zero."""

    title: str
    unit: str
    points: tuple[tuple[float, float], ...]
    look: Look = Look.LINE


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time through all panels, in seconds."""

    begin: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment through all panels, in seconds."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Curves:
    """``seconds``: the axis goes from zero to here."""

    title: str
    seconds: float
    panels: tuple[Panel, ...]
    bands: tuple[Band, ...] = ()
    marks: tuple[Mark, ...] = ()


def render(curves: Curves) -> str:
    """``curves`` as an SVG document."""
    across = _WIDTH - _LEFT - _RIGHT
    seconds = curves.seconds or 1.0
    bottom = _TOP + len(curves.panels) * (_PANEL + _GAP) - _GAP
    height = bottom + _FOOT + _MARK_ROW * len(curves.marks)

    def x(at: float) -> float:
        return _LEFT + across * min(max(at / seconds, 0.0), 1.0)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}"'
        f' width="{_WIDTH:.0f}" height="{height:.0f}" role="img">',
        f"  <title>{escape(curves.title)}</title>",
        f"  <style>{_STYLE}  </style>",
        f'  <rect class="paper" width="{_WIDTH:.0f}" height="{height:.0f}"/>',
        _text("title", _LEFT, 30, curves.title),
    ]
    tops = [_TOP + number * (_PANEL + _GAP) for number in range(len(curves.panels))]
    for panel, top in zip(curves.panels, tops, strict=True):
        parts += _frame(panel, top)
    for band in curves.bands:
        width = max(x(band.end) - x(band.begin), 1.0)
        for top in tops:
            parts.append(
                f'  <rect class="band" x="{x(band.begin):.1f}" y="{top:.1f}" width="{width:.1f}"'
                f' height="{_PANEL:.1f}"><title>{escape(band.label)}</title></rect>'
            )
    for panel, top in zip(curves.panels, tops, strict=True):
        parts += _points(panel, [(x(at), figure) for at, figure in panel.points], top)
    for number, mark in enumerate(curves.marks):
        # Labels stand below each other, as moments may be close.
        below = bottom + _FOOT + _MARK_ROW * number
        place = x(mark.at)
        parts.append(
            f'  <line class="mark" x1="{place:.1f}" y1="{_TOP}" x2="{place:.1f}" y2="{below:.1f}"/>'
        )
        late = place > _WIDTH / 2
        anchor = ' text-anchor="end"' if late else ""
        parts.append(
            f'  <text x="{place + (-4 if late else 4):.1f}" y="{below:.1f}"{anchor}>'
            f"{mark.at:.2f} s  {escape(mark.label)}</text>"
        )
    for tick in range(_TICKS + 1):
        at = seconds * tick / _TICKS
        parts.append(_text("tick", x(at), bottom + 14, f"{at:.1f} s"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _frame(panel: Panel, top: float) -> list[str]:
    highest = _highest(panel)
    parts = [
        _text("panel-title", _LEFT, top - 7, f"{panel.title} ({panel.unit})"),
        f'  <rect class="panel" x="{_LEFT}" y="{top}" width="{_WIDTH - _LEFT - _RIGHT}"'
        f' height="{_PANEL}"/>',
    ]
    for level in range(_LEVELS + 1):
        y = top + _PANEL * (1 - level / _LEVELS)
        parts += [
            f'  <line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>',
            _text("level", _LEFT - 6, y + 4, _number(highest * level / _LEVELS)),
        ]
    return parts


def _points(panel: Panel, points: Sequence[tuple[float, float]], top: float) -> list[str]:
    highest = _highest(panel)
    places = [(x, top + _PANEL * (1 - figure / highest)) for x, figure in points]
    if panel.look is Look.LINE and places:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        return [f'  <polyline class="line" points="{path}"/>']
    if panel.look is Look.BARS:
        return [
            f'  <rect class="bar" x="{x:.1f}" y="{y:.1f}" width="5"'
            f' height="{top + _PANEL - y:.1f}"/>'
            for x, y in places
        ]
    return [f'  <circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="1.3"/>' for x, y in places]


def _highest(panel: Panel) -> float:
    return max((figure for _, figure in panel.points), default=0.0) * 1.05 or 1.0


def _number(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}"


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'  <text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
