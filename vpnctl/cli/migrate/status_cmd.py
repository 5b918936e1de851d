"""``vpnctl migrate status``: how far is it?"""

from __future__ import annotations

import typer

from vpnctl.cli.agent.asking import DEFAULT_AGENTS
from vpnctl.cli.command import command
from vpnctl.cli.migrate.asking import Agents, MachineName, coordinate
from vpnctl.cli.output import Format, Output, print_document, print_table


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "status",
        examples=[
            ("vpnctl migrate status web1", "how far it is, step by step"),
            ("vpnctl migrate status web1 -o json", "with all figures"),
        ],
    )
    def status(
        ctx: typer.Context,
        name: MachineName,
        agents: Agents = DEFAULT_AGENTS,
        output: Output = Format.TABLE,
    ) -> None:
        """Show a migration and its timeline."""
        from rich.console import Console

        from vpnctl.cli.migrate.showing import picture

        view = coordinate(ctx.obj, agents, lambda coordinator: coordinator.find(name))
        if not output.for_people:
            print_document({"migration": view.model_dump(mode="json")}, output)
            return
        Console().print(picture(view))
        print_table(("SECONDS", "WHAT"), ((f"{one.at_s:.3f}", one.what) for one in view.timeline))
