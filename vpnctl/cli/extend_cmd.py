"""``vpnctl extend`` and ``retract``: one site more or less, in the policy file itself."""

from __future__ import annotations

from typing import Annotated

import typer

from vpnctl.cli.change import Confirm, DryRun, Routes, TimelineSvg, Wait, Yes, change
from vpnctl.cli.client import Client
from vpnctl.cli.command import CHANGE_PANEL, command
from vpnctl.cli.completers import complete_site, complete_vpn
from vpnctl.cli.output import Format, Output
from vpnctl.controller.requests import PlanRequest

VpnArgument = Annotated[
    str, typer.Argument(metavar="VPN", help="The VPN.", autocompletion=complete_vpn)
]
SiteOption = Annotated[str, typer.Option("--site", help="The site.", autocompletion=complete_site)]


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "extend",
        panel=CHANGE_PANEL,
        examples=[
            ("vpnctl extend E1 --site cloud2", "show the plan, ask, do it"),
            ("vpnctl extend E1 --site cloud2 --dry-run", "only show it, at managed routers, too"),
            ("vpnctl extend E1 --site cloud2 --timeline-svg t.svg", "and draw what took how long"),
        ],
    )
    def extend(
        ctx: typer.Context,
        vpn: VpnArgument,
        site: SiteOption,
        confirm: Confirm = "",
        wait: Wait = "10s",
        dry_run: DryRun = False,
        routes: Routes = False,
        timeline_svg: TimelineSvg = None,
        yes: Yes = False,
        output: Output = Format.TABLE,
    ) -> None:
        """Add a site to a VPN; its policy file is edited in place, comments and order kept."""
        change(
            Client(ctx.obj),
            PlanRequest("extend", vpn=vpn, site=site),
            form=output,
            yes=yes,
            confirm=confirm,
            wait=wait,
            dry_run=dry_run,
            routes=routes,
            timeline_svg=timeline_svg,
        )

    @command(
        app,
        "retract",
        panel=CHANGE_PANEL,
        examples=[
            ("vpnctl retract E1 --site cloud2", "show the plan, ask, do it"),
            ("vpnctl retract E1 --site cloud2 --dry-run", "only show it"),
        ],
    )
    def retract(
        ctx: typer.Context,
        vpn: VpnArgument,
        site: SiteOption,
        confirm: Confirm = "",
        wait: Wait = "10s",
        dry_run: DryRun = False,
        routes: Routes = False,
        timeline_svg: TimelineSvg = None,
        yes: Yes = False,
        output: Output = Format.TABLE,
    ) -> None:
        """Take a site from a VPN; its policy file is edited in place, comments and order kept."""
        change(
            Client(ctx.obj),
            PlanRequest("retract", vpn=vpn, site=site),
            form=output,
            yes=yes,
            confirm=confirm,
            wait=wait,
            dry_run=dry_run,
            routes=routes,
            timeline_svg=timeline_svg,
        )
