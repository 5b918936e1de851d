"""``vpnctl migrate cancel|pause|resume|switchover|limit``: while a machine moves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpnctl.cli.agent.asking import DEFAULT_AGENTS
from vpnctl.cli.command import command
from vpnctl.cli.migrate.asking import Agents, MachineName, coordinate
from vpnctl.cli.output import say
from vpnctl.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from vpnctl.cli.settings import Settings
    from vpnctl.migration.agent.messages import MigrationView
    from vpnctl.migration.coordinator import Coordinator


def add_to(app: typer.Typer) -> None:
    @command(app, "cancel", examples=[("vpnctl migrate cancel web1", "it stays where it is")])
    def cancel(ctx: typer.Context, name: MachineName, agents: Agents = DEFAULT_AGENTS) -> None:
        """Leave a machine where it is; too late once it was offered to the other site."""
        view = _tell(ctx.obj, agents, name, "cancel")
        say(f"{view.machine} stays at {view.from_site}")

    @command(app, "pause", examples=[("vpnctl migrate pause web1", "send next to nothing")])
    def pause(ctx: typer.Context, name: MachineName, agents: Agents = DEFAULT_AGENTS) -> None:
        """Hold a migration; the machine runs on, and what was sent is not lost."""
        view = _tell(ctx.obj, agents, name, "pause")
        say(f"the migration of {view.machine} is held: vpnctl migrate resume {name}")

    @command(app, "resume", examples=[("vpnctl migrate resume web1", "send again")])
    def resume(ctx: typer.Context, name: MachineName, agents: Agents = DEFAULT_AGENTS) -> None:
        """Go on with a migration that was held with 'pause'."""
        view = _tell(ctx.obj, agents, name, "resume")
        say(f"the migration of {view.machine} goes on")

    @command(
        app,
        "switchover",
        examples=[("vpnctl migrate switchover web1", "now, however long the pause will be")],
    )
    def switchover(ctx: typer.Context, name: MachineName, agents: Agents = DEFAULT_AGENTS) -> None:
        """Stop the machine now, and let it go on at the other site."""
        view = _tell(ctx.obj, agents, name, "switchover")
        say(f"{view.machine} is told to stop, and goes on at {view.to_site}")

    @command(
        app,
        "limit",
        examples=[
            ("vpnctl migrate limit web1 50M", "no more than 50 Mb/s from now on"),
            ("vpnctl migrate limit web1 --max-pause 1", "a pause of a second will do"),
        ],
    )
    def limit(
        ctx: typer.Context,
        name: MachineName,
        rate: Annotated[
            str, typer.Argument(help="Bits per second: 500k, 100M, 2.5G; none for no limit.")
        ] = "",
        max_pause: Annotated[
            float | None, typer.Option(metavar="SECONDS", help="Another longest pause.")
        ] = None,
        agents: Agents = DEFAULT_AGENTS,
    ) -> None:
        """Change what a migration may take: bandwidth, pause."""
        from vpnctl.cli.sidecar.quantities import parse_rate
        from vpnctl.migration.agent.messages import PauseRequest, RateRequest
        from vpnctl.sidecar.run.control import check_rate

        if not rate and max_pause is None:
            raise UsageError("nothing to change", hint="give a rate, --max-pause, or both")
        if rate:
            wanted = check_rate(parse_rate(rate))
            _tell(ctx.obj, agents, name, "limit", RateRequest(rate=wanted))
        if max_pause is not None:
            _tell(ctx.obj, agents, name, "max-pause", PauseRequest(max_pause_s=max_pause))
        say(f"{name}: changed")


def _tell(
    settings: Settings, agents: Path, name: str, what: str, body: BaseModel | None = None
) -> MigrationView:
    async def run(coordinator: Coordinator) -> MigrationView:
        return await coordinator.tell(await coordinator.find(name), what, body)

    return coordinate(settings, agents, run)
