"""``vpnctl migrate precheck``: may it move there at all?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from vpnctl.cli.agent.asking import DEFAULT_AGENTS
from vpnctl.cli.command import command
from vpnctl.cli.migrate.asking import Agents, NoExtend, coordinate
from vpnctl.cli.output import Format, Output, print_document, print_table, say
from vpnctl.errors import PrecheckError


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "precheck",
        examples=[("vpnctl migrate precheck web1 --to cloud2", "what is in the way, if anything")],
    )
    def precheck(
        ctx: typer.Context,
        machine: Annotated[str, typer.Argument(help="The machine.")],
        to: Annotated[str, typer.Option(help="The site it would move to.")],
        no_extend: NoExtend = False,
        agents: Agents = DEFAULT_AGENTS,
        output: Output = Format.TABLE,
    ) -> None:
        """Tell everything that keeps a machine from moving, with its remedy; touch nothing."""
        checked = coordinate(
            ctx.obj,
            agents,
            lambda coordinator: coordinator.precheck(machine, to, extend=not no_extend),
        )
        failures = checked.failures
        if not output.for_people:
            told = {"failures": [asdict(one) for one in failures], "extends": checked.extends}
            print_document(told, output)
        elif failures:
            print_table(
                ("CHECK", "PROBLEM", "REMEDY"),
                ((one.check, one.problem, one.remedy) for one in failures),
            )
        else:
            say(f"{machine} may move from {checked.site} to {to}")
            for vpn in checked.extends:
                say(f"{vpn} does not reach {to} yet, and is extended first")
        if failures:
            raise typer.Exit(PrecheckError.exit_code)
