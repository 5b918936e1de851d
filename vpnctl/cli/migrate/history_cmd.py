"""``vpnctl migrate history``: what moved when."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from vpnctl.cli.agent.asking import DEFAULT_AGENTS
from vpnctl.cli.command import command
from vpnctl.cli.migrate.asking import Agents, coordinate, told_as_document
from vpnctl.cli.output import Format, Output, print_table
from vpnctl.cli.sidecar.quantities import show_seconds, show_size


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "history",
        examples=[("vpnctl migrate history", "all migrations the agents know of")],
    )
    def history(
        ctx: typer.Context, agents: Agents = DEFAULT_AGENTS, output: Output = Format.TABLE
    ) -> None:
        """List migrations, those under way included, the oldest first."""
        found, silent = coordinate(ctx.obj, agents, lambda coordinator: coordinator.migrations())
        if told_as_document("migrations", found, silent, output):
            return
        print_table(
            ("BEGAN", "MIGRATION", "FROM", "TO", "PHASE", "TOOK", "PAUSE", "SENT"),
            (
                (
                    datetime.fromtimestamp(one.began, UTC).strftime("%Y-%m-%d %H:%M:%S"),
                    one.migration,
                    one.from_site,
                    one.to_site,
                    one.phase,
                    show_seconds(one.elapsed_s),
                    "" if one.paused_s is None else f"{1000 * one.paused_s:.0f} ms",
                    show_size(one.wire),
                )
                for one in found
            ),
        )
