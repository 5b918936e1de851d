"""Both sidecars as programs over TLS: streams, cuts, and a real guest that works while it moves.

``python -m lab.bench.link [--captures DIR] [--quick] [--only CASE] [--out FILE]``

In ``speed`` and ``cuts`` the QEMUs on both sides are made up (`lab.bench.link_stream`);
``guest_cuts``, ``slow`` and ``fast`` move a guest.  All of it shares the machine's cores, so that
the speeds are those of the whole chain and not of one end.  ``slow`` makes a WAN link in network
namespaces and takes root.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.bench.capture import FULL, QUICK, some_files
from lab.bench.link_stream import Stream, move
from lab.bench.live import Alone, Journey, Sites, travelling
from lab.bench.sidecar_rows import OURS, Rows, run
from lab.bench.wan import ADDRESSES, line, within
from tests.support.guest_image import build_image
from tests.support.qemu import Shape
from vpnctl.lab.wan.figures import WanFigures

BASELINE = "zstd-long"
CASES = ("slow", "fast", "speed", "guest_cuts", "cuts")
CUTS = 1000
#: Journeys by each way, of which the median counts: when QEMU ends them is up to chance.
SLOW_RUNS, FAST_RUNS = 31, 9
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
_MB = 1_000_000


class Bench:
    """The cases."""

    def __init__(self, captured: Path, quick: bool, say: Callable[[str], None]) -> None:
        self.captured = Stream(captured.read_bytes(), captured.stat().st_size)
        self.quick, self.say = quick, say
        self.rows = Rows()

    def speed(self) -> None:
        """A captured stream through the whole chain, without cuts."""
        expected = self.captured.digest()
        note = "two sidecars, two made-up QEMUs and the relay share the cores"
        for stages in ("all", "zstd", "none"):
            self.say(f"speed: {stages}")
            moved = asyncio.run(move(self.captured, stages, ()))
            self.rows.add(
                *(f"chain/{stages}", OURS, self.captured.size / moved.seconds / 1e6, "MB/s"),
                note=note,
                content="verified" if moved.digest == expected else "wrong",
                wire=moved.wire,
                cpu_s=round(moved.cpu_s, 2),
            )

    def cuts(self) -> None:
        """Noise, so that nothing makes it small, with and without cuts."""
        count, size = (20, 80 * _MB) if self.quick else (CUTS, 4000 * _MB)
        piece = random.Random(1).randbytes(64 << 20)
        # What each octet costs without cuts is the same however many there are.
        whole, cut = Stream(piece, size // 4), Stream(piece, size)
        where = sorted(random.Random(2).sample(range(100_000, size - size // 20), count))
        self.say("cuts: none")
        calm = asyncio.run(move(whole, "none", ()))
        self.say(f"cuts: {count}")
        found = asyncio.run(move(cut, "none", where))
        expected = 4 * calm.wire
        growth = 100 * (found.wire - expected) / expected
        right = (calm.digest, found.digest) == (whole.digest(), cut.digest())
        if not right or found.cuts != count:
            raise RuntimeError(f"{found.cuts} of {count} cuts, content right: {right}")
        self.rows.add(
            *(f"{count} random cuts in {size // _MB} MB/growth of what was sent", OURS),
            *(growth, "%", "" if self.quick else "<= 2"),
            note="handshakes and what was under way included; the link holds 64 KiB",
            content="verified",
            wire=found.wire,
            seconds=round(found.seconds, 1),
            **{"seconds without cuts, a quarter": round(calm.seconds, 1)},
        )

    def guest_cuts(self) -> None:
        """A guest whose connection is cut all the time."""
        count, size = (20, 20 * _MB) if self.quick else (CUTS, 250 * _MB)
        where = sorted(random.Random(3).sample(range(100_000, size), count))
        self.say(f"guest_cuts: {count}")
        found = asyncio.run(self._guest_cuts(where))
        self.rows.add(
            *("cuts that a guest's memory survived in one migration", OURS),
            *(found.cuts, "cuts", "" if self.quick else f">= {CUTS}"),
            note=f"a guest that changes its memory all the while, and has checked each page after"
            f" {found.guest / 1e6:.0f} MB; so close to each other, cuts cost"
            f" {100 * (found.relayed / found.guest - 1):.0f} % more octets",
            content="verified",
            seconds=round(found.total_s, 1),
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
            ways = [(), ("--stages", "zstd", "--no-adapt")]
            ours, baseline = asyncio.run(self._in_turn("slow", ways, sites, 0, SLOW_RUNS))
        case = "busy guest, 100 Mb/s, 20 ms"
        note = "median; the link is emulated, its round trip takes 20 ms"
        for subject, found in ((OURS, ours), (BASELINE, baseline)):
            self._journeys(case, subject, found, note, "<= 300" if subject == OURS else "")
        for what, figure in (("total", _total), ("pause", _pause)):
            self.rows.add(
                *(f"{case}/{what}, ratio to {BASELINE}", OURS, figure(ours) / figure(baseline)),
                *("x", self._mark("<= 1")),
                note="of medians",
                content="verified",
            )

    def fast(self) -> None:
        """A busy guest over a link that QEMU alone could not fill."""
        ways = [Alone.PLAIN, Alone.TLS, Alone.RELAYS, ()]
        alone, encrypted, relayed, ours = asyncio.run(
            self._in_turn("fast", ways, Sites(), FAST, FAST_RUNS)
        )
        case = "busy guest, 10 Gb/s"
        for subject, found in (
            (Alone.PLAIN.value, alone),
            (Alone.TLS.value, encrypted),
            (Alone.RELAYS.value, relayed),
            (OURS, ours),
        ):
            self._journeys(case, subject, found, "median")
        note = (
            "of medians; two QEMUs, of which one emulates a processor, and both sidecars share the"
            " cores"
        )
        for other, found, mark, more in (
            (Alone.PLAIN, alone, "<= 1.05", "; QEMU's stream is in the clear, ours is not"),
            (Alone.TLS, encrypted, "", "; both encrypt"),
            (Alone.RELAYS, relayed, "", "; both are programs beside QEMU, and encrypt"),
        ):
            self.rows.add(
                *(f"{case}/total, ratio to {other.value}", OURS, _total(ours) / _total(found)),
                *("x", self._mark(mark)),
                note=note + more,
                content="verified",
            )

    async def _in_turn(
        self,
        case: str,
        ways: Sequence[Sequence[str] | Alone],
        sites: Sites,
        bandwidth: int,
        runs: int,
    ) -> list[list[Journey]]:
        """Journeys of one guest by each way, ``runs`` of them, each round the other way about."""
        found: list[list[Journey]] = [[] for _ in ways]
        plan = QUICK if self.quick else FULL
        with TemporaryDirectory(prefix="vpnctl-bench-") as name:
            image = build_image(Path(name), dict(some_files(plan.files_mib << 20)))
            self.say(f"{case}: a guest boots")
            async with travelling(image, plan.shape) as guest:
                for number_of_run in range(1 if self.quick else runs):
                    turns = list(zip(ways, found, strict=True))
                    for way, journeys in turns[:: -1 if number_of_run % 2 else 1]:
                        one = await guest.move(way, sites, bandwidth)
                        journeys.append(one)
                        alone = isinstance(way, Alone)
                        name = way.value if alone else " ".join(way) or "all stages"
                        self.say(
                            f"{case}: journey {number_of_run + 1}, {name}: {one.total_s:.2f} s,"
                            f" pause {1000 * one.pause_s:.0f} ms"
                        )
        return found

    def _journeys(
        self, case: str, subject: str, found: Sequence[Journey], note: str, pause: str = ""
    ) -> None:
        """Totals, pauses and octets; ``pause``: the mark of the pause."""
        pauses = [1000 * one.pause_s for one in found]
        told = f"{note}; {min(pauses):.0f} to {max(pauses):.0f} ms"
        verified = {"content": "verified"}
        self.rows.add(
            f"{case}/total", subject, [one.total_s for one in found], "s", note=note, **verified
        )
        self.rows.add(
            *(f"{case}/pause", subject, pauses, "ms", self._mark(pause)), note=told, **verified
        )
        if any(one.wire for one in found):
            self.rows.add(
                f"{case}/sent", subject, [one.wire / 1e6 for one in found], "MB", **verified
            )

    def _mark(self, mark: str) -> str:
        """A small guest says nothing of marks."""
        return "" if self.quick else mark


def _total(found: Sequence[Journey]) -> float:
    return statistics.median(one.total_s for one in found)


def _pause(found: Sequence[Journey]) -> float:
    return statistics.median(one.pause_s for one in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """See `lab.bench.sidecar_rows.run`."""
    return run(
        *("link", __doc__, CASES, CASES),
        lambda streams, options, say: Bench(streams[0], options.quick, say),
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
