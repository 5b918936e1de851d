"""Real migration streams for the sidecar's benchmark: ``python -m lab.bench.capture DIR``.

Two guests of the same shape, software emulation, 256 MiB.  Each holds the same files (the page
cache: sources and libraries of this machine's Python), prose that both have, and regions of its
own: pages that are changed in place, pages that are written anew, random octets.  It goes on
working while it is migrated over a link that QEMU holds at a fixed rate, so that pages are sent
again and again; after a fixed number of passes it is stopped and the rest is sent.

What is written, about 350 MB each::

    first.stream  second.stream    what QEMU sent, octet by octet
    capture.json                   how they came about, and what is in them

The streams are not the same twice.  A benchmark compares ways of sending one and the same capture.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

from tests.support.guest_image import MissingError, build_image, kernel
from tests.support.qemu import Guest, Shape, find_qemu, qemu_version, recording, start_guest
from vpnctl.sidecar.stream.events import Pages
from vpnctl.sidecar.stream.parser import StreamParser


@dataclass(frozen=True)
class Plan:
    """How streams are made.

    ``files_mib``: files in each guest; ``bandwidth``: octets per second that QEMU may send;
    ``passes`` over the memory before the guest is stopped.
    """

    shape: Shape
    files_mib: int
    bandwidth: int
    passes: int


#: The link is one of 100 Mb/s, and the guest changes about as much as that carries.
FULL = Plan(
    Shape(
        ram_kib=256 * 1024 - 8,
        text=8,
        updates=40,
        rewrites=24,
        random=8,
        touch_updates=48,
        touch_rewrites=10,
        touch_random=2,
    ),
    files_mib=32,
    bandwidth=12_500_000,
    passes=5,
)
QUICK = Plan(
    replace(FULL.shape, ram_kib=96 * 1024 - 8, text=2, updates=8, rewrites=4, random=2),
    files_mib=4,
    bandwidth=60_000_000,
    passes=2,
)


@dataclass(frozen=True)
class Contents:
    """What is in a stream: octets, and records of pages by kind."""

    octets: int
    sha256: str
    full_pages: int
    filled_pages: int
    sent_again: int
    other_octets: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="where the streams go; 1 GB is needed")
    parser.add_argument("--quick", action="store_true", help="a small guest, two passes")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    arguments.directory.mkdir(parents=True, exist_ok=True)
    try:
        with Console(stderr=True).status("building the guests' image") as status:
            asyncio.run(capture(arguments.directory, plan, status))
    except MissingError as missing:
        raise SystemExit(f"error: {missing}") from None


async def capture(directory: Path, plan: Plan, status: Status) -> None:
    """Write the two streams and what they are."""
    described: dict[str, Any] = {
        "qemu": ".".join(str(part) for part in qemu_version(find_qemu())),
        "kernel": kernel().name,
        "files_mib": plan.files_mib,
        "bandwidth": plan.bandwidth,
        "passes": plan.passes,
        "streams": {},
    }
    with tempfile.TemporaryDirectory(prefix="vpnctl-capture-") as work:
        image = build_image(Path(work), dict(some_files(plan.files_mib << 20)))
        for seed, name in enumerate(("first", "second"), start=1):
            own = replace(plan.shape, seed=seed)
            out = directory / f"{name}.stream"
            async with start_guest(Path(work), kernel(), image, own, name=name) as guest:
                status.update(f"{name} guest: booting")
                await guest.line("ready")
                await record(guest, Path(work) / f"{name}.sock", out, plan, status)
            status.update(f"{name} guest: looking at what was sent")
            described["streams"][out.name] = {
                "shape": asdict(own),
                **asdict(contents_of(out)),
            }
    text = json.dumps(described, indent=2) + "\n"
    (directory / "capture.json").write_text(text)
    print(text, end="")


async def record(guest: Guest, socket: Path, out: Path, plan: Plan, status: Status) -> None:
    """One migration of ``guest`` into the file ``out``."""
    # Above 0 the guest is not stopped before it is told to; with 0 QEMU 7.2 stops at once.
    await guest.execute("migrate-set-parameters", max_bandwidth=plan.bandwidth, downtime_limit=1)
    with guest.qmp.listener("MIGRATION_PASS") as begun:
        async with recording(socket, out) as received:
            await guest.execute("migrate", uri=f"unix:{socket}")
            async for event in begun:
                number = event["data"]["pass"]
                status.update(f"{guest.name} guest: pass {number} of {plan.passes}")
                if number == plan.passes:
                    break
            await guest.execute("migrate-set-parameters", downtime_limit=2_000_000)
            outcome = await guest.migrated()
            if outcome != "completed":
                raise SystemExit(f"error: the migration {outcome}: see QEMU's log")
            await received


def some_files(octets: int) -> Iterator[tuple[str, Path]]:
    """Names and paths of files of this machine's Python, ``octets`` long together."""
    library = Path(sysconfig.get_path("stdlib"))
    found = sorted(
        [*library.rglob("*.py"), *library.rglob("*.so")], key=lambda path: (path.name, path)
    )
    total = 0
    # Every second one, so that they reach further into the alphabet.
    for number, path in enumerate(found[::2]):
        total += path.stat().st_size
        if total > octets:
            return
        yield f"{number:04}-{path.name[:32]}", path


def captures(directory: Path | None) -> tuple[Path, Path]:
    """The two streams, in ``directory`` or the user's cache; captured now if they are not there."""
    if directory is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        directory = cache / "vpnctl" / "captures"
    paths = directory / "first.stream", directory / "second.stream"
    if not all(path.exists() for path in paths):
        print(f"capturing streams into {directory} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "lab.bench.capture", str(directory)], check=True)
    return paths


def contents_of(path: Path) -> Contents:
    """Count what is in a stream."""
    parser, digest = StreamParser(), hashlib.sha256()
    sent: set[tuple[bytes, int]] = set()
    full = filled = again = other = size = 0
    with path.open("rb") as file:
        while octets := file.read(1 << 20):
            digest.update(octets)
            size += len(octets)
            for event in parser.feed(octets):
                if not isinstance(event, Pages):
                    other += event.size
                    continue
                full += len(event.contents)
                filled += len(event.fills)
                places = {(event.block, address) for address in event.addresses.tolist()}
                again += len(event.headers) - len(places - sent)
                sent |= places
    parser.finish()
    return Contents(size, digest.hexdigest(), full, filled, again, other)


if __name__ == "__main__":
    main()
