"""``vpnctl init``: a small network to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import POLICY_PANEL, command
from vpnctl.cli.output import say
from vpnctl.errors import UsageError


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "init",
        panel=POLICY_PANEL,
        examples=[("vpnctl init policies", "write a small network into ./policies")],
    )
    def init(
        directory: Annotated[Path, typer.Argument(help="Where to write; made when missing.")],
    ) -> None:
        """Write a small network to start from; nothing that exists is overwritten."""
        from vpnctl.ruleset.starter import starter_files

        files = {directory / name: text for name, text in starter_files().items()}
        try:
            there = [str(path) for path in files if path.exists()]
            if there:
                raise UsageError(
                    f"{', '.join(there)} exists already, nothing was written",
                    hint="choose another directory",
                )
            for path, text in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                print(path)
        except OSError as error:
            raise UsageError(
                f"{error.filename} cannot be written: {error.strerror}",
                hint="choose another directory",
            ) from error
        say(f"Next: vpnctl check {directory}; then vpnctl serve --policies {directory}")
