"""``vpnctl agent``: the machines of one site."""

from __future__ import annotations

import typer

from vpnctl.cli.agent import attach_cmd, list_cmd, serve_cmd, start_cmd, stop_cmd
from vpnctl.cli.command import MIGRATION_PANEL, epilog


def add_to(app: typer.Typer) -> None:
    agent = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (serve_cmd, start_cmd, attach_cmd, list_cmd, stop_cmd):
        module.add_to(agent)
    app.add_typer(
        agent,
        name="agent",
        rich_help_panel=MIGRATION_PANEL,
        help="A site's machines: run its agent, start, attach, list and stop them.",
        epilog=epilog(
            [
                ("vpnctl agent serve --site cloud1 --operator noc", "one per site"),
                ("vpnctl agent start web1.yaml --at unix:agent.sock", "a machine there"),
                ("vpnctl agent list --at unix:agent.sock", "what is there"),
            ]
        ),
    )
