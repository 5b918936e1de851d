"""A move as its client and its QEMU saw it: a table of its steps with bars, and curves as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tests.support.visitor import Heard
from vpnctl.cli.graphs.curves import Band, Curves, Look, Mark, Panel, render
from vpnctl.migration.agent.messages import MigrationView

_BAR, _WHAT = 44, 49
#: Moments of a timeline that a picture names; the others stand in the table.
_NAMED = ("disks follow", "guest stopped", "announced at", "runs at", "released at")


def bars(view: MigrationView) -> str:
    """Each step of a migration with its moment, how long it took, and a bar at its time."""
    total = max(view.elapsed_s, 1e-3)
    lines = []
    before = 0.0
    for mark in view.timeline:
        begin, length = (round(_BAR * one / total) for one in (before, mark.at_s - before))
        bar = " " * begin + ("=" * length or "|")
        lines.append(f"  {mark.at_s:8.3f} s  {mark.what:{_WHAT}.{_WHAT}}  {bar}")
        before = mark.at_s
    return "\n".join(lines)


def picture(
    title: str,
    views: Sequence[MigrationView],
    answers: Sequence[Heard],
    ticks: Sequence[Heard],
) -> str:
    """Moves one after the other as an SVG document.

    ``views``: the last of each; ``answers``, ``ticks``: what the client heard meanwhile.
    """
    began = views[0].began - 1.0
    ended = max(view.began + view.elapsed_s for view in views) + 1.0
    marks, bands, left = [], [], []
    for view in views:
        since = view.began - began
        marks += [
            Mark(since + mark.at_s, mark.what)
            for mark in view.timeline
            if mark.what.startswith(_NAMED)
        ]
        left += [(since + one.at_s, one.left / 1e6) for one in view.passes]
        if view.stopped_at is not None and view.resumed_at is not None:
            bands.append(Band(view.stopped_at - began, view.resumed_at - began, "it stands still"))
    inside = [one for one in answers if began <= one.at <= ended]
    heard = [one.at for one in ticks if began <= one.at <= ended]
    gaps = [(later - began, 1000 * (later - earlier)) for earlier, later in pairwise(heard)]
    return render(
        Curves(
            title,
            ended - began,
            (
                Panel(
                    "Time to an answer, as the client sees it",
                    "ms",
                    tuple((one.asked - began, 1000 * (one.at - one.asked)) for one in inside),
                    Look.DOTS,
                ),
                Panel("Time since the line before, of what the machine sends", "ms", tuple(gaps)),
                Panel("Memory left at the beginning of each pass", "MB", tuple(left), Look.BARS),
            ),
            tuple(bands),
            tuple(marks),
        )
    )
