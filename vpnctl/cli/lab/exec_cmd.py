"""``vpnctl lab exec``: run a program at a node."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.lab.naming import LabOption, lab_name


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "exec",
        examples=[
            ("vpnctl lab exec e1-host -- ping -c 3 10.1.0.2", "ping from a host"),
            ("vpnctl lab exec pe-c1 -- vtysh -c 'show bgp summary'", "ask a router"),
            ("vpnctl lab exec pe-c1 -- bash", "look around"),
        ],
    )
    def run(
        node: Annotated[str, typer.Argument(help="The node.")],
        words: Annotated[
            list[str], typer.Argument(metavar="-- COMMAND...", help="The program, its arguments.")
        ],
        lab: LabOption = "",
    ) -> None:
        """Run a program at a node, with the node's files; ends with the program's exit code."""
        from vpnctl.lab import preflight
        from vpnctl.lab.lab import find

        preflight.need_root()
        shell = find(lab_name(lab)).shell(node)
        sys.stdout.flush()
        with shell.popen(words, stdin=None) as process:
            # Ctrl-C reaches the program as well, and it decides what that means.
            while True:
                try:
                    code = process.wait()
                    break
                except KeyboardInterrupt:
                    continue
        if code:
            raise typer.Exit(code if code > 0 else 128 - code)
