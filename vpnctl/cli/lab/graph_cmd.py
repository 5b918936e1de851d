"""``vpnctl lab graph``: a picture of a topology, as SVG or in the terminal."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.lab.naming import read, topology_file
from vpnctl.cli.output import say
from vpnctl.errors import UsageError


class Kind(StrEnum):
    """How a topology is drawn."""

    TEXT = "text"
    SVG = "svg"


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "graph",
        examples=[
            ("vpnctl lab graph lab/cloudnet.clab.yml", "in the terminal"),
            ("vpnctl lab graph lab/cloudnet.clab.yml --out lab.svg", "as a picture"),
        ],
    )
    def graph(
        file: Annotated[
            Path | None, typer.Argument(help="A topology file, or a directory with one.")
        ] = None,
        kind: Annotated[
            Kind | None, typer.Option("--format", "-f", help="Default: svg with --out, else text.")
        ] = None,
        out: Annotated[Path | None, typer.Option("--out", help="Write to this file.")] = None,
    ) -> None:
        """Check a topology and draw it; needs neither root nor a running lab."""
        from vpnctl.cli.lab import picture
        from vpnctl.lab.reading import read_topology

        path = topology_file(file)
        topology = read_topology(os.fspath(path), read(path).encode())
        chosen = kind or (Kind.SVG if out is not None else Kind.TEXT)
        text = picture.svg(topology) if chosen is Kind.SVG else picture.text(topology)
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
