"""``vpnctl replicate``: a machine's disks at another site, long before it moves there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vpnctl.cli.agent.asking import DEFAULT_AGENTS
from vpnctl.cli.command import MIGRATION_PANEL, command, epilog
from vpnctl.cli.migrate.asking import Agents, coordinate, told_as_document
from vpnctl.cli.output import Format, Output, print_table, say
from vpnctl.cli.sidecar.quantities import show_rate, show_size

if TYPE_CHECKING:
    from vpnctl.migration.agent.messages import ReplicationView

MachineArgument = Annotated[str, typer.Argument(help="The machine.")]


def add_to(app: typer.Typer) -> None:
    replicate = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for add in (_add_start, _add_status, _add_limit, _add_stop):
        add(replicate)
    app.add_typer(
        replicate,
        name="replicate",
        rich_help_panel=MIGRATION_PANEL,
        help="Keep a copy of a machine's disks at another site.",
        epilog=epilog(
            [
                ("vpnctl replicate start web1 --to cloud2 --limit 20M", "days before it moves"),
                ("vpnctl replicate status", "how far the copies are"),
                ("vpnctl migrate web1 --to cloud2", "then only what changed last is sent"),
            ]
        ),
    )


def _add_start(app: typer.Typer) -> None:
    @command(
        app,
        "start",
        examples=[("vpnctl replicate start web1 --to cloud2 --limit 20M", "slowly, for days")],
    )
    def start(
        ctx: typer.Context,
        machine: MachineArgument,
        to: Annotated[str, typer.Option(help="The site that gets the copy.")],
        limit: Annotated[
            str, typer.Option(metavar="RATE", help="Bits per second: 500k, 100M, 2.5G, none.")
        ] = "none",
        agents: Agents = DEFAULT_AGENTS,
    ) -> None:
        """Copy a machine's disks to a site and let the copy follow; cuts are made up for."""
        from vpnctl.cli.sidecar.quantities import parse_rate

        rate = parse_rate(limit)
        view = coordinate(
            ctx.obj, agents, lambda coordinator: coordinator.replicate(machine, to, rate)
        )
        say(f"the disks of {machine} are replicated from {view.from_site} to {view.to_site}")


def _add_status(app: typer.Typer) -> None:
    @command(app, "status", examples=[("vpnctl replicate status", "every replication")])
    def status(
        ctx: typer.Context, agents: Agents = DEFAULT_AGENTS, output: Output = Format.TABLE
    ) -> None:
        """List replications, and how far they are."""
        found, silent = coordinate(ctx.obj, agents, lambda coordinator: coordinator.replications())
        if told_as_document("replications", found, silent, output):
            return
        print_table(
            ("MACHINE", "FROM", "TO", "PHASE", "LEFT", "SENT", "FOR", "LIMIT", "CUTS", "TROUBLE"),
            (_row(one) for one in found),
        )


def _row(view: ReplicationView) -> tuple[object, ...]:
    return (
        view.machine,
        view.from_site,
        view.to_site,
        view.phase,
        "" if view.left is None else show_size(view.left),
        show_size(view.wire),
        show_size(view.disk),
        "none" if view.limit is None else show_rate(view.limit / 8),
        view.cuts,
        view.error,
    )


def _add_limit(app: typer.Typer) -> None:
    @command(app, "limit", examples=[("vpnctl replicate limit web1 50M", "faster at night")])
    def limit(
        ctx: typer.Context,
        machine: MachineArgument,
        rate: Annotated[str, typer.Argument(help="Bits per second: 500k, 100M, 2.5G, none.")],
        agents: Agents = DEFAULT_AGENTS,
    ) -> None:
        """Change what a replication may take."""
        from vpnctl.cli.sidecar.quantities import parse_rate
        from vpnctl.sidecar.run.control import check_rate

        wanted = check_rate(parse_rate(rate))
        coordinate(
            ctx.obj, agents, lambda coordinator: coordinator.limit_replication(machine, wanted)
        )
        say(f"{machine}: changed")


def _add_stop(app: typer.Typer) -> None:
    @command(app, "stop", examples=[("vpnctl replicate stop web1", "the copy stays as it is")])
    def stop(ctx: typer.Context, machine: MachineArgument, agents: Agents = DEFAULT_AGENTS) -> None:
        """End a replication; the copy stays, and a later move sends what it has not."""
        coordinate(ctx.obj, agents, lambda coordinator: coordinator.end_replication(machine))
        say(f"the disks of {machine} are replicated no longer")
