"""``vpnctl migrate``: running machines from site to site."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from vpnctl.cli.command import MIGRATION_PANEL, epilog
from vpnctl.cli.migrate import (
    history_cmd,
    precheck_cmd,
    report_cmd,
    start_cmd,
    status_cmd,
    tell_cmd,
    watch_cmd,
)


class _StartUnlessSaid(TyperGroup):
    """``vpnctl migrate web1 --to cloud2`` means ``vpnctl migrate start web1 --to cloud2``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["start", *args]
        return super().parse_args(ctx, args)


def add_to(app: typer.Typer) -> None:
    migrate = typer.Typer(
        cls=_StartUnlessSaid,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (
        start_cmd,
        precheck_cmd,
        status_cmd,
        watch_cmd,
        tell_cmd,
        history_cmd,
        report_cmd,
    ):
        module.add_to(migrate)
    app.add_typer(
        migrate,
        name="migrate",
        rich_help_panel=MIGRATION_PANEL,
        help="Move running machines from site to site.",
        epilog=epilog(
            [
                ("vpnctl migrate web1 --to cloud2", "move a machine, and watch it"),
                ("vpnctl migrate --app shop --to cloud2", "all machines of an application"),
                ("vpnctl migrate limit web1 50M", "while it moves"),
                ("vpnctl migrate cancel web1", "it stays where it is"),
            ]
        ),
    )
