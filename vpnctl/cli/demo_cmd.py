"""``vpnctl demo``: the whole story on this machine."""

from __future__ import annotations

import typer

from vpnctl.cli.command import OTHER_PANEL, command


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "demo",
        panel=OTHER_PANEL,
        examples=[("vpnctl demo", "three PEs and two customers on loopback, under 30 seconds")],
    )
    def demo() -> None:
        """Watch real BGP peers receive rewritten routes; needs no root and leaves nothing."""
        from vpnctl.demo import run

        code = run()
        if code:
            raise typer.Exit(code)
