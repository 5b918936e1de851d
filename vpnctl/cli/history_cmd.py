"""``vpnctl history`` and ``diff``: what was applied, and how two revisions differ."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from vpnctl.cli.change import REVISION_HEADERS, TimelineSvg, revision_row
from vpnctl.cli.client import Client
from vpnctl.cli.command import LOOK_PANEL, command
from vpnctl.cli.decode import decode, decode_all
from vpnctl.cli.output import Format, Output, paint, print_document, print_table, say
from vpnctl.cli.text import timeline_lines
from vpnctl.cli.timeline_svg import write as write_svg
from vpnctl.controller.views import FileChange, Revision, Step
from vpnctl.errors import UsageError

_COLOUR_OF_LINE = {"+": "green", "-": "red", "@": "dim"}

Last = Annotated[int, typer.Option("-n", "--last", min=1, max=10_000, help="How many.")]


def show_history(ctx: typer.Context, last: int, output: Format) -> None:
    """The newest revisions."""
    answer = Client(ctx.obj).get("revisions", limit=last)
    if output.for_people:
        revisions = decode_all(Revision, answer["revisions"])
        print_table(REVISION_HEADERS, map(revision_row, revisions))
    else:
        print_document({"revisions": answer["revisions"]}, output)


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "history",
        panel=LOOK_PANEL,
        examples=[
            ("vpnctl history", "the newest 50 revisions"),
            ("vpnctl history 42", "one revision and its timeline"),
            ("vpnctl history 42 --timeline-svg t.svg", "... as a picture"),
        ],
    )
    def history(
        ctx: typer.Context,
        revision: Annotated[
            int | None, typer.Argument(min=1, help="Only this one, with its timeline.")
        ] = None,
        last: Last = 50,
        timeline_svg: TimelineSvg = None,
        output: Output = Format.TABLE,
    ) -> None:
        """What was applied, when, by whom; with a number, how long each step took."""
        if revision is None:
            if timeline_svg is not None:
                raise UsageError(
                    "--timeline-svg draws one revision", hint="name it: vpnctl history 42"
                )
            show_history(ctx, last, output)
            return
        answer = Client(ctx.obj).get("revisions", str(revision))
        if timeline_svg is not None:
            steps = decode_all(Step, answer["timeline"])
            write_svg(timeline_svg, steps, answer["revision"]["summary"])
        if not output.for_people:
            print_document({key: answer[key] for key in ("revision", "timeline")}, output)
            return
        print_table(REVISION_HEADERS, [revision_row(decode(Revision, answer["revision"]))])
        steps = decode_all(Step, answer["timeline"])
        lines = timeline_lines(steps, shutil.get_terminal_size().columns)
        if lines:
            print("\n" + "\n".join(lines))

    @command(
        app,
        "diff",
        panel=LOOK_PANEL,
        examples=[("vpnctl diff 41 42", "what revision 42 changed in the policy files")],
    )
    def diff(
        ctx: typer.Context,
        old: Annotated[int, typer.Argument(min=1, help="A revision.")],
        new: Annotated[int, typer.Argument(min=1, help="Another one.")],
        output: Output = Format.TABLE,
    ) -> None:
        """How the policy files of two revisions differ, as a unified diff."""
        answer = Client(ctx.obj).get("diff", old=old, new=new)
        if not output.for_people:
            print_document({"files": answer["files"]}, output)
            return
        files = decode_all(FileChange, answer["files"])
        if not files:
            say(f"the policy files of revisions {old} and {new} are the same")
        for line in (line for file in files for line in file.diff.splitlines()):
            print(paint(line, _COLOUR_OF_LINE[line[0]]) if line[:1] in _COLOUR_OF_LINE else line)
