"""The demo, act by act."""

from __future__ import annotations

from rich.console import Console

from vpnctl.demo.pes import Held
from vpnctl.demo.screen import held_table, say
from vpnctl.demo.stage import Stage, scratch_directory, stage, write_policies
from vpnctl.demo.story import AFTER, BEFORE, NEW_ROUTE
from vpnctl.errors import ControllerError


def run(console: Console | None = None) -> int:
    """Play the demo; 0 when every PE received exactly what the policy says, else 1."""
    screen = console or Console()
    say(screen, "[bold]Starting[/] the controller and three PEs (ExaBGP) on loopback ...")
    with scratch_directory() as scratch:
        write_policies(scratch / "policies")
        try:
            with stage(scratch, scratch, "policies", scratch / "vpnctl.sock") as running:
                try:
                    _play(screen, running)
                except ControllerError:
                    screen.print(held_table("What the PEs hold", running.pes))
                    raise
        except ControllerError as error:
            say(screen, f"[red]FAILED[/] {error.message}")
            return 1
    say(
        screen,
        "E2 heard nothing of it: its VRFs import 65000:202 only, and hold what they held.\n"
        "[green]Every PE received exactly what the policy says.[/]\n"
        "Next: vpnctl demo --stay my-network, and change the policy yourself (README.md).",
    )
    return 0


def _play(screen: Console, running: Stage) -> None:
    """Raises `ControllerError` when the PEs do not come to hold what the policy says."""
    running.wait_for(BEFORE, "the routes of the first policy")
    say(
        screen,
        "E1 is at its headquarters and cloud1, E2 at its own and cloud2; both use\n"
        "10.1.0.0/24 and 10.2.0.0/24. Nobody hears E1's 10.3.0.0/24 in cloud2:",
    )
    screen.print(held_table("Before", running.pes))
    say(screen, f"[bold]$ vpnctl explain {NEW_ROUTE} --peer pe-c1[/]")
    running.daemon.command("explain", NEW_ROUTE, "--peer", "pe-c1")
    say(screen, "[bold]$ vpnctl extend E1 --site cloud2[/]")
    running.daemon.command("extend", "E1", "--site", "cloud2", "--yes")
    running.wait_for(AFTER, "the routes of the new policy")
    screen.print()
    fresh = {pe: AFTER[pe] - BEFORE[pe] for pe in AFTER}
    screen.print(held_table("After", running.pes, fresh))
    for name, held in running.held().items():
        if _of_e2(held) != _of_e2(BEFORE[name]):
            raise ControllerError(f"E2's VRF at {name} heard something: {_of_e2(held)}")


def _of_e2(routes: set[Held]) -> set[Held]:
    """The routes that E2's VRFs import."""
    return {route for route in routes if "65000:202" in route.targets.split()}
