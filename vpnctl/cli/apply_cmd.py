"""``vpnctl apply``, ``confirm`` and ``rollback``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.change import (
    Confirm,
    DryRun,
    Only,
    Routes,
    TimelineSvg,
    Wait,
    Yes,
    author,
    change,
    of_directory,
)
from vpnctl.cli.client import Client
from vpnctl.cli.command import CHANGE_PANEL, command
from vpnctl.cli.output import Format, Output, print_document
from vpnctl.cli.plan_cmd import load
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import UsageError


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "apply",
        panel=CHANGE_PANEL,
        examples=[
            ("vpnctl apply", "show what it would change, ask, do it"),
            ("vpnctl apply change.plan", "what was saved, unless the base moved since"),
            ("vpnctl apply --confirm 5m", "undone in 5 minutes unless you confirm"),
            ("vpnctl apply --only policies/e1.yaml", "edits of other files wait"),
            ("vpnctl apply --yes -o json", "in a pipeline"),
        ],
    )
    def apply(
        ctx: typer.Context,
        plan: Annotated[
            Path | None, typer.Argument(help="A plan saved by 'vpnctl plan --out'.")
        ] = None,
        only: Only = None,
        confirm: Confirm = "",
        wait: Wait = "10s",
        routes: Routes = False,
        timeline_svg: TimelineSvg = None,
        yes: Yes = False,
        output: Output = Format.TABLE,
    ) -> None:
        """Apply the controller's policy directory, or exactly what a saved plan showed."""
        if plan is not None and only:
            raise UsageError(
                "a saved plan has its files already", hint="leave out either the plan or --only"
            )
        request, saved = (of_directory(only), None) if plan is None else load(plan)
        change(
            Client(ctx.obj),
            request,
            form=output,
            yes=yes,
            confirm=confirm,
            wait=wait,
            routes=routes,
            plan=saved,
            timeline_svg=timeline_svg,
        )

    @command(
        app,
        "confirm",
        panel=CHANGE_PANEL,
        examples=[("vpnctl confirm", "keep what 'vpnctl apply --confirm 5m' did")],
    )
    def confirm(ctx: typer.Context, output: Output = Format.TABLE) -> None:
        """Keep the change that would otherwise be undone by itself."""
        answer = Client(ctx.obj).post("confirm", {"author": author()})
        if output.for_people:
            print(f"Revision {answer['revision']['number']} is confirmed.")
        else:
            print_document({"revision": answer["revision"]}, output)

    @command(
        app,
        "rollback",
        panel=CHANGE_PANEL,
        examples=[
            ("vpnctl rollback", "back to the policy before the present one"),
            ("vpnctl rollback 41 --dry-run", "what going back to revision 41 would change"),
        ],
    )
    def rollback(
        ctx: typer.Context,
        revision: Annotated[
            int | None, typer.Argument(min=1, help="The revision whose policy comes back.")
        ] = None,
        confirm: Confirm = "",
        wait: Wait = "10s",
        dry_run: DryRun = False,
        routes: Routes = False,
        timeline_svg: TimelineSvg = None,
        yes: Yes = False,
        output: Output = Format.TABLE,
    ) -> None:
        """Bring back an earlier policy, files and numbers alike, as a new revision."""
        change(
            Client(ctx.obj),
            PlanRequest("rollback", revision=revision),
            form=output,
            yes=yes,
            confirm=confirm,
            wait=wait,
            dry_run=dry_run,
            routes=routes,
            timeline_svg=timeline_svg,
        )
