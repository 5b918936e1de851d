"""Both sidecars as programs over TLS: how fast a stream goes, and what a thousand cuts cost.

``python -m lab.bench.link [--captures DIR] [--quick] [--out FILE]``

The QEMUs on both sides are made up: one writes a captured stream, or noise, and the other one
digests what comes.  All of it shares the machine's cores, so that the speeds are those of the whole
chain and not of one end.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import shlex
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from lab.bench.sidecar import captures
from tests.support.relay import Relay, relayed
from vpnctl.pki import store
from vpnctl.pki.authority import issue, new_authority
from vpnctl.sidecar.wan.address import Address

OURS = "vpnctl"
_LOADED = struct.pack("!HHI", 1, 4, 0)
_NAMES = ("cloud1.test", "cloud2.test")
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


def make_certificates(directory: Path) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    authority = new_authority("bench", now, day)
    store.save(directory, store.AUTHORITY, authority)
    for name in _NAMES:
        store.save(directory, name, issue(authority, [name], now, day))


async def sidecar(
    held: AsyncExitStack, directory: Path, role: str, *words: str
) -> asyncio.subprocess.Process:
    """``vpnctl sidecar ROLE`` with its certificates."""
    ours, theirs = _NAMES if role == "source" else reversed(_NAMES)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "vpnctl", "sidecar", role, "--peer-name", theirs, "-o", "json", *words),
        env=os.environ
        | {
            "VPNCTL_CERT": f"{directory}/{ours}.pem",
            "VPNCTL_KEY": f"{directory}/{ours}.key",
            "VPNCTL_CA": f"{directory}/ca.pem",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    def end() -> None:
        if process.returncode is None:
            process.kill()

    held.callback(end)
    return process


async def ready(process: asyncio.subprocess.Process) -> str:
    """The last word of the line that says so."""
    assert process.stderr is not None
    said = []
    while line := (await process.stderr.readline()).decode():
        if line.startswith("ready: "):
            return line.split()[-1]
        said.append(line)
    raise RuntimeError(f"a sidecar did not start: {''.join(said)}")


async def last_progress(process: asyncio.subprocess.Process) -> dict[str, object]:
    """What it said last on standard output, once it has ended well."""
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"a sidecar failed: {err.decode()}")
    return dict(json.loads(out.splitlines()[-1]))


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
    """The cases, on a captured stream and on noise."""

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
        count, size = (20, 80_000_000) if self.quick else (1000, 4_000_000_000)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 whatever was found."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.link", description=__doc__)
    parser.add_argument("--captures", type=Path, help="where the streams are, or will be")
    parser.add_argument("--quick", action="store_true", help="few cuts; writes nothing unless told")
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    options = parser.parse_args(arguments)
    begun, began_at = time.monotonic(), commit()
    bench = Bench(
        captures(options.captures)[0],
        options.quick,
        say=lambda text: print(f"[{time.monotonic() - begun:4.0f} s] {text}", file=sys.stderr),
    )
    bench.speed()
    bench.cuts()
    command = shlex.join(["python", "-m", "lab.bench.link", *(arguments or sys.argv[1:])])
    if options.out or not options.quick:
        write(options.out or RESULTS / "link.json", bench.rows, command, began_at)
    print(
        grid(
            ["case", "figure", "unit", "mark"],
            [
                [row.case, number(row.figure), row.unit, row.mark and f"{row.mark} {row.holds}"]
                for row in bench.rows
            ],
        )
    )
    print(f"\n{time.monotonic() - begun:.0f} s, {len(missing(bench.rows))} rows miss their mark")
    return 0


if __name__ == "__main__":
    sys.exit(main())
