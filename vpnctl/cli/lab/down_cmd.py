"""``vpnctl lab down``: take a lab down, whole or in part."""

from __future__ import annotations

import typer

from vpnctl.cli.command import command
from vpnctl.cli.lab.naming import LabArgument, lab_name
from vpnctl.cli.output import say


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "down",
        examples=[
            ("vpnctl lab down", "the only lab of this machine"),
            ("vpnctl lab down cloudnet", "by name"),
            ("vpnctl lab down lab/cloudnet.clab.yml", "by its topology file"),
        ],
    )
    def down(lab: LabArgument = "") -> None:
        """Remove every process, namespace and file of a lab, also of one half built."""
        from vpnctl.lab import lifecycle

        name = lifecycle.down(lab_name(lab))
        say(f"{name} is down")
