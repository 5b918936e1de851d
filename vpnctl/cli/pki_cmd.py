"""``vpnctl pki``: certificates for the connections between sites."""

from __future__ import annotations

import typer

from vpnctl.cli.command import MIGRATION_PANEL, epilog
from vpnctl.cli.pki import init_cmd, issue_cmd, show_cmd


def add_to(app: typer.Typer) -> None:
    pki = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (init_cmd, issue_cmd, show_cmd):
        module.add_to(pki)
    app.add_typer(
        pki,
        name="pki",
        rich_help_panel=MIGRATION_PANEL,
        help="A small certificate authority for the connections between sites.",
        epilog=epilog(
            [
                ("vpnctl pki init pki", "make the authority"),
                ("vpnctl pki issue cloud1.example.net --dir pki", "a certificate for a site"),
                ("vpnctl pki show pki", "what there is, and how long it holds"),
            ]
        ),
    )
