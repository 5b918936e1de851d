"""``vpnctl sidecar``: a guest's memory over a slow WAN, by hand between two QEMUs."""

from __future__ import annotations

import typer

from vpnctl.cli.command import MIGRATION_PANEL, epilog
from vpnctl.cli.sidecar import destination_cmd, limit_cmd, source_cmd, status_cmd


def add_to(app: typer.Typer) -> None:
    sidecar = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (destination_cmd, source_cmd, limit_cmd, status_cmd):
        module.add_to(sidecar)
    app.add_typer(
        sidecar,
        name="sidecar",
        rich_help_panel=MIGRATION_PANEL,
        help="Move a QEMU guest's memory over a slow WAN, small and encrypted.",
        epilog=epilog(
            [
                ("vpnctl sidecar destination --help", "start here, where the guest moves to"),
                ("vpnctl sidecar source --help", "then where the guest is"),
                ("vpnctl sidecar limit a.sock.control 50M", "change the limit while it moves"),
            ]
        ),
    )
