"""Two hundred faults while a guest moves: ``results/migrate_faults.json``.

``python -m lab.bench.migrate_faults [--count N] [--out FILE]``; takes root, nftables and QEMU.
``--only WORDS --times N`` goes through some of them again and again, and writes nothing.
``--newer``: machines on the newer QEMU of ``tests/guests/fetch``, struck while their disks follow
synchronously, ``results/migrate_faults_newer.json``; with ``--only``, those faults on it.

A guest with a disk writer and a client goes to and fro between two agents while agents, sidecars
and QEMUs are killed, the link is cut and moves are cancelled, at the moments of
``tests/migration/faults/matrix.py``.  After each of them the guest has to run at one site, with
every write that it told of on its disk, its connections open (unless it was killed itself), and
nothing heard from a second copy.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from lab.bench.sidecars import make_certificates
from tests.migration.faults.matrix import COUNT, Fault, matrix, named, synchronous
from tests.migration.faults.rig import Rig, rigged
from tests.support.guest_image import MissingError, build_image
from tests.support.qemu import find_newer_qemu
from vpnctl.cli.lab.signals import end_in_order

SUBJECT = "vpnctl"
#: Of each fault while disks follow synchronously.
SYNCHRONOUS_TIMES = 3


async def go_through(rig: Rig, faults: Sequence[Fault], wrong: list[str]) -> int:
    """How many it went through; it stops after one that the guest did not survive, which is added
    to ``wrong`` in words: what comes after would not be the same guest."""
    await rig.start()
    for count, fault in enumerate(faults, 1):
        begun = time.monotonic()
        try:
            await rig.try_fault(fault)
        except Exception as error:
            # Whatever it is, it counts against us.
            wrong.append(f"{fault}: {error!r}")
            print(f"WRONG  {wrong[-1]}", file=sys.stderr)
            return count
        print(f"{time.monotonic() - begun:5.1f} s  {fault}", file=sys.stderr)
    return len(faults)


def measure(faults: Sequence[Fault], qemu: str = "") -> list[Row]:
    """These, one after the other; ``qemu``: if not the installed one."""
    wrong: list[str] = []
    done, happened = 0, 0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vpnctl-bench-") as name:
        directory = Path(name)
        make_certificates(directory, "noc.test")
        image = build_image(directory)
        while done < len(faults):
            with rigged(image, directory, qemu=qemu) as rig:
                done += asyncio.run(go_through(rig, faults[done:], wrong))
                happened += rig.happened
    whose = collections.Counter(
        "agent at a step of the commit" if fault.step else str(fault.victim) for fault in faults
    )
    told = ", ".join(f"{many} x {who}" for who, many in sorted(whose.items()))
    note = (
        f"{told}; {happened} of them found what they strike, the others came when it was gone;"
        f" {time.monotonic() - begun:.0f} s"
    )
    return [
        Row("faults while a guest moves", SUBJECT, len(faults), "faults", note=note),
        Row(
            "a write lost, two copies running, or none, or a connection broken", SUBJECT,
            len(wrong), "faults", "<= 0", not wrong, "; ".join(wrong),
        ),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 where the guest did not survive, 2 where it cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.migrate_faults", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="faults (default: all of them)")
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    parser.add_argument("--only", metavar="WORDS", help="faults with these words in their line")
    parser.add_argument("--times", type=int, default=1, help="how often, with --only (default: 1)")
    parser.add_argument("--newer", action="store_true", help="machines on a newer QEMU")
    options = parser.parse_args(arguments)
    if options.only is not None:
        faults = named(options.only) * options.times
    else:
        faults = synchronous(SYNCHRONOUS_TIMES) if options.newer else matrix(options.count)
    if not faults:
        parser.error("there are no such faults; see tests/migration/faults/matrix.py")
    if os.geteuid() != 0 or shutil.which("nft") is None:
        print("error: this takes root, and nftables", file=sys.stderr)
        return 2
    end_in_order()
    began_at = commit()
    try:
        rows = measure(faults, find_newer_qemu() if options.newer else "")
    except MissingError as missed:
        print(f"error: {missed}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    command = shlex.join(["python", "-m", "lab.bench.migrate_faults", *(arguments or sys.argv[1:])])
    if options.only is None and (options.out or options.count == COUNT):
        name = f"migrate_faults{'_newer' * options.newer}.json"
        write(options.out or RESULTS / name, rows, command, began_at)
    print(
        grid(
            ["case", "by", "figure", "unit"],
            [[row.case, row.subject, number(row.figure), row.unit] for row in rows],
        )
    )
    return 1 if missing(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
