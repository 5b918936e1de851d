"""``vpnctl graph``: pictures of VPNs and targets, from the controller or from a directory."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.client import Client
from vpnctl.cli.command import LOOK_PANEL, command
from vpnctl.cli.completers import complete_vpn
from vpnctl.cli.decode import decode_all
from vpnctl.cli.graphs.drawing import choose, draw_targets, draw_vpns
from vpnctl.cli.output import say
from vpnctl.controller.views import Vpn
from vpnctl.errors import UsageError


class Subject(StrEnum):
    """What is drawn."""

    VPN = "vpn"
    TARGETS = "targets"


class Kind(StrEnum):
    """How a drawing is written down."""

    SVG = "svg"
    MERMAID = "mermaid"
    DOT = "dot"


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "graph",
        panel=LOOK_PANEL,
        examples=[
            ("vpnctl graph vpn --out vpns.svg", "every VPN: which site hears which"),
            ("vpnctl graph targets E1 --out e1.svg", "which target of E1 is rewritten to which"),
            ("vpnctl graph vpn E1 --format mermaid", "to paste into Markdown"),
            ("vpnctl graph vpn --policies policies", "from the files, without a controller"),
        ],
    )
    def graph(
        ctx: typer.Context,
        subject: Annotated[Subject, typer.Argument(help="What to draw.")],
        name: Annotated[
            str | None,
            typer.Argument(
                metavar="VPN",
                help="Only this VPN and those it has an extranet with.",
                autocompletion=complete_vpn,
            ),
        ] = None,
        kind: Annotated[Kind, typer.Option("--format", "-f", help="What to write.")] = Kind.SVG,
        out: Annotated[Path | None, typer.Option("--out", help="Write to this file.")] = None,
        policies: Annotated[
            Path | None,
            typer.Option(
                "--policies", help="Read this directory instead of asking the controller."
            ),
        ] = None,
    ) -> None:
        """Draw who hears whom, or which route target becomes which."""
        if policies is None:
            vpns = decode_all(Vpn, Client(ctx.obj).get("vpns")["vpns"])
        else:
            vpns = _from_files(policies)
        chosen = choose(vpns, name)
        drawing = draw_vpns(chosen) if subject is Subject.VPN else draw_targets(chosen)
        if kind is Kind.SVG:
            from vpnctl.cli.graphs.svg import render
        elif kind is Kind.MERMAID:
            from vpnctl.cli.graphs.mermaid import render
        else:
            from vpnctl.cli.graphs.dot import render
        text = render(drawing)
        if out is None:
            print(text, end="")
            return
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{out} cannot be written: {error.strerror}", hint="choose another file with --out"
            ) from error
        say(f"wrote {out}")


def _from_files(directory: Path) -> tuple[Vpn, ...]:
    from vpnctl import policyfiles
    from vpnctl.controller.present import vpns
    from vpnctl.routing.rewrite import compile_rules
    from vpnctl.ruleset import load

    compiled = load(policyfiles.read(directory).files)
    return vpns(compile_rules(compiled.ruleset).rules)
