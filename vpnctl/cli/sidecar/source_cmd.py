"""``vpnctl sidecar source``: beside the QEMU that a guest leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.output import Format, Output, say
from vpnctl.cli.sidecar.options import (
    KEEPALIVE_S,
    PEER_PANEL,
    RESUME_S,
    SITE_SIZE,
    STAGES_PANEL,
    Keepalive,
    Metrics,
    Plain,
    Reader,
    Resume,
    SiteCacheDirectory,
    SiteCacheSize,
    default_control,
    limits_of,
    metrics_of,
    migration_of,
    site_of,
    stages_of,
    tls_of,
)
from vpnctl.cli.sidecar.quantities import parse_rate, parse_size

if TYPE_CHECKING:
    from vpnctl.sidecar.elimination import Options


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
        resume: Resume = RESUME_S,
        keepalive: Keepalive = KEEPALIVE_S,
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
                help="delta,content,site,text,compress or some of them; all; zstd: compression"
                " alone; none.",
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
        site_size: SiteCacheSize = SITE_SIZE,
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
        level: Annotated[
            int, typer.Option(help="zstd's level, 1 to 19.", rich_help_panel=STAGES_PANEL)
        ] = 3,
        window: Annotated[
            int,
            typer.Option(
                help="zstd looks back 2 to the power of this octets, 17 to 27.",
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
        from vpnctl.cli.sidecar.running import run_until_ended, supervise
        from vpnctl.sidecar.elimination.options import MIB
        from vpnctl.sidecar.run.control import check_rate
        from vpnctl.sidecar.run.settings import SourceSettings
        from vpnctl.sidecar.run.source import SourceSidecar
        from vpnctl.sidecar.wan.address import Address

        def chosen() -> Options:
            return stages_of(
                stages,
                site_cache is not None,
                sub_blocks=sub_blocks,
                cache_size=memory,
                level=level,
                window_log=window,
            )

        read = Reader()
        peer = read(lambda: Address.parse(connect), "--connect")
        expected = peer_name or (peer.host if peer else connect)
        tls = read(lambda: tls_of(ctx.obj, plain, expected, peer))
        name = read(lambda: migration_of(migration))
        memory = read(lambda: parse_size(cache), "--cache", instead=MIB)
        options = read(chosen)
        site = read(lambda: site_of(site_cache, site_size), "--site-size")
        limits = read(lambda: limits_of(resume, keepalive, patient=False))
        rate = read(lambda: check_rate(parse_rate(limit)), "--limit")
        scraped_at = read(lambda: metrics_of(metrics), "--metrics")
        read.tell()
        settings = SourceSettings(
            qemu=qemu,
            peer=peer,
            tls=tls,
            migration=name,
            options=options,
            site=site,
            adaptive=adapt,
            limits=limits,
            rate=rate,
            qmp=qmp,
        )
        controlled_at = control or default_control(qemu)

        async def run() -> None:
            sidecar = SourceSidecar(settings, notice=say)
            await supervise(
                sidecar,
                lambda: sidecar.run(
                    lambda: say(
                        f"ready: the other site is there, QEMU may migrate to unix:{qemu};"
                        f" control at {controlled_at}"
                    )
                ),
                control=controlled_at,
                metrics=scraped_at,
                as_json=not output.for_people,
            )

        run_until_ended(run())
