"""``make migrate-demo``: a machine moves to another cloud and back while somebody talks to it.

``python -m lab.moving.demo [--svg FILE]``; takes root, FRR, QEMU and a kernel for the guest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab.moving.picture import bars, picture
from lab.moving.stage import ADDRESS, MIB, WEB1, Clouds, MoveError, clouds, disk_content, octets
from tests.support.guest_image import MissingError
from tests.support.records import RecordError
from tests.support.visitor import VisitError, Visitor
from tests.support.visitor_program import ANSWER, TICK
from vpnctl.cli.lab import picture as lab_picture
from vpnctl.cli.lab.signals import end_in_order
from vpnctl.errors import VpnctlError
from vpnctl.migration.agent.messages import MigrationView

_DISK = "web1.img"
_WRITES = 50


def play(stage: Clouds, svg: Path) -> None:
    """Start, move, move back, compare; raises what went wrong."""
    print(lab_picture.text(stage.lab.topology))
    stage.make_disk("cloud1", _DISK, disk_content(24 * MIB), 64 * MIB)
    print(f"\n$ vpnctl agent start web1.yaml --at cloud1     ({ADDRESS}, in VPN E1)")
    stage.start(WEB1, "cloud1")
    with stage.visiting() as visitor:
        visitor.wait_written(_WRITES)
        print("it runs; the client has two TCP connections with it, and it writes to its disk\n")
        ends = [_move(stage, visitor, *way) for way in (("cloud1", "cloud2"), ("cloud2", "cloud1"))]
        visitor.wait_written(_WRITES)
        stage.check_disks(_DISK, "cloud1", "cloud2", visitor.written())
        visitor.alive()
        first, back = (octets(end) for end in ends)
        print(
            f"both connections are those of the beginning; {visitor.written()} writes, none lost;"
            f" the disks are equal\n"
            f"the way back took {100 * back / first:.1f} % of the octets of the first"
        )
        svg.write_text(
            picture(
                "web1 moves to cloud2 and back", ends, visitor.heard(ANSWER), visitor.heard(TICK)
            )
        )
        print(f"picture: {svg}")


def _move(stage: Clouds, visitor: Visitor, here: str, there: str) -> MigrationView:
    print(f"$ vpnctl migrate {WEB1} --to {there}")
    begun = visitor.goes_on(time.time())
    (end,) = stage.migrate(WEB1, "--to", there)
    ended = visitor.goes_on(time.time())
    stage.check_disks(_DISK, there, here, visitor.written())
    print(bars(end))
    answers, lines = (1000 * visitor.longest_gap(kind, begun, ended) for kind in (ANSWER, TICK))
    pause = 1000 * ((end.resumed_at or 0) - (end.stopped_at or 0))
    print(
        f"  it stood still for {pause:.0f} ms; the client heard nothing for {lines:.0f} ms,"
        f" and no answer for {answers:.0f} ms\n"
        f"  {octets(end) / 1e6:.1f} MB sent: memory {end.wire / 1e6:.1f} for {end.guest / 1e6:.1f},"
        f" disk {end.disk_wire / 1e6:.1f} for {end.disk / 1e6:.1f}\n"
    )
    return end


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything held; 1 when not; 2 where it cannot be played."""
    parser = argparse.ArgumentParser(prog="python -m lab.moving.demo", description=__doc__)
    parser.add_argument(
        "--svg", type=Path, default=Path("migrate.svg"), help="the picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    end_in_order()
    begun = time.monotonic()
    try:
        with clouds() as stage:
            play(stage, options.svg)
    except MissingError as missing:
        print(f"error: {missing}", file=sys.stderr)
        return 2
    except VpnctlError as error:
        print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
        return 2
    except (MoveError, RecordError, VisitError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"the lab is down, nothing is left of it; {time.monotonic() - begun:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
