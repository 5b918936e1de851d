"""``vpnctl doctor``: whether managed routers can be configured."""

from __future__ import annotations

import typer

from vpnctl.cli.change import ASKING_ROUTERS_S
from vpnctl.cli.client import Client
from vpnctl.cli.command import ROUTERS_PANEL, command
from vpnctl.cli.decode import decode_all
from vpnctl.cli.drift_cmd import RoutersArgument
from vpnctl.cli.output import Format, Output, paint, print_document, print_table
from vpnctl.controller.views import Checkup


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "doctor",
        panel=ROUTERS_PANEL,
        examples=[
            ("vpnctl doctor", "every managed router"),
            ("vpnctl doctor pe-c2a", "one of them"),
        ],
    )
    def doctor(
        ctx: typer.Context, routers: RoutersArgument = None, output: Output = Format.TABLE
    ) -> None:
        """Look whether managed routers can be configured: session, host key, rights and more."""
        body = {"routers": routers or []}
        answer = Client(ctx.obj).post("doctor", body, wait_s=ASKING_ROUTERS_S)["doctor"]
        found = decode_all(Checkup, answer)
        if output.for_people:
            print_table(
                ("ROUTER", "CHECK", "", "DETAIL"),
                (
                    (one.router, check.name, "ok" if check.ok else "BAD", check.detail)
                    for one in found
                    for check in one.checks
                ),
            )
            for one in found:
                for check in one.checks:
                    if check.hint and not check.ok:
                        print(f"{paint('hint:', 'yellow')} {one.router}  {check.hint}")
        else:
            print_document({"doctor": answer}, output)
        if not all(one.ok for one in found):
            raise typer.Exit(1)
