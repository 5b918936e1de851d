"""``vpnctl lab demo``: the paper's testbed, a stitch with packets, and nothing left."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import command
from vpnctl.cli.lab.naming import read, topology_file
from vpnctl.cli.lab.progress import steps
from vpnctl.cli.lab.signals import end_in_order
from vpnctl.cli.output import count


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "demo",
        examples=[("vpnctl lab demo", "with lab/cloudnet.clab.yml; under a minute")],
    )
    def demo(
        file: Annotated[
            Path, typer.Argument(help="The paper's testbed, or one with the same names.")
        ] = Path("lab/cloudnet.clab.yml"),
    ) -> None:
        """Watch a site join a VPN: real routers, a ping that gets through, and all taken down."""
        from vpnctl.cli.lab import picture
        from vpnctl.cli.lab.play import play
        from vpnctl.lab import lifecycle
        from vpnctl.lab.build import Source, up
        from vpnctl.lab.copying import copy_bound
        from vpnctl.lab.reading import read_topology

        ending = end_in_order()
        path = topology_file(file)
        text = read(path)
        # The controller edits the policy: a copy, so that yours stays as it is.
        with tempfile.TemporaryDirectory(prefix="vpnctl-lab-") as scratch:
            topology = read_topology(str(path), text.encode())
            copy_bound(topology, path.parent, Path(scratch))
            begun = time.monotonic()
            with steps(sys.stderr, ending) as tell:
                lab = up(Source(str(path), text, Path(scratch)), tell)
            try:
                ending.check()
                print(picture.text(lab.topology))
                nodes = count(len(lab.topology.nodes), "node")
                print(f"{nodes}, all sessions established after {time.monotonic() - begun:.1f} s")
                play(lab)
            finally:
                lifecycle.down(lab.name)
        print(f"{lab.name} is down, nothing is left of it")
