"""``vpnctl watch``: what happens, as it happens."""

from __future__ import annotations

import json
import sys

import typer

from vpnctl.api.errors import SCHEMA
from vpnctl.cli.client import Client
from vpnctl.cli.command import LOOK_PANEL, command
from vpnctl.cli.decode import decode
from vpnctl.cli.output import Format, Output, paint, say
from vpnctl.controller.views import Event
from vpnctl.errors import ControllerError


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "watch",
        panel=LOOK_PANEL,
        examples=[
            ("vpnctl watch", "lines on a terminal, one JSON object a line elsewhere"),
            ("vpnctl watch | jq 'select(.event.kind == \"session\")'", "sessions only"),
        ],
    )
    def watch(ctx: typer.Context, output: Output = Format.TABLE) -> None:
        """Sessions, revisions and errors as they happen, until Ctrl-C or the controller's end."""
        for_people = output.for_people and sys.stdout.isatty()
        events = Client(ctx.obj).events()
        if for_people:
            say("watching; Ctrl-C ends it")
        for answer in events:
            if for_people:
                event = decode(Event, answer)
                time = event.at.partition("T")[2].rstrip("Z")
                kind = paint(event.kind.ljust(8), "red" if event.kind == "error" else "bold")
                print(f"{time}  {kind}  {event.subject.ljust(12)}  {event.message}", flush=True)
            else:
                print(json.dumps({"schema": SCHEMA, "event": answer}), flush=True)
        raise ControllerError("the controller ended", hint="its log says why")
