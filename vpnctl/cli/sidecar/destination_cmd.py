"""``vpnctl sidecar destination``: beside the QEMU that a guest moves to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.output import Format, Output, say
from vpnctl.cli.sidecar.options import (
    PEER_PANEL,
    Keepalive,
    Metrics,
    Plain,
    Resume,
    SiteCacheDirectory,
    SiteCacheSize,
    check_times,
    site_of,
    tls_of,
)
from vpnctl.cli.sidecar.quantities import parse_size


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "destination",
        examples=[
            ("vpnctl sidecar destination --qemu b.sock --listen [::]:4789", "take a guest"),
            ("  ... --peer-name cloud1.example.net", "from that site"),
            ("  ... --site-cache /var/cache/vpnctl/site", "keep blocks"),
        ],
    )
    def destination(
        ctx: typer.Context,
        qemu: Annotated[
            Path, typer.Option(help="Unix socket of the QEMU started with -incoming unix:PATH.")
        ],
        listen: Annotated[
            str,
            typer.Option(
                metavar="ADDRESS:PORT",
                help="Where 'vpnctl sidecar source' connects to; port 0: any.",
                rich_help_panel=PEER_PANEL,
            ),
        ],
        peer_name: Annotated[
            str,
            typer.Option(help="Name in the source's certificate.", rich_help_panel=PEER_PANEL),
        ] = "",
        plain: Plain = False,
        resume: Resume = 60.0,
        keepalive: Keepalive = 3.0,
        memory: Annotated[
            str,
            typer.Option(
                metavar="SIZE", help="Refuse a source whose stages take more memory here."
            ),
        ] = "2G",
        site_cache: SiteCacheDirectory = None,
        site_size: SiteCacheSize = "8G",
        control: Annotated[
            Path | None, typer.Option(help="Unix socket for 'vpnctl sidecar status'.")
        ] = None,
        metrics: Metrics = "",
        output: Output = Format.TABLE,
    ) -> None:
        """Wait for one guest from the other site, give it to QEMU, and end when it was loaded."""
        import asyncio

        from vpnctl.cli.sidecar.running import supervise
        from vpnctl.sidecar.run.destination import DestinationSidecar
        from vpnctl.sidecar.run.settings import DestinationSettings
        from vpnctl.sidecar.wan.address import Address
        from vpnctl.sidecar.wan.lifeline import Limits

        check_times(resume=resume, keepalive=keepalive)
        settings = DestinationSettings(
            qemu=qemu,
            listen=Address.parse(listen),
            tls=tls_of(ctx.obj, plain, peer_name),
            limits=Limits(connect_s=None, resume_s=resume, keepalive_s=keepalive),
            memory=parse_size(memory),
            site=site_of(site_cache, site_size),
        )

        async def run() -> None:
            sidecar = DestinationSidecar(settings, notice=say)
            await supervise(
                sidecar,
                lambda: sidecar.run(lambda where: say(f"ready: listening on {where}")),
                control=control,
                metrics=Address.parse(metrics) if metrics else None,
                as_json=not output.for_people,
            )

        asyncio.run(run())
