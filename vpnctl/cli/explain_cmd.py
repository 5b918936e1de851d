"""``vpnctl explain``: which rule turned which target into which."""

from __future__ import annotations

from typing import Annotated

import typer

from vpnctl.cli.client import Client
from vpnctl.cli.command import LOOK_PANEL, command
from vpnctl.cli.completers import complete_peer
from vpnctl.cli.decode import decode
from vpnctl.cli.output import Format, Output, print_document
from vpnctl.controller.views import Explanation


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "explain",
        panel=LOOK_PANEL,
        examples=[
            ("vpnctl explain 10.0.0.1:100:ve1 --peer pe-c2a", "a VPLS label block"),
            ("vpnctl explain 65000:1:10.1.0.0/16 --peer pe-c1", "a VPNv4 route, RD first"),
        ],
    )
    def explain(
        ctx: typer.Context,
        nlri: Annotated[
            str, typer.Argument(metavar="NLRI", help="The route, as 'show rib-in' prints it.")
        ],
        peer: Annotated[
            str,
            typer.Option("--peer", help="Who has it or misses it.", autocompletion=complete_peer),
        ],
        output: Output = Format.TABLE,
    ) -> None:
        """Why a peer has, or has not, a route: rule by rule, with the policy line of each."""
        answer = Client(ctx.obj).get("explain", nlri=nlri, peer=peer)["explanation"]
        if output.for_people:
            first, *others = decode(Explanation, answer).lines
            *middle, last = others or [""]
            # Indented between what was heard and what became of it, as the rules that join them.
            for line in (first, *(f"  {line}" for line in middle), last):
                if line:
                    print(line)
        else:
            print_document({"explanation": answer}, output)
