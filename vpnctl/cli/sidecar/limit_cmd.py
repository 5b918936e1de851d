"""``vpnctl sidecar limit``: another bandwidth limit, while the guest moves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.output import say
from vpnctl.cli.sidecar.quantities import parse_rate


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "limit",
        examples=[
            ("vpnctl sidecar limit a.sock.control 50M", "no more than 50 Mb/s from now on"),
            ("vpnctl sidecar limit a.sock.control none", "as fast as the link is"),
        ],
    )
    def limit(
        control: Annotated[Path, typer.Argument(help="The sidecar's control socket.")],
        rate: Annotated[
            str, typer.Argument(help="Bits per second: 500k, 100M, 2.5G, none for no limit.")
        ],
    ) -> None:
        """Change how much a running sidecar sends."""
        from vpnctl.sidecar.run.control import ask, check_rate

        wanted = check_rate(parse_rate(rate))
        ask(control, {"command": "limit", "rate": wanted})
        say("no limit" if wanted is None else f"limited to {rate}b/s")
