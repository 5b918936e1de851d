"""``vpnctl pki issue``: a certificate and key for one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.output import say


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "issue",
        examples=[
            ("vpnctl pki issue cloud1.example.net --dir pki", "for one year"),
            (
                "vpnctl pki issue cloud1 --also 192.0.2.7 --dir pki",
                "that is reached by address, too",
            ),
        ],
    )
    def issue(
        name: Annotated[
            str, typer.Argument(help="The machine's DNS name or IP address; names the files.")
        ],
        directory: Annotated[Path, typer.Option("--dir", help="The authority's directory.")],
        also: Annotated[
            list[str] | None,
            typer.Option(help="Another name or address of the machine; may be repeated."),
        ] = None,
        days: Annotated[int, typer.Option(help="How long it holds.")] = 365,
    ) -> None:
        """Issue a certificate, to dial and to listen with; nothing that exists is overwritten."""
        from datetime import UTC, datetime

        from vpnctl.cli.pki.options import lifetime
        from vpnctl.errors import UsageError
        from vpnctl.pki import authority, store

        if name == store.AUTHORITY:
            raise UsageError(
                f"{name!r} is the authority's own name here", hint="choose another name"
            )
        signer = store.load(directory, store.AUTHORITY)
        pair = authority.issue(signer, [name, *(also or ())], datetime.now(UTC), lifetime(days))
        for path in store.save(directory, name, pair):
            print(path)
        say(f"Next: bring both, and {directory / 'ca.pem'}, to {name}; delete the key here")
