"""``vpnctl sidecar status``: how far a running sidecar is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vpnctl.cli.command import command
from vpnctl.cli.output import Format, Output, print_document


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "status",
        examples=[
            ("vpnctl sidecar status a.sock.control", "phase, octets, rates, cuts"),
            ("vpnctl sidecar status a.sock.control -o json", "for a program"),
        ],
    )
    def status(
        control: Annotated[Path, typer.Argument(help="The sidecar's control socket.")],
        output: Output = Format.TABLE,
    ) -> None:
        """Show how far a running sidecar is."""
        from vpnctl.sidecar.run.control import ask

        progress = ask(control, {"command": "status"})["progress"]
        if not output.for_people:
            print_document({"progress": progress}, output)
            return
        for name, value in _rows(progress):
            print(f"{name.ljust(10)}  {value}")


def _rows(progress: dict[str, Any]) -> list[tuple[str, str]]:
    from vpnctl.cli.sidecar.quantities import show_rate, show_seconds, show_size

    limit, eta = progress["limit"], progress["eta_s"]
    rows = [
        ("migration", f"{progress['migration'] or '-'} ({progress['role']})"),
        ("phase", progress["phase"]),
        ("guest", f"{show_size(progress['guest'])}, {show_rate(progress['guest_rate'])}"),
        ("wire", f"{show_size(progress['wire'])}, {show_rate(progress['wire_rate'])}"),
        ("limit", "none" if limit is None else show_rate(limit)),
        ("cuts", f"{progress['cuts']}, {show_size(progress['resent'])} sent again"),
        ("elapsed", show_seconds(progress["elapsed_s"])),
        ("ETA", "-" if eta is None else show_seconds(eta)),
    ]
    for stage, done in progress["stages"].items():
        rows.append((stage, f"saved {show_size(done['saved'])}, {done['hits']} of {done['tried']}"))
    return rows
