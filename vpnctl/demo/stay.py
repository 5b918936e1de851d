"""The demo's network as a playground: it stays, and shows what the PEs receive as it changes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from vpnctl.demo.pes import Held
from vpnctl.demo.screen import held_table, imported_by, say
from vpnctl.demo.stage import Stage, answers, scratch_directory, stage, write_policies
from vpnctl.demo.story import NEW_ROUTE
from vpnctl.errors import ControllerError

_POLL_S = 0.05


def stay(directory: Path, control: Path, console: Console | None = None) -> None:
    """Keep the network of ``directory`` running until Ctrl-C, with its API at ``control``.

    A directory without a policy gets that of the demo; one that has a policy is used as it is.
    Raises `ControllerError` when the controller does not come up or ends, and when there is one
    at ``control`` already.
    """
    if answers(control):
        raise ControllerError(
            f"a controller is already running at {control}",
            hint="stop it, or choose another path with --socket, in every terminal",
        )
    screen = console or Console()
    fresh = not (directory / "network.yaml").exists()
    if fresh:
        write_policies(directory)
    say(screen, "[bold]Starting[/] the controller and three PEs (ExaBGP) on loopback ...")
    with (
        scratch_directory() as scratch,
        stage(scratch, Path.cwd(), str(directory), control) as running,
    ):
        if fresh:
            running.wait_for_routes()
            screen.print(held_table("What the PEs hold", running.pes))
        _guide(screen, directory)
        try:
            _follow(screen, running, running.held() if fresh else {})
        except KeyboardInterrupt:
            say(screen, f"Stopped. Your policy stays in {directory}.")


def _guide(screen: Console, directory: Path) -> None:
    say(
        screen,
        f"The policy is in {directory}. In another terminal, for example:\n"
        "  vpnctl show peers\n"
        f"  vpnctl explain {NEW_ROUTE} --peer pe-c1\n"
        "  vpnctl extend E1 --site cloud2\n"
        "What the PEs receive then is shown here. Ctrl-C ends the network.",
    )
    screen.print()


def _follow(screen: Console, running: Stage, known: Mapping[str, set[Held]]) -> None:
    """Show every route that comes to a PE or goes from it; raises `ControllerError`."""
    while True:
        time.sleep(_POLL_S)
        running.check()
        held = running.held()
        for line in changes(known, held):
            screen.print(f"{time.strftime('%H:%M:%S')}  {line}", highlight=False)
        known = held


def changes(before: Mapping[str, set[Held]], after: Mapping[str, set[Held]]) -> list[str]:
    """A line for each route that is new at a PE (+), has other targets (~), or is gone (-)."""
    lines = []
    for name in after:
        old = {(route.prefix, route.rd): route for route in before.get(name, ())}
        new = {(route.prefix, route.rd): route for route in after[name]}
        for key in sorted(old.keys() | new.keys()):
            was, now = old.get(key), new.get(key)
            if was == now:
                continue
            shown = now or was
            assert shown is not None
            sign = "[green]+[/]" if was is None else "[red]-[/]" if now is None else "[yellow]~[/]"
            lines.append(
                f"{name}  {sign} {shown.prefix}  RD {shown.rd}  target {shown.targets}"
                f"  imported by {imported_by(shown)}"
            )
    return lines
