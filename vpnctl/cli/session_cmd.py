"""``vpnctl session``: what an operator does with one session, beside the policy."""

from __future__ import annotations

from typing import Annotated

import typer

from vpnctl.cli.client import Client
from vpnctl.cli.command import CONTROLLER_PANEL, command
from vpnctl.cli.completers import complete_peer
from vpnctl.cli.output import say

PeerArgument = Annotated[
    str, typer.Argument(metavar="PE", help="The PE.", autocompletion=complete_peer)
]


def add_to(app: typer.Typer) -> None:
    session = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        help="BGP sessions: begin one anew, take up changed keys.",
    )
    app.add_typer(session, name="session", rich_help_panel=CONTROLLER_PANEL)

    @command(
        session,
        "reset",
        examples=[("vpnctl session reset pe-e1", "also when its guard has shut it down")],
    )
    def reset(ctx: typer.Context, peer: PeerArgument) -> None:
        """Let the session with a PE begin anew."""
        Client(ctx.obj).post("session-reset", {"peer": peer})
        say(f"the session with {peer} begins anew")

    @command(
        session,
        "rekey",
        examples=[("vpnctl session rekey", "after the keys in their files were changed")],
    )
    def rekey(ctx: typer.Context) -> None:
        """Read the sessions' keys again; sessions go on with them, where that can be."""
        changed = Client(ctx.obj).post("rekey", {})["peer_names"]
        say(f"new keys: {', '.join(changed)}" if changed else "no key has changed")
        for problem in Client(ctx.obj).get("status")["status"]["problems"]:
            if problem.startswith("the key of "):
                say(f"problem: {problem}")
