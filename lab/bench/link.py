"""Both sidecars as programs over TLS: streams, cuts, and a real guest that works while it moves.

``python -m lab.bench.link [--captures DIR] [--quick] [--only CASE] [--out FILE]``

In ``speed`` and ``cuts`` the QEMUs on both sides are made up: one writes a captured stream, or
noise, and the other one digests what comes.  ``guest_cuts``, ``slow`` and ``fast`` move a guest.
All of it shares the machine's cores, so that the speeds are those of the whole chain and not of one
end.  ``slow`` makes a WAN link in network namespaces and takes root.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import shlex
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.bench.capture import FULL, QUICK, some_files
from lab.bench.live import Journey, Sites, travelling
from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from lab.bench.sidecar import captures
from lab.bench.sidecars import last_progress, make_certificates, ready, sidecar
from lab.bench.wan import ADDRESSES, line, within
from tests.support.guest_image import build_image
from tests.support.qemu import Shape
from tests.support.relay import Relay, relayed
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.sidecar.wan.address import Address

OURS, BASELINE = "vpnctl", "zstd-long"
CASES = ("speed", "cuts", "guest_cuts", "slow", "fast")
CUTS = 1000
#: Journeys by each way, of which the median counts: when QEMU ends them is up to chance.
RUNS = 5
#: One way, in seconds, and what QEMU may send on the fast link, in octets per second.
SLOW = WanFigures(rate=100_000_000, delay=0.01)
FAST = 1_250_000_000
#: A guest without anything that repeats, which is never done with changing it.
RESTLESS = Shape(
    text=0,
    updates=0,
    rewrites=0,
    random=24,
    touch_updates=0,
    touch_rewrites=0,
    touch_random=300,
)
_LOADED = struct.pack("!HHI", 1, 4, 0)
_PIECE = 1 << 20


@dataclass(frozen=True)
class Stream:
    """What the source's QEMU writes: ``piece`` again and again, ``size`` octets in all."""

    piece: bytes
    size: int

    def __iter__(self) -> Iterator[memoryview]:
        view = memoryview(self.piece)
        left = self.size
        while left:
            for begin in range(0, len(view), _PIECE):
                part = view[begin : begin + min(_PIECE, left)]
                left -= len(part)
                yield part
                if not left:
                    return

    def digest(self) -> str:
        found = hashlib.blake2b()
        for part in self:
            found.update(part)
        return found.hexdigest()


@dataclass(frozen=True)
class Moved:
    """``digest``: of what the destination's QEMU got; ``wire``: octets that crossed the relay or
    were lost before it; ``cpu_s``: of both sidecars."""

    digest: str
    seconds: float
    wire: int
    cuts: int
    cpu_s: float


def incoming(listener: socket.socket, size: int, told: dict[str, str]) -> None:
    """The destination's QEMU, in a thread."""
    found, have, buffer = hashlib.blake2b(), 0, bytearray(_PIECE)
    accepted, _ = listener.accept()
    with accepted:
        while have < size and (count := accepted.recv_into(buffer)):
            found.update(memoryview(buffer)[:count])
            have += count
        if have == size:
            accepted.sendall(_LOADED)
    told["digest"] = found.hexdigest()


def outgoing(entry: Path, stream: Stream) -> None:
    """The source's QEMU, in a thread."""
    with socket.socket(socket.AF_UNIX) as qemu:
        qemu.connect(str(entry))
        for part in stream:
            qemu.sendall(part)
        while qemu.recv(1024):
            pass


async def move(stream: Stream, stages: str, cuts: Sequence[int]) -> Moved:
    """One migration."""
    with TemporaryDirectory(prefix="vpnctl-bench-") as name, socket.socket(socket.AF_UNIX) as qemu:
        directory = Path(name)
        make_certificates(directory)
        qemu.bind(f"{name}/in")
        qemu.listen(1)
        told: dict[str, str] = {}
        taking = threading.Thread(target=incoming, args=(qemu, stream.size, told))
        taking.start()
        began = os.times()
        async with AsyncExitStack() as held:
            destination = await sidecar(
                held, directory, "destination", "--qemu", f"{name}/in", "--listen", "127.0.0.1:0"
            )
            relay: Relay = await held.enter_async_context(
                relayed(Address.parse(await ready(destination)))
            )
            relay.cut_after(cuts)
            source = await sidecar(
                *(held, directory, "source", "--qemu", f"{name}/out"),
                *("--connect", str(relay.address), "--stages", stages, "--no-adapt"),
            )
            await ready(source)
            begun = time.monotonic()
            sending = asyncio.create_task(asyncio.to_thread(outgoing, directory / "out", stream))
            progress, _ = await asyncio.gather(last_progress(source), last_progress(destination))
            seconds = time.monotonic() - begun
            await sending
            taking.join()
            ended = os.times()
            wire = relay.taken
        spent = ended.children_user + ended.children_system
        spent -= began.children_user + began.children_system
        return Moved(told["digest"], seconds, wire, int(str(progress["cuts"])), spent)


class Bench:
    """The cases."""

    def __init__(self, captured: Path, quick: bool, say: Callable[[str], None]) -> None:
        self.captured = Stream(captured.read_bytes(), captured.stat().st_size)
        self.quick, self.say = quick, say
        self.rows: list[Row] = []

    def speed(self) -> None:
        """A captured stream through the whole chain, without cuts."""
        expected = self.captured.digest()
        for stages in ("all", "zstd", "none"):
            self.say(f"speed: {stages}")
            moved = asyncio.run(move(self.captured, stages, ()))
            extra = {
                "content": "verified" if moved.digest == expected else "wrong",
                "wire": moved.wire,
                "cpu_s": round(moved.cpu_s, 2),
            }
            rate = self.captured.size / moved.seconds / 1e6
            note = "two sidecars, two made-up QEMUs and the relay share the cores"
            self.rows.append(Row(f"chain/{stages}", OURS, rate, "MB/s", note=note, extra=extra))

    def cuts(self) -> None:
        """Noise, so that nothing makes it small, with and without cuts."""
        count, size = (20, 80_000_000) if self.quick else (CUTS, 4_000_000_000)
        noise = Stream(random.Random(1).randbytes(64 * _PIECE), size)
        expected = noise.digest()
        where = sorted(random.Random(2).sample(range(100_000, size - size // 20), count))
        found = {}
        for cuts in ((), where):
            self.say(f"cuts: {len(cuts)}")
            found[len(cuts)] = asyncio.run(move(noise, "none", cuts))
        cut, whole = found[count], found[0]
        right = {cut.digest, whole.digest} == {expected} and cut.cuts == count
        growth = 100 * (cut.wire - whole.wire) / whole.wire
        self.rows.append(
            Row(
                f"{count} random cuts in {size / 1e6:.0f} MB/growth of what was sent",
                OURS,
                growth,
                "%",
                "" if self.quick else "<= 2",
                None if self.quick else right and growth <= 2,
                "handshakes and what was under way included; the link holds 64 KiB",
                extra={
                    "content": "verified" if right else "wrong",
                    "wire": cut.wire,
                    "seconds": round(cut.seconds, 1),
                    "seconds without cuts": round(whole.seconds, 1),
                },
            )
        )

    def guest_cuts(self) -> None:
        """A guest whose connection is cut all the time."""
        count, size = (20, 20_000_000) if self.quick else (CUTS, 250_000_000)
        where = sorted(random.Random(3).sample(range(100_000, size), count))
        self.say(f"guest_cuts: {count}")
        found = asyncio.run(self._guest_cuts(where))
        self.rows.append(
            Row(
                "cuts that a guest's memory survived in one migration",
                OURS,
                found.cuts,
                "cuts",
                "" if self.quick else f">= {CUTS}",
                None if self.quick else found.cuts >= CUTS,
                f"a guest that changes its memory all the while, and has checked each page after"
                f" {found.guest / 1e6:.0f} MB; so close to each other, cuts cost"
                f" {100 * (found.relayed / found.guest - 1):.0f} % more octets",
                extra={"content": "verified", "seconds": round(found.total_s, 1)},
            )
        )

    async def _guest_cuts(self, where: Sequence[int]) -> Journey:
        with TemporaryDirectory(prefix="vpnctl-bench-") as name:
            async with travelling(build_image(Path(name)), RESTLESS) as guest:
                return await guest.move_over_cuts(where)

    def slow(self) -> None:
        """A busy guest over a slow link, beside compression alone."""
        if os.geteuid() != 0:
            self.say("slow: left out, network namespaces take root")
            return
        with line(SLOW, seconds=1) as wan:
            sites = Sites(within(wan.here), within(wan.there), ADDRESSES[1])
            ours, baseline = asyncio.run(
                self._in_turn("slow", [(), ("--stages", "zstd", "--no-adapt")], sites, 0)
            )
        case = "busy guest, 100 Mb/s, 20 ms"
        note = "medians; the link is emulated, its round trip takes 20 ms"
        for subject, found in ((OURS, ours), (BASELINE, baseline)):
            self._row(f"{case}/total", subject, [one.total_s for one in found], "s", note=note)
            pauses = [1000 * one.pause_s for one in found]
            mark = 300.0 if subject == OURS else None
            self._row(f"{case}/pause", subject, pauses, "ms", mark, note=note)
            wires = [one.wire / 1e6 for one in found]
            self._row(f"{case}/sent", subject, wires, "MB")
        note = "of medians"
        for what, figure in (("total", _total), ("pause", _pause)):
            ratio = figure(ours) / figure(baseline)
            self._row(f"{case}/{what}, ratio to {BASELINE}", OURS, [ratio], "x", 1.0, note=note)

    def fast(self) -> None:
        """A busy guest over a link that QEMU alone could not fill."""
        alone, ours = asyncio.run(self._in_turn("fast", [None, ()], Sites(), FAST))
        case = "busy guest, 10 Gb/s"
        for subject, found in (("QEMU", alone), (OURS, ours)):
            self._row(f"{case}/total", subject, [one.total_s for one in found], "s")
            self._row(f"{case}/pause", subject, [1000 * one.pause_s for one in found], "ms")
        note = (
            "of medians; two QEMUs, of which one emulates a processor, and both sidecars share the"
            " cores"
        )
        ratio = _total(ours) / _total(alone)
        self._row(f"{case}/total, ratio to QEMU", OURS, [ratio], "x", 1.05, note=note)

    async def _in_turn(
        self, case: str, ways: Sequence[Sequence[str] | None], sites: Sites, bandwidth: int
    ) -> list[list[Journey]]:
        """Journeys of one guest by each way, `RUNS` of them."""
        found: list[list[Journey]] = [[] for _ in ways]
        plan = QUICK if self.quick else FULL
        with TemporaryDirectory(prefix="vpnctl-bench-") as name:
            image = build_image(Path(name), dict(some_files(plan.files_mib << 20)))
            self.say(f"{case}: a guest boots")
            async with travelling(image, plan.shape) as guest:
                for number_of_run in range(1 if self.quick else RUNS):
                    for way, journeys in zip(ways, found, strict=True):
                        name = "QEMU alone" if way is None else " ".join(way) or "all stages"
                        self.say(f"{case}: journey {number_of_run + 1}, {name}")
                        journeys.append(await guest.move(way, sites, bandwidth))
        return found

    def _row(
        self,
        case: str,
        subject: str,
        runs: list[float],
        unit: str,
        mark: float | None = None,
        note: str = "",
    ) -> None:
        """The median of ``runs``, to be ``mark`` at most."""
        figure = statistics.median(runs)
        marked = mark is not None and not self.quick
        self.rows.append(
            Row(
                *(case, subject, figure, unit),
                f"<= {mark:g}" if marked else "",
                figure <= mark if marked and mark is not None else None,
                note,
                runs,
                extra={"content": "verified"},
            )
        )


def _total(found: Sequence[Journey]) -> float:
    return statistics.median(one.total_s for one in found)


def _pause(found: Sequence[Journey]) -> float:
    return statistics.median(one.pause_s for one in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 whatever was found."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.link", description=__doc__)
    parser.add_argument("--captures", type=Path, help="where the streams are, or will be")
    parser.add_argument("--quick", action="store_true", help="few cuts; writes nothing unless told")
    parser.add_argument("--only", action="append", choices=CASES, help="may be repeated")
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    options = parser.parse_args(arguments)
    begun, began_at = time.monotonic(), commit()
    bench = Bench(
        captures(options.captures)[0],
        options.quick,
        say=lambda text: print(f"[{time.monotonic() - begun:4.0f} s] {text}", file=sys.stderr),
    )
    for case in options.only or CASES:
        getattr(bench, case)()
    command = shlex.join(["python", "-m", "lab.bench.link", *(arguments or sys.argv[1:])])
    if options.out or not (options.quick or options.only):
        write(options.out or RESULTS / "link.json", bench.rows, command, began_at)
    print(
        grid(
            ["case", "subject", "figure", "unit", "mark"],
            [
                [
                    row.case,
                    row.subject,
                    number(row.figure),
                    row.unit,
                    f"{row.mark} {'ok' if row.holds else 'MISSED'}" if row.mark else "",
                ]
                for row in bench.rows
            ],
        )
    )
    print(f"\n{time.monotonic() - begun:.0f} s, {len(missing(bench.rows))} rows miss their mark")
    return 0


if __name__ == "__main__":
    sys.exit(main())
