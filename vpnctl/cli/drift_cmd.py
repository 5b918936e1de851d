"""``vpnctl drift``: where managed routers differ from what they shall have."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vpnctl.cli.change import ASKING_ROUTERS_S, ROUTERS_S, author, raise_troubles
from vpnctl.cli.client import Client
from vpnctl.cli.command import ROUTERS_PANEL, command
from vpnctl.cli.completers import complete_peer
from vpnctl.cli.decode import decode_all
from vpnctl.cli.output import Format, Output, paint, print_document
from vpnctl.cli.text import FEW_ROUTER_LINES, router_lines
from vpnctl.controller.views import Drift, RouterPlan

RoutersArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ROUTER]...", help="Only these; all managed ones.", autocompletion=complete_peer
    ),
]


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "drift",
        panel=ROUTERS_PANEL,
        examples=[
            ("vpnctl drift", "what somebody has changed of ours, at any router"),
            ("vpnctl drift pe-c2a --fix", "give it what it shall have"),
            (
                "vpnctl drift -o json",
                "for a nightly job: 1 where it differs, 13 if not all is known",
            ),
        ],
    )
    def drift(
        ctx: typer.Context,
        routers: RoutersArgument = None,
        fix: Annotated[
            bool, typer.Option("--fix", help="Give them what they shall have, one by one.")
        ] = False,
        output: Output = Format.TABLE,
    ) -> None:
        """Compare what managed routers have of ours with what they shall have; 1 if it differs.

        Ends with 13 where a router could not be asked, or could not be given what it shall have.
        """
        body = {"routers": routers or [], "fix": fix, "author": author()}
        wait_s = ROUTERS_S if fix else ASKING_ROUTERS_S
        answer = Client(ctx.obj).post("drift", body, wait_s=wait_s)["drift"]
        found = decode_all(Drift, answer)
        if output.for_people:
            whole = output is Format.WIDE or not sys.stdout.isatty()
            print("\n".join(_lines(found, None if whole else FEW_ROUTER_LINES)))
        else:
            print_document({"drift": answer}, output)
        raise_troubles(
            "not all routers have what they shall have" if fix else "not all is known", found
        )
        if any(one.diff and not one.fixed for one in found):
            raise typer.Exit(1)


def _lines(drifts: tuple[Drift, ...], most: int | None) -> list[str]:
    lines = [] if drifts else ["no router is managed: network.yaml gives none `netconf:` or `frr:`"]
    for one in drifts:
        if one.diff or one.trouble:
            shown = RouterPlan(one.router, one.platform, one.diff)
            lines += router_lines([shown], most) if one.diff else []
            if one.trouble:
                lines.append(f"{paint('!', 'red')} {one.router}  {one.trouble}")
            if one.fixed:
                lines.append(f"  {one.router}  {paint('fixed', 'green')}")
        else:
            lines.append(f"  {one.router}  as it shall be")
    return lines
