"""``vpnctl plan``: which routes a policy edit will change at which peer."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from vpnctl.api.errors import SCHEMA
from vpnctl.cli.change import Only, Routes, fetch_plan, of_directory, refuse_troubled, shown_lines
from vpnctl.cli.client import Client
from vpnctl.cli.command import CHANGE_PANEL, command
from vpnctl.cli.decode import decode
from vpnctl.cli.output import Format, Output, print_document, print_error, say
from vpnctl.controller.requests import PlanRequest
from vpnctl.controller.views import Plan
from vpnctl.errors import UsageError, VpnctlError

CHANGES = 2
_ALL_ROUTES = 1_000_000


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "plan",
        panel=CHANGE_PANEL,
        examples=[
            ("vpnctl plan", "what applying the policy directory would change"),
            ("vpnctl plan --routes", "... with each route at each peer, however many"),
            ("vpnctl plan --out change.plan", "keep it for 'vpnctl apply change.plan'"),
            ("vpnctl plan --detailed-exitcode", "0 nothing changes, 2 something does"),
        ],
    )
    def plan(
        ctx: typer.Context,
        out: Annotated[
            Path | None, typer.Option("--out", help="Save the plan, for 'vpnctl apply FILE'.")
        ] = None,
        only: Only = None,
        routes: Routes = False,
        detailed_exitcode: Annotated[
            bool,
            typer.Option(
                "--detailed-exitcode", help="End with 2 when something changes, 1 on any error."
            ),
        ] = False,
        output: Output = Format.TABLE,
    ) -> None:
        """Preview what applying the policy directory would change: every route at every peer."""
        try:
            planned = _plan(Client(ctx.obj), of_directory(only), out, routes, output)
            refuse_troubled(planned)
        except VpnctlError as error:
            if not detailed_exitcode:
                raise
            print_error(error)
            raise typer.Exit(1) from None
        if detailed_exitcode and not planned.empty:
            raise typer.Exit(CHANGES)


def _plan(
    client: Client, request: PlanRequest, out: Path | None, routes: bool, output: Format
) -> Plan:
    answer = fetch_plan(client, request, routes=1000 if output.for_people else _ALL_ROUTES)
    planned = decode(Plan, answer)
    if output.for_people:
        print("\n".join(shown_lines(planned, output, routes=routes)))
    else:
        print_document({"plan": answer}, output)
    if out is not None:
        save(out, request, answer)
        say(f"saved; carry it out with: vpnctl apply {out}")
    return planned


def save(path: Path, request: PlanRequest, plan: dict[str, Any]) -> None:
    """Write a plan and what was asked for, so that `load` gives both back."""
    document = {"schema": SCHEMA, "request": asdict(request), "plan": plan}
    try:
        path.write_text(json.dumps(document) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", hint="choose another file with --out"
        ) from error


def load(path: Path) -> tuple[PlanRequest, dict[str, Any]]:
    """What `save` wrote; `UsageError` when the file is anything else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError
        asked, plan = document["request"], document["plan"]
        request = PlanRequest(**{**asked, "files": tuple(asked["files"])})
        decode(Plan, plan)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="make one with 'vpnctl plan --out'"
        ) from error
    except (ValueError, TypeError, KeyError):
        raise UsageError(
            f"{path} is no plan of this version", hint="make one with 'vpnctl plan --out'"
        ) from None
    return request, plan
