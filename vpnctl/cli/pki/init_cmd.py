"""``vpnctl pki init``: the authority."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.output import say


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "init",
        examples=[
            ("vpnctl pki init pki", "an authority in ./pki, for ten years"),
            ("vpnctl pki init pki --name 'Example sites' --days 730", "with a name, for two years"),
        ],
    )
    def init(
        directory: Annotated[Path, typer.Argument(help="Where to keep it; made when missing.")],
        name: Annotated[str, typer.Option(help="The authority's name.")] = "vpnctl sites",
        days: Annotated[int, typer.Option(help="How long its certificate holds.")] = 3650,
    ) -> None:
        """Make a certificate authority; nothing that exists is overwritten."""
        from datetime import UTC, datetime

        from vpnctl.cli.pki.options import lifetime
        from vpnctl.errors import UsageError
        from vpnctl.pki import store
        from vpnctl.pki.authority import new_authority

        if not 1 <= len(name) <= 64:
            raise UsageError("--name: 1 to 64 characters", hint="e.g. --name 'Example sites'")
        pair = new_authority(name, datetime.now(UTC), lifetime(days))
        store.make_directory(directory)
        for path in store.save(directory, store.AUTHORITY, pair):
            print(path)
        say(f"Next: vpnctl pki issue NAME --dir {directory}; whoever has ca.key can be any site")
