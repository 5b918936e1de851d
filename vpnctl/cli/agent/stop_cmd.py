"""``vpnctl agent stop``: end a machine."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from vpnctl.cli.agent.asking import At, ask
from vpnctl.cli.command import command
from vpnctl.cli.output import say


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "stop",
        examples=[("vpnctl agent stop web1 --at unix:agent.sock", "end it at once")],
    )
    def stop(
        ctx: typer.Context,
        name: Annotated[str, typer.Argument(help="The machine.")],
        at: At = "",
    ) -> None:
        """End a machine's process, as if its power was cut; its disks stay."""
        from vpnctl.migration.agent.messages import Nothing

        path = f"machines/{quote(name, safe='')}/stop"
        ask(ctx.obj, at, lambda agent: agent.post(path, Nothing, timeout_s=30.0))
        say(f"{name} has ended")
