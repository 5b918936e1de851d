"""``vpnctl migrate watch``: until it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vpnctl.cli.agent.asking import DEFAULT_AGENTS
from vpnctl.cli.command import command
from vpnctl.cli.migrate.asking import Agents, MachineName, coordinate
from vpnctl.cli.output import Format, Output

if TYPE_CHECKING:
    from vpnctl.migration.coordinator import Coordinator


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "watch",
        examples=[("vpnctl migrate watch web1", "in place, or as JSON lines into a pipe")],
    )
    def watch(
        ctx: typer.Context,
        name: MachineName,
        agents: Agents = DEFAULT_AGENTS,
        output: Output = Format.TABLE,
    ) -> None:
        """Watch a migration until it has ended; Ctrl-C ends the watching only."""
        from vpnctl.cli.migrate.showing import show

        async def run(coordinator: Coordinator) -> None:
            view = await coordinator.find(name)
            await show(coordinator.watch(view), as_json=not output.for_people)

        coordinate(ctx.obj, agents, run)
