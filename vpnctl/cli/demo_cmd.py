"""``vpnctl demo``: the whole story on this machine."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import OTHER_PANEL, command

TERMINATED = 128 + signal.SIGTERM


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "demo",
        panel=OTHER_PANEL,
        examples=[
            ("vpnctl demo", "three PEs and two customers on loopback, under 30 seconds"),
            ("vpnctl demo --stay my-network", "the same network, to try commands on"),
        ],
    )
    def demo(
        ctx: typer.Context,
        stay_in: Annotated[
            Path | None,
            typer.Option(
                "--stay",
                metavar="DIR",
                help="Keep the network running with its policy in DIR, which is written if there"
                " is none, and show what the PEs receive, until Ctrl-C.",
            ),
        ] = None,
    ) -> None:
        """Watch real BGP peers receive rewritten routes; needs no root and leaves nothing."""
        from vpnctl.demo import run, stay

        # The daemons are ended by what happens on the way out, so go that way.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
        if stay_in is not None:
            stay(stay_in, ctx.obj.socket_to_serve())
            return
        code = run()
        if code:
            raise typer.Exit(code)
