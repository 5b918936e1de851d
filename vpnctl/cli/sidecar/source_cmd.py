"""``vpnctl sidecar source``: beside the QEMU that a guest leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.output import Format, Output, say
from vpnctl.cli.sidecar.options import (
    PEER_PANEL,
    STAGES_PANEL,
    Keepalive,
    Metrics,
    Plain,
    Resume,
    SiteCacheDirectory,
    SiteCacheSize,
    check_times,
    default_control,
    site_of,
    stages_of,
    tls_of,
)
from vpnctl.cli.sidecar.quantities import parse_rate, parse_size


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "source",
        examples=[
            ("vpnctl sidecar source --qemu a.sock --connect cloud2:4789", "send a guest"),
            ("  ... --qmp a2.qmp", "ask QEMU first"),
            ("  ... --limit 100M --resume 300", "a slow, bad link"),
            ("  ... --stages zstd -o json", "for a program"),
        ],
    )
    def source(
        ctx: typer.Context,
        qemu: Annotated[
            Path, typer.Option(help="Unix socket to make; QEMU migrates to unix:PATH.")
        ],
        connect: Annotated[
            str,
            typer.Option(
                metavar="HOST:PORT",
                help="Where 'vpnctl sidecar destination' listens.",
                rich_help_panel=PEER_PANEL,
            ),
        ],
        peer_name: Annotated[
            str,
            typer.Option(
                help="Name in the destination's certificate.",
                show_default="HOST",
                rich_help_panel=PEER_PANEL,
            ),
        ] = "",
        plain: Plain = False,
        resume: Resume = 60.0,
        keepalive: Keepalive = 3.0,
        limit: Annotated[
            str,
            typer.Option(
                metavar="RATE",
                help="Send no more than so many bits per second: 500k, 100M, 2.5G, none.",
                rich_help_panel=PEER_PANEL,
            ),
        ] = "none",
        stages: Annotated[
            str,
            typer.Option(
                help="delta,content,site,compress or some of them; all; zstd: compression alone;"
                " none.",
                rich_help_panel=STAGES_PANEL,
            ),
        ] = "all",
        adapt: Annotated[
            bool,
            typer.Option(
                help="Do less while the link is faster than the processor.",
                rich_help_panel=STAGES_PANEL,
            ),
        ] = True,
        site_cache: SiteCacheDirectory = None,
        site_size: SiteCacheSize = "8G",
        sub_blocks: Annotated[
            int,
            typer.Option(
                help="Blocks per page for content and site: 1, 4 or 16.",
                rich_help_panel=STAGES_PANEL,
            ),
        ] = 4,
        cache: Annotated[
            str,
            typer.Option(
                metavar="SIZE",
                help="Memory for pages as they were sent last, at each site.",
                rich_help_panel=STAGES_PANEL,
            ),
        ] = "256M",
        level: Annotated[int, typer.Option(help="zstd's level.", rich_help_panel=STAGES_PANEL)] = 3,
        window: Annotated[
            int,
            typer.Option(
                help="zstd looks back 2 to the power of this octets.",
                rich_help_panel=STAGES_PANEL,
            ),
        ] = 27,
        migration: Annotated[
            str, typer.Option(help="A name for this migration.", show_default="random")
        ] = "",
        qmp: Annotated[
            Path | None,
            typer.Option(
                help="A QEMU monitor of our own: refuse what cannot pass before the guest is"
                " touched, and estimate what is left.",
            ),
        ] = None,
        control: Annotated[
            Path | None,
            typer.Option(
                help="Unix socket for 'vpnctl sidecar limit' and 'status'.",
                show_default="the --qemu socket's path with .control",
            ),
        ] = None,
        metrics: Metrics = "",
        output: Output = Format.TABLE,
    ) -> None:
        """Send the guest of the QEMU beside us to the other site, and end when it has arrived.

        A failure at any time before that leaves the guest running here.
        """
        import asyncio
        import secrets

        from vpnctl.cli.sidecar.running import supervise
        from vpnctl.errors import UsageError
        from vpnctl.sidecar.run.control import check_rate
        from vpnctl.sidecar.run.settings import SourceSettings
        from vpnctl.sidecar.run.source import SourceSidecar
        from vpnctl.sidecar.wan.address import Address
        from vpnctl.sidecar.wan.greeting import is_migration
        from vpnctl.sidecar.wan.lifeline import Limits

        check_times(resume=resume, keepalive=keepalive)
        peer = Address.parse(connect)
        name = migration or secrets.token_hex(8)
        if not is_migration(name):
            raise UsageError(
                f"--migration: {name!r} is no name",
                hint="1 to 64 letters, digits, dots, hyphens and underlines",
            )
        settings = SourceSettings(
            qemu=qemu,
            peer=peer,
            tls=tls_of(ctx.obj, plain, peer_name or peer.host),
            migration=name,
            options=stages_of(
                stages,
                site_cache is not None,
                sub_blocks=sub_blocks,
                cache_size=parse_size(cache),
                level=level,
                window_log=window,
            ),
            site=site_of(site_cache, site_size),
            adaptive=adapt,
            limits=Limits(resume_s=resume, keepalive_s=keepalive),
            rate=check_rate(parse_rate(limit)),
            qmp=qmp,
        )
        controlled_at = control or default_control(qemu)

        async def run() -> None:
            sidecar = SourceSidecar(settings)
            await supervise(
                sidecar,
                lambda: sidecar.run(
                    lambda: say(
                        f"ready: the other site is there, QEMU may migrate to unix:{qemu};"
                        f" control at {controlled_at}"
                    )
                ),
                control=controlled_at,
                metrics=Address.parse(metrics) if metrics else None,
                as_json=not output.for_people,
            )

        asyncio.run(run())
