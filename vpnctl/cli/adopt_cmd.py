"""``vpnctl adopt``: what a router has already is not given to anybody."""

from __future__ import annotations

from typing import Annotated

import typer

from vpnctl.cli.change import ASKING_ROUTERS_S, author
from vpnctl.cli.client import Client
from vpnctl.cli.command import ROUTERS_PANEL, command
from vpnctl.cli.completers import complete_peer
from vpnctl.cli.decode import decode
from vpnctl.cli.output import Format, Output, print_document, print_table, say
from vpnctl.controller.views import Adoption, NumberInUse


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "adopt",
        panel=ROUTERS_PANEL,
        examples=[
            ("vpnctl adopt pe-c2a", "before the first 'vpnctl extend' to its site"),
            ("vpnctl adopt pe-c2a", "again, after somebody has configured it by hand"),
        ],
    )
    def adopt(
        ctx: typer.Context,
        router: Annotated[str, typer.Argument(metavar="ROUTER", autocompletion=complete_peer)],
        output: Output = Format.TABLE,
    ) -> None:
        """Reserve the VLANs, RDs, targets, VE-IDs and VNIs that a router has; 1 if one is taken."""
        body = {"router": router, "author": author()}
        answer = Client(ctx.obj).post("adopt", body, wait_s=ASKING_ROUTERS_S)["adoption"]
        found = decode(Adoption, answer)
        if output.for_people:
            uses = (*found.conflicts, *found.reserved)
            print_table(
                ("KIND", "NUMBER", "", "WHERE"),
                (
                    (one.kind, one.value, _state(one), f"{one.port}  {one.where}".strip())
                    for one in uses
                ),
            )
        else:
            print_document({"adoption": answer}, output)
        if found.conflicts:
            say("what is taken is used twice: change it at the router, or in the policy")
            raise typer.Exit(1)


def _state(use: NumberInUse) -> str:
    return f"TAKEN by {use.taken}" if use.taken else "reserved"
