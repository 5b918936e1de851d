"""``vpnctl agent list``: the machines of a site."""

from __future__ import annotations

import typer

from vpnctl.cli.agent.asking import At, ask
from vpnctl.cli.command import command
from vpnctl.cli.output import Format, Output, print_document, print_table


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "list",
        examples=[
            ("vpnctl agent list --at unix:agent.sock", "machines, and who owns them"),
            ("vpnctl agent list -o json", "with all that is known of the site"),
        ],
    )
    def machines(ctx: typer.Context, at: At = "", output: Output = Format.TABLE) -> None:
        """List the machines of a site."""
        from vpnctl.migration.agent.messages import SiteFacts
        from vpnctl.migration.agent.peer import LONG_S

        facts = ask(ctx.obj, at, lambda agent: agent.get("site", SiteFacts, LONG_S))
        if not output.for_people:
            print_document({"site": facts.model_dump(mode="json")}, output)
            return
        print_table(
            ("MACHINE", "APP", "STATE", "MEMORY", "DISKS", "EPOCH"),
            (
                (one.name, one.app, one.state, f"{one.memory_kib >> 10} MiB", one.disks, one.epoch)
                for one in facts.machines
            ),
        )
