"""``vpnctl lab up``: build a lab until its sessions are established."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.lab.naming import read, topology_file
from vpnctl.cli.lab.progress import steps
from vpnctl.cli.lab.signals import end_in_order
from vpnctl.cli.output import count, say


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "up",
        examples=[
            ("vpnctl lab up lab/cloudnet.clab.yml", "build it"),
            ("vpnctl lab up", "the only *.clab.yml of this directory"),
        ],
    )
    def up(
        file: Annotated[
            Path | None, typer.Argument(help="A topology file, or a directory with one.")
        ] = None,
    ) -> None:
        """Build a lab: namespaces, links, routers; ends when every session is established.

        Ctrl-C takes down again what was built.
        """
        from vpnctl.lab import lifecycle
        from vpnctl.lab.build import Source
        from vpnctl.lab.build import up as build

        ending = end_in_order()
        path = topology_file(file)
        source = Source(os.fspath(path), read(path), path.parent)
        begun = time.monotonic()
        with steps(sys.stderr, ending) as tell:
            lab = build(source, tell, leave_silent=True)
        if ending.asked:
            lifecycle.down(lab.name)
            ending.check()
        say(
            f"{lab.name} is up after {time.monotonic() - begun:.1f} s:"
            f" {count(len(lab.topology.nodes), 'node')}, {count(len(lab.topology.links), 'link')}"
        )
        for ignored in lab.topology.ignored:
            say(f"  not heeded: {ignored}")
        for name, socket in lab.controller_sockets().items():
            say(f"  {name}: export VPNCTL_SOCKET={socket}")
        say("  next: vpnctl lab inspect; vpnctl lab exec NODE -- COMMAND; vpnctl lab down")
