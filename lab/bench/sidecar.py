"""A guest's memory made small, beside zstd and QEMU, on real captured streams.

``python -m lab.bench.sidecar [--captures DIR] [--quick] [--only CASE] [--runs N] [--out FILE]``

Without ``--captures``, streams are captured once (`lab.bench.capture`) and kept in the user's cache
directory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab.bench.codec import (
    Run,
    encode_and_decode,
    encode_in_two_threads,
    measured,
    multifd_size,
    soak,
    zstd_long,
)
from lab.bench.rows import number
from lab.bench.sidecar_rows import OURS, Rows, run
from vpnctl.sidecar.elimination import Options
from vpnctl.sidecar.elimination.kernel import NAME as KERNEL

MIB = 1 << 20
BASELINE, QEMU, MULTIFD = "zstd -1 --long=27", "QEMU", "multifd-zstd"
CASES = ("bytes", "stages", "speed", "memory")
COLD = replace(Options(), site=True)
#: One of zstd's levels for a link that is much slower than the processor.
HIGH_LEVEL = 15
SOAK = 10_000 * MIB
#: What a sidecar may use besides `Options.memory`, and how much of that.
MEMORY_FACTOR, MEMORY_REST = 1.2, 100e6


class Bench:
    """The cases; ``first`` and ``second``: captured streams of two guests."""

    def __init__(self, first: Path, second: Path, runs: int, say: Callable[[str], None]) -> None:
        self.first, self.second, self.runs, self.say = first, second, runs, say
        self.rows = Rows()

    def row(
        self, case: str, subject: str, figure: float, unit: str, mark: str = "", **more: Any
    ) -> None:
        self.rows.add(case, subject, figure, unit, mark, kernel=KERNEL, **more)

    def bytes(self) -> None:
        """All stages against what others make of the same stream."""
        with TemporaryDirectory(prefix="vpnctl-bench-") as directory:
            for guest, path, caches in (
                ("first guest, cold cache", self.first, "cold"),
                ("second guest, warm cache", self.second, "warm"),
            ):
                self.say(f"bytes: {guest}")
                stream = path.stat().st_size
                ours = measured(encode_and_decode, path, COLD, Path(directory))
                baseline = zstd_long(path)
                multifd = measured(multifd_size, path)
                note = (
                    "computed from the capture as QEMU's code does it: each of 2 channels one zstd"
                    " stream of level 1, flushed every 128 pages"
                )
                self.row(f"bytes/{guest}", OURS, ours.wire / 1e6, "MB", stages=ours.stages)
                self.row(f"bytes/{guest}", BASELINE, baseline / 1e6, "MB")
                self.row(f"bytes/{guest}", MULTIFD, multifd / 1e6, "MB", note=note)
                self.row(f"bytes/{guest}", QEMU, stream / 1e6, "MB")
                mark = "<= 0.97" if caches == "cold" else "<= 0.75"
                self.row(f"ratio to {BASELINE}/{guest}", OURS, ours.wire / baseline, "x", mark)
                if caches == "cold":
                    self.row(f"ratio to {QEMU}/{guest}", OURS, ours.wire / stream, "x", "<= 0.25")
                    self.row(
                        f"ratio to {MULTIFD}/{guest}", OURS, ours.wire / multifd, "x", "<= 0.6"
                    )
                    self._high_level(guest, multifd)

    def _high_level(self, guest: str, multifd: int) -> None:
        """What `--level` can do for a link that leaves the processor time for it."""
        guest = f"{guest}, level {HIGH_LEVEL}"
        self.say(f"bytes: {guest}")
        with TemporaryDirectory(prefix="vpnctl-bench-") as directory:
            options = replace(COLD, level=HIGH_LEVEL)
            ours = measured(encode_and_decode, self.first, options, Path(directory))
        link = 8 * ours.encoded * ours.wire / self.first.stat().st_size
        note = (
            f"one core makes {number(ours.encoded)} MB/s of the stream so small, enough for a link"
            f" of {number(link)} Mb/s"
        )
        self.row(f"bytes/{guest}", OURS, ours.wire / 1e6, "MB", note=note)
        self.row(f"ratio to {MULTIFD}/{guest}", OURS, ours.wire / multifd, "x")

    def stages(self) -> None:
        """Each stage on its own, then together; bytes and what each saved."""
        alone = replace(
            Options(), delta=False, content=False, site=False, text=False, compress=False
        )
        ways = {
            "delta": replace(alone, delta=True),
            **{
                f"content, {blocks} blocks": replace(alone, content=True, sub_blocks=blocks)
                for blocks in (1, 4, 16)
            },
            "delta, content": replace(alone, delta=True, content=True),
            "zstd-long": Options.zstd_long(),
            "delta, zstd level 1": replace(alone, delta=True, compress=True, level=1),
            "delta, zstd": replace(alone, delta=True, compress=True),
            "text, zstd": replace(alone, text=True, compress=True),
            "delta, content, zstd": replace(alone, delta=True, content=True, compress=True),
            "delta, content, text, zstd": replace(Options(), site=False),
        }
        for name, options in ways.items():
            self.say(f"stages: {name}")
            run = measured(encode_and_decode, self.first, options, None)
            self.row(f"stages/{name}", OURS, run.wire / 1e6, "MB", stages=run.stages)
        for blocks in (1, 4, 16):
            name = f"all, warm, {blocks} blocks"
            self.say(f"stages: {name}")
            with TemporaryDirectory(prefix="vpnctl-bench-") as directory:
                options = replace(COLD, sub_blocks=blocks)
                measured(encode_and_decode, self.first, options, Path(directory))
                run = measured(encode_and_decode, self.second, options, Path(directory))
            self.row(f"stages/{name}", OURS, run.wire / 1e6, "MB", stages=run.stages)

    def speed(self) -> None:
        """Octets of the stream a second; the best of some runs, all ways in turn."""
        ways = {"all": COLD, "zstd-long": Options.zstd_long(), "none": Options.pass_through()}
        found: dict[str, list[Run]] = {name: [] for name in ways}
        tool: list[float] = []
        piped: list[float] = []
        for number_of_run in range(self.runs):
            self.say(f"speed: run {number_of_run + 1} of {self.runs}")
            for name, options in ways.items():
                with TemporaryDirectory(prefix="vpnctl-bench-") as directory:
                    site = Path(directory) if options.site else None
                    found[name].append(measured(encode_and_decode, self.first, options, site))
            with TemporaryDirectory(prefix="vpnctl-bench-") as directory:
                wire, rate = measured(encode_in_two_threads, self.first, COLD, Path(directory))
            if wire != found["all"][-1].wire:
                raise RuntimeError("two threads make something else of the stream than one")
            piped.append(rate)
            begun = os.times()
            zstd_long(self.first)
            ended = os.times()
            spent = ended.children_user + ended.children_system
            spent -= begun.children_user + begun.children_system
            tool.append(self.first.stat().st_size / spent / 1e6)
        note = "octets of the stream for each second of processor time, in one thread"
        for name, mark in (("all", ">= 300"), ("zstd-long", ""), ("none", ">= 1500")):
            encoder = max(run.encoded for run in found[name])
            self.row(f"encoder/{name}", OURS, encoder, "MB/s", mark, note=note)
            # With no stage at all a decoder hands on what it was given.
            if name != "none":
                decoder = max(run.decoded for run in found[name])
                at_least = f">= {encoder:.0f}" if mark else ""
                self.row(f"decoder/{name}", OURS, decoder, "MB/s", at_least, note=note)
        self.row("encoder/zstd-long", BASELINE, max(tool), "MB/s", note="the command line tool")
        note = "octets of the stream a second"
        self.row("encoder, two threads/all", OURS, max(piped), "MB/s", ">= 450", note=note)

    def memory(self) -> None:
        """Both sidecars' memory over a long stream."""
        self.say(f"memory: a stream of {SOAK / 1e9:.0f} GB")
        limit = (MEMORY_FACTOR * COLD.memory + MEMORY_REST) / 1e6
        for side, samples in soak(self.first, COLD, SOAK).items():
            early, late = samples
            note = f"peak RSS after {SOAK / 1e9:.0f} GB; configured are {COLD.memory / 1e6:.0f} MB"
            self.row(f"memory/{side}", OURS, late, "MB", f"<= {limit:.0f}", note=note)
            self.row(f"memory/{side}, growth in the second half", OURS, late - early, "MB", "<= 16")


def main(arguments: Sequence[str] | None = None) -> int:
    """See `lab.bench.sidecar_rows.run`."""
    return run(
        *("sidecar", __doc__, CASES, ("bytes",)),
        lambda streams, options, say: Bench(*streams, runs=options.runs, say=say),
        arguments,
        lambda parser: parser.add_argument("--runs", type=int, default=5, help="of each speed"),
    )


if __name__ == "__main__":
    sys.exit(main())
