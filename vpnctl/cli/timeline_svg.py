"""A timeline as a picture: a row for each step, a bar at its time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from vpnctl.controller.views import Step
from vpnctl.errors import UsageError

_ROW, _TOP, _LABELS, _CHART, _AFTER = 18, 34, 230, 620, 70
#: By what is done: at the controller, before a router changes, while it does, to see that it has.
_COLOURS = {
    "": "#4c78a8", "before": "#9ecae9", "commit": "#f58518", "verify": "#eeca3b",
    "route received": "#eeca3b", "confirm": "#54a24b",
}  # fmt: skip
_TICKS = 5


def timeline_svg(steps: Sequence[Step], title: str) -> str:
    """An SVG picture of steps in the order given; times in milliseconds."""
    total = max((step.end_ms for step in steps), default=0.0) or 1.0
    height = _TOP + _ROW * len(steps) + 30
    width = _LABELS + _CHART + _AFTER
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="8" y="18" font-size="13">{_text(title)}</text>',
    ]
    for tick in range(_TICKS + 1):
        x = _LABELS + _CHART * tick / _TICKS
        at = total * tick / _TICKS
        lines += [
            f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{height - 24}" stroke="#ddd"/>',
            f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{at:.0f} ms</text>',
        ]
    for row, step in enumerate(steps):
        y = _TOP + _ROW * row
        x = _LABELS + _CHART * step.start_ms / total
        length = max(1.5, _CHART * (step.end_ms - step.start_ms) / total)
        name = f"{step.router}  {step.name}" if step.router else step.name
        said = f"{name}: {step.end_ms - step.start_ms:.1f} ms"
        told = f"{said} ({step.detail})" if step.detail else said
        lines += [
            f'<text x="8" y="{y + 10}">{_text(name)}</text>',
            f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="12" fill="{_colour(step)}">'
            f"<title>{_text(told)}</title></rect>",
        ]
    return "\n".join([*lines, "</svg>", ""])


def write(path: Path, steps: Sequence[Step], title: str) -> None:
    """Write the picture; raises `UsageError` where that is not possible."""
    try:
        path.write_text(timeline_svg(steps, title), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            hint="the change was made; draw it with 'vpnctl history REVISION --timeline-svg FILE'",
        ) from error


def _text(text: str) -> str:
    """Fit for XML, which has no control characters."""
    return escape("".join(one if one.isprintable() else "?" for one in text))


def _colour(step: Step) -> str:
    if not step.router:
        return _COLOURS[""]
    return _COLOURS.get(step.name, _COLOURS["before"])
