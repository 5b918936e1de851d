"""``vpnctl migrate report``: what a migration took, in figures and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpnctl.cli.agent.asking import DEFAULT_AGENTS
from vpnctl.cli.command import command
from vpnctl.cli.migrate.asking import Agents, MachineName, coordinate
from vpnctl.cli.output import Format, Output, print_document, print_table, say
from vpnctl.cli.sidecar.quantities import show_rate, show_seconds, show_size
from vpnctl.errors import UsageError

if TYPE_CHECKING:
    from vpnctl.migration.agent.messages import MigrationView

#: Moments that the picture names; the others are in the table.
_NAMED = ("disks follow", "held", "guest stopped", "announced at", "runs at", "route for")
_MB = 1e6


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "report",
        examples=[
            ("vpnctl migrate report web1", "what its last move took"),
            ("vpnctl migrate report web1 --svg web1.svg", "and a picture of it"),
        ],
    )
    def report(
        ctx: typer.Context,
        name: MachineName,
        svg: Annotated[
            Path | None, typer.Option("--svg", metavar="FILE", help="Draw it, too.")
        ] = None,
        agents: Agents = DEFAULT_AGENTS,
        output: Output = Format.TABLE,
    ) -> None:
        """Tell what a migration took: octets, seconds, every pass over the memory, every step."""
        view = coordinate(ctx.obj, agents, lambda coordinator: coordinator.find(name))
        if output.for_people:
            print_table(("WHAT", "FIGURE"), figures(view))
            print()
            print_table(("SECONDS", "LEFT", "CHANGES", "LEAVES QEMU"), passes(view))
            print()
            print_table(("SECONDS", "STEP"), ((f"{m.at_s:.3f}", m.what) for m in view.timeline))
        else:
            print_document({"migration": view.model_dump(mode="json")}, output)
        if svg is not None:
            try:
                svg.write_text(picture(view))
            except OSError as error:
                raise UsageError(
                    f"{svg} cannot be written: {error.strerror}", hint="name another file"
                ) from error
            say(f"picture in {svg}")


def figures(view: MigrationView) -> list[tuple[str, str]]:
    """What it took, as rows."""
    pause = "" if view.paused_s is None else f"{1000 * view.paused_s:.0f} ms at most"
    rows = [
        ("migration", view.migration),
        ("way", f"{view.from_site} -> {view.to_site}: {view.phase}"),
        ("took", show_seconds(view.elapsed_s)),
        ("paused", pause),
        ("passes over the memory", str(len(view.passes))),
        ("memory", f"{show_size(view.wire)} for {show_size(view.guest)}"),
    ]
    if view.disk:
        kept = show_size(view.disk_kept)
        rows.append(("disks", f"{show_size(view.disk_wire)} for {show_size(view.disk)}"))
        rows.append(("disks, already there", kept))
    rows.append(("connections cut", str(view.cuts + view.disk_cuts)))
    if view.error:
        rows.append(("error", view.error))
    return rows


def passes(view: MigrationView) -> list[tuple[str, str, str, str]]:
    """When each pass over the memory began, what was left, and the rates of then."""
    return [
        (f"{one.at_s:.3f}", show_size(one.left), show_rate(one.dirty_rate), show_rate(one.rate))
        for one in view.passes
    ]


def picture(view: MigrationView) -> str:
    """A migration as an SVG document."""
    from vpnctl.cli.graphs.curves import Band, Curves, Look, Mark, Panel, render
    from vpnctl.migration.smartstop import predicted_pause

    bands = []
    if view.stopped_at is not None and view.paused_s is not None:
        since = view.stopped_at - view.began
        bands.append(Band(since, since + view.paused_s, f"{view.machine} stands still"))
    pauses = [(one.at_s, predicted_pause(one.left, one.rate)) for one in view.passes]
    return render(
        Curves(
            f"{view.machine}: {view.from_site} -> {view.to_site}",
            view.elapsed_s,
            (
                Panel(
                    "Memory left at the beginning of each pass",
                    "MB",
                    tuple((one.at_s, one.left / _MB) for one in view.passes),
                    Look.BARS,
                ),
                Panel(
                    "Memory that leaves QEMU",
                    "MB/s",
                    tuple((one.at_s, one.rate / _MB) for one in view.passes),
                ),
                Panel(
                    "Pause, if it were now",
                    "s",
                    tuple((at, pause) for at, pause in pauses if pause is not None),
                ),
            ),
            tuple(bands),
            tuple(Mark(m.at_s, m.what) for m in view.timeline if m.what.startswith(_NAMED)),
        )
    )
