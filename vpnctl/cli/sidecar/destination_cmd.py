"""``vpnctl sidecar destination``: beside the QEMU that a guest moves to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.output import Format, Output, say
from vpnctl.cli.sidecar.options import (
    KEEPALIVE_S,
    PEER_PANEL,
    RESUME_S,
    SITE_SIZE,
    Keepalive,
    Metrics,
    Plain,
    Reader,
    Resume,
    SiteCacheDirectory,
    SiteCacheSize,
    limits_of,
    metrics_of,
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
        resume: Resume = RESUME_S,
        keepalive: Keepalive = KEEPALIVE_S,
        memory: Annotated[
            str,
            typer.Option(
                metavar="SIZE", help="Refuse a source whose stages take more memory here."
            ),
        ] = "2G",
        site_cache: SiteCacheDirectory = None,
        site_size: SiteCacheSize = SITE_SIZE,
        control: Annotated[
            Path | None, typer.Option(help="Unix socket for 'vpnctl sidecar status'.")
        ] = None,
        metrics: Metrics = "",
        output: Output = Format.TABLE,
    ) -> None:
        """Wait for one guest from the other site, give it to QEMU, and end when it was loaded."""
        from vpnctl.cli.sidecar.running import run_until_ended, supervise
        from vpnctl.sidecar.run.destination import DestinationSidecar
        from vpnctl.sidecar.run.settings import DestinationSettings
        from vpnctl.sidecar.wan.address import Address

        read = Reader()
        where = read(lambda: Address.parse(listen), "--listen")
        tls = read(lambda: tls_of(ctx.obj, plain, peer_name, where))
        most = read(lambda: parse_size(memory), "--memory")
        site = read(lambda: site_of(site_cache, site_size), "--site-size")
        limits = read(lambda: limits_of(resume, keepalive, patient=True))
        scraped_at = read(lambda: metrics_of(metrics), "--metrics")
        read.tell()
        settings = DestinationSettings(
            qemu=qemu, listen=where, tls=tls, limits=limits, memory=most, site=site
        )

        async def run() -> None:
            sidecar = DestinationSidecar(settings, notice=say)
            await supervise(
                sidecar,
                lambda: sidecar.run(lambda where: say(f"ready: listening on {where}")),
                control=control,
                metrics=scraped_at,
                as_json=not output.for_people,
            )

        run_until_ended(run())
