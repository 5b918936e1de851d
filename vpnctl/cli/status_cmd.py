"""``vpnctl status``: the controller itself."""

from __future__ import annotations

import typer

from vpnctl.cli.client import Client
from vpnctl.cli.command import CONTROLLER_PANEL, command
from vpnctl.cli.decode import decode
from vpnctl.cli.output import Format, Output, paint, print_document
from vpnctl.controller.views import Status


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "status",
        panel=CONTROLLER_PANEL,
        examples=[("vpnctl status", "is it there, and is anything wrong")],
    )
    def status(ctx: typer.Context, output: Output = Format.TABLE) -> None:
        """The controller: revision, peers, routes, and what is wrong."""
        answer = Client(ctx.obj).get("status")["status"]
        if not output.for_people:
            print_document({"status": answer}, output)
            return
        found = decode(Status, answer)
        for name, value in _rows(found):
            print(f"{name.ljust(10)}  {value}")
        for problem in found.problems:
            print(f"{paint('problem', 'red')}     {problem}")


def _rows(status: Status) -> list[tuple[str, str]]:
    revision = "none yet" if status.revision is None else str(status.revision)
    if status.unconfirmed is not None:
        revision += f", unconfirmed: undone at {status.confirm_by} unless 'vpnctl confirm' is run"
    policies = status.policies
    if status.policies_differ:
        policies += ", edited since: see 'vpnctl plan'"
    return [
        ("version", status.version),
        ("revision", revision),
        ("policies", policies),
        ("peers", f"{status.peers_established} of {status.peers_configured} established"),
        ("routes", str(status.routes)),
        ("listening", ", ".join(status.listening) or "-"),
        ("sessions", _kept(status.sessions_kept_s)),
    ]


def _kept(seconds: float) -> str:
    return f"outlive the controller by {seconds:g} s" if seconds else "end with the controller"
