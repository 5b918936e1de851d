"""``vpnctl lab``: a network of routers and hosts on this machine."""

from __future__ import annotations

import typer

from vpnctl.cli.command import OTHER_PANEL, epilog
from vpnctl.cli.lab import (
    demo_cmd,
    down_cmd,
    exec_cmd,
    graph_cmd,
    inspect_cmd,
    up_cmd,
    wan_cmd,
)


def add_to(app: typer.Typer) -> None:
    lab = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (up_cmd, down_cmd, inspect_cmd, exec_cmd, wan_cmd, graph_cmd, demo_cmd):
        module.add_to(lab)
    app.add_typer(
        lab,
        name="lab",
        rich_help_panel=OTHER_PANEL,
        help="Run a containerlab topology in network namespaces, with real routers; needs root.",
        epilog=epilog(
            [
                ("vpnctl lab up lab/cloudnet.clab.yml", "build it"),
                ("vpnctl lab exec e1-host -- ping 10.1.0.2", "run something at a node"),
                ("vpnctl lab down", "leave nothing behind"),
            ]
        ),
    )
