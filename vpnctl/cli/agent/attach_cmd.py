"""``vpnctl agent attach``: a machine that runs already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.agent.asking import At, ask
from vpnctl.cli.agent.start_cmd import read_definition
from vpnctl.cli.command import command
from vpnctl.cli.output import say


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "attach",
        examples=[
            ("vpnctl agent attach web1.yaml --qmp /run/web1.qmp --at unix:agent.sock", "take over")
        ],
    )
    def attach(
        ctx: typer.Context,
        file: Annotated[Path, typer.Argument(help="The machine's definition (YAML).")],
        qmp: Annotated[Path, typer.Option(help="A monitor of it that nobody else uses.")],
        at: At = "",
    ) -> None:
        """Take over a machine that somebody else started, so that it can move."""
        from vpnctl.migration.agent.messages import AttachRequest, MachineView

        request = AttachRequest(definition=read_definition(file), qmp=str(qmp.absolute()))
        answer = ask(ctx.obj, at, lambda agent: agent.post("attach", MachineView, request))
        say(f"{answer.name} is {answer.state}")
