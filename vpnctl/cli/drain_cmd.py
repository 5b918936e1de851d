"""``vpnctl drain``: take traffic off a PE before its maintenance."""

from __future__ import annotations

from typing import Annotated

import typer

from vpnctl.cli.client import Client
from vpnctl.cli.command import CONTROLLER_PANEL, command
from vpnctl.cli.output import say
from vpnctl.cli.session_cmd import PeerArgument


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "drain",
        panel=CONTROLLER_PANEL,
        examples=[
            ("vpnctl drain pe-c2a", "before its maintenance"),
            ("vpnctl drain pe-c2a --undo", "afterwards"),
        ],
    )
    def drain(
        ctx: typer.Context,
        peer: PeerArgument,
        undo: Annotated[bool, typer.Option("--undo", help="End it.")] = False,
    ) -> None:
        """Make a PE's routes the last choice of everybody who has others (RFC 8326)."""
        Client(ctx.obj).post("drain", {"peer": peer, "draining": not undo})
        say(f"{peer} is drained no more" if undo else f"the routes of {peer} are the last choice")
