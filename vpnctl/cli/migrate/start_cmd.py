"""``vpnctl migrate start``: move a machine, or all of an application."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpnctl.cli.agent.asking import DEFAULT_AGENTS
from vpnctl.cli.command import command
from vpnctl.cli.migrate.asking import Agents, NoExtend, coordinate
from vpnctl.cli.output import Format, Output, say
from vpnctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vpnctl.migration.agent.messages import MigrationView
    from vpnctl.migration.coordinator import Coordinator


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "start",
        examples=[
            ("vpnctl migrate web1 --to cloud2", "move it, and watch"),
            ("  ... --max-pause 0.5", "no longer than half a second"),
            ("  ... --limit 100M --detach", "slowly, without watching"),
            ("vpnctl migrate --app shop --to cloud2", "all machines of an application"),
        ],
    )
    def start(
        ctx: typer.Context,
        to: Annotated[str, typer.Option(help="The site it moves to.")],
        machine: Annotated[str, typer.Argument(help="The machine.")] = "",
        app_name: Annotated[
            str,
            typer.Option("--app", help="All machines of an application: they pause together."),
        ] = "",
        limit: Annotated[
            str, typer.Option(metavar="RATE", help="Bits per second: 500k, 100M, 2.5G, none.")
        ] = "none",
        max_pause: Annotated[
            float | None,
            typer.Option(metavar="SECONDS", help="Do not stop the machine for longer than that."),
        ] = None,
        throttle: Annotated[
            bool,
            typer.Option("--throttle", help="QEMU may slow the machine down, to get it through."),
        ] = False,
        no_extend: NoExtend = False,
        detach: Annotated[
            bool, typer.Option("--detach", help="Start it, and do not watch.")
        ] = False,
        agents: Agents = DEFAULT_AGENTS,
        output: Output = Format.TABLE,
    ) -> None:
        """Move a machine while it runs; whatever fails, it runs on where it was."""
        from vpnctl.cli.migrate.showing import show
        from vpnctl.cli.sidecar.quantities import parse_rate

        if bool(machine) == bool(app_name):
            raise UsageError(
                "name a machine, or an application with --app",
                hint="vpnctl migrate web1 --to cloud2",
            )
        if detach and app_name:
            raise UsageError(
                "--detach: machines that pause together need somebody who watches them",
                hint="leave --detach out",
            )
        rate = parse_rate(limit)

        async def begin(coordinator: Coordinator) -> list[MigrationView]:
            names = await coordinator.members(app_name, to) if app_name else [machine]
            begun: list[MigrationView] = []
            together = coordinator.together(app_name, len(names)) if len(names) > 1 else None
            try:
                for name in names:
                    begun.append(
                        await coordinator.start(
                            name,
                            to,
                            rate=rate,
                            max_pause_s=max_pause,
                            throttle=throttle,
                            together=together,
                            extend=not no_extend,
                        )
                    )
            except BaseException:
                for view in begun:
                    await coordinator.tell(view, "cancel")
                raise
            return begun

        async def run(coordinator: Coordinator) -> None:
            begun = await begin(coordinator)
            if detach:
                say(f"{begun[0].migration} has begun: vpnctl migrate watch {begun[0].migration}")
                return
            views: AsyncIterator[MigrationView] = (
                coordinator.watch(begun[0]) if len(begun) == 1 else coordinator.move_together(begun)
            )
            async with coordinator.routes_told(begun):
                await show(views, as_json=not output.for_people)

        coordinate(ctx.obj, Path(agents), run)
