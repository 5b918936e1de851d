"""Encoder and decoder on a captured stream, each measurement in a process of its own."""

from __future__ import annotations

import hashlib
import mmap
import multiprocessing
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, TypeVar

import numpy as np
import zstandard

from vpnctl.sidecar.elimination import Decoder, Encoder, Options, SiteCache
from vpnctl.sidecar.elimination.compression import Batch
from vpnctl.sidecar.stream.events import Event, Opaque, Pages
from vpnctl.sidecar.stream.parser import StreamParser

Result = TypeVar("Result")
READ = 1 << 20
#: What one measurement uses of memory, in sizes of its file, and more.
RUN_MEMORY = 8
SITE_LIMIT = 4 << 30
#: Pages in a packet of QEMU's multifd, and its channels by default.
PACKET, CHANNELS = 128, 2


@dataclass(frozen=True)
class Run:
    """One stream through an encoder and a decoder.

    ``wire``: octets of payloads; ``encoded``, ``decoded``: MB of the stream for each second of
    processor time; ``stages``: what the encoder counted.
    """

    wire: int
    encoded: float
    decoded: float
    stages: dict[str, Any]


def measured(function: Callable[..., Result], *arguments: object) -> Result:
    """``function(*arguments)`` in a new process, so that no run has another's memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def zstd_long(path: Path) -> int:
    """Octets that ``zstd -1 --long=27`` makes of a file, in one thread."""
    command = ["zstd", "-1", "--long=27", "--single-thread", "-q", "-c", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        size = 0
        while octets := process.stdout.read(READ):
            size += len(octets)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return size


def encode_and_decode(path: Path, options: Options, site: Path | None) -> Run:
    """All of a file, and back; raises `ValueError` unless it comes out as it went in.

    ``site``: a directory for both sites' caches.
    """
    stream = path.read_bytes()
    _touch_memory(RUN_MEMORY * len(stream))
    events = list(parsed(stream, options))
    with ExitStack() as stack:
        here, there = (stack.enter_context(view) for view in views(options, site))
        begun = time.process_time()
        encoder = Encoder(options, here)
        payloads = [payload for some in events for payload in encoder.encode(some)]
        payloads += encoder.finish()
        encoded = time.process_time() - begun

        begun = time.process_time()
        decoder = Decoder(options, there)
        pieces = [decoder.decode(payload) for payload in payloads]
        decoder.finish()
        decoded = time.process_time() - begun
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        if digest.digest() != hashlib.sha256(stream).digest():
            raise ValueError(f"{path} did not come out as it went in")
    rates = [len(stream) / seconds / 1e6 for seconds in (encoded, max(decoded, 1e-9))]
    return Run(sum(map(len, payloads)), *rates, stages=asdict(encoder.statistics))


def encode_in_two_threads(path: Path, options: Options, site: Path | None) -> tuple[int, float]:
    """Octets on the wire, and MB of the stream a second, elimination and compression side by side.

    ``site``: an empty directory for the site's cache.
    """
    stream = path.read_bytes()
    _touch_memory(RUN_MEMORY * len(stream))
    events = list(parsed(stream, options))
    batches: Queue[Batch | None] = Queue(8)
    sizes: list[int] = []

    def compress() -> None:
        while (batch := batches.get()) is not None:
            sizes.append(len(encoder.compress(batch)))

    with ExitStack() as stack:
        view, _ = (stack.enter_context(view) for view in views(options, site))
        begun = time.monotonic()
        encoder = Encoder(options, view)
        thread = Thread(target=compress)
        thread.start()
        for some in events:
            for batch in encoder.eliminate(some):
                batches.put(batch)
        for batch in encoder.eliminate_rest():
            batches.put(batch)
        batches.put(None)
        thread.join()
        seconds = time.monotonic() - begun
    return sum(sizes), len(stream) / seconds / 1e6


def _touch_memory(octets: int) -> None:
    """Have the host of a virtual machine give it the memory that a run will use.

    Where this machine has never used its memory before, each new page costs several microseconds
    that no code of ours can spare, and that runs in a row would not share evenly.
    """
    with mmap.mmap(-1, octets, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for begin in range(0, octets, mmap.PAGESIZE):
            memory[begin] = 1


def parsed(stream: bytes, options: Options) -> Iterator[list[Event]]:
    """What an encoder is given for each read of a socket."""
    parser = StreamParser()
    for begin in range(0, len(stream), READ):
        octets = memoryview(stream)[begin : begin + READ]
        yield parser.feed(octets) if options.needs_pages else [Opaque(octets)]


def views(options: Options, site: Path | None) -> list[Any]:
    """Source's and destination's view of the site's cache, or nothing twice."""
    if not options.site or site is None:
        return [_Nothing(), _Nothing()]
    offers = [
        SiteCache(site / name, SITE_LIMIT).offer(options.block_size) for name in ("here", "there")
    ]
    return [offers[0].agree(offers[1].names), offers[1].agree(offers[0].names)]


class _Nothing:
    """No site cache."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def multifd_size(path: Path) -> int:
    """Octets of a stream's pages as QEMU's multifd with zstd would send them.

    ``migration/multifd-zstd.c``: each channel has one zstd stream of level 1 for the whole
    migration, flushed at the end of each packet; headers of packets are not counted.
    """
    frames = [zstandard.ZstdCompressor(level=1).compressobj() for _ in range(CHANNELS)]
    size, channel = 0, 0
    waiting: list[np.ndarray[Any, Any]] = []
    for some in parsed(path.read_bytes(), Options()):
        for event in some:
            if not isinstance(event, Pages):
                size += event.size
                continue
            size += 9 * len(event.fills)
            waiting += list(event.contents)
            while len(waiting) >= PACKET:
                size += _packet(frames[channel], waiting[:PACKET])
                del waiting[:PACKET]
                channel = (channel + 1) % CHANNELS
    return size + (_packet(frames[channel], waiting) if waiting else 0)


def _packet(frame: Any, pages: list[np.ndarray[Any, Any]]) -> int:
    begun = frame.compress(b"".join(page.tobytes() for page in pages))
    return len(begun) + len(frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))


def soak(path: Path, options: Options, octets: int) -> dict[str, tuple[float, float]]:
    """Peak RSS in MB of an encoder's and a decoder's process, half-way and at the end.

    The stream is the capture over and over, each time at other addresses.
    """
    context = multiprocessing.get_context("spawn")
    payloads, feed = context.Pipe(duplex=False)
    results, tell = context.Pipe(duplex=False)
    processes = [
        context.Process(target=_soak_encoder, args=(path, options, octets, feed, tell)),
        context.Process(target=_soak_decoder, args=(options, octets, payloads, tell)),
    ]
    for process in processes:
        process.start()
    feed.close()
    payloads.close()
    tell.close()
    found = {}
    try:
        for _ in processes:
            side, early, late = results.recv()
            found[side] = early, late
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return found


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _soak_encoder(
    path: Path, options: Options, octets: int, feed: Connection, tell: Connection
) -> None:
    encoder = Encoder(_without_site(options))
    early, rounds = 0.0, 0
    with path.open("rb") as file:
        while encoder.statistics.stream < octets:
            file.seek(0)
            parser = StreamParser()
            while piece := file.read(READ):
                events = [_moved(event, rounds << 32) for event in parser.feed(piece)]
                for payload in encoder.encode(events):
                    feed.send_bytes(payload)
                if not early and encoder.statistics.stream > octets // 2:
                    early = _peak()
            rounds += 1
    for payload in encoder.finish():
        feed.send_bytes(payload)
    feed.send_bytes(b"")
    tell.send(("encoder", early, _peak()))


def _soak_decoder(options: Options, octets: int, payloads: Connection, tell: Connection) -> None:
    decoder = Decoder(_without_site(options))
    early = 0.0
    while payload := payloads.recv_bytes():
        decoder.decode(payload)
        if not early and decoder.statistics.stream > octets // 2:
            early = _peak()
    decoder.finish()
    tell.send(("decoder", early, _peak()))


def _moved(event: Event, by: int) -> Event:
    """The same pages of another RAM."""
    if isinstance(event, Opaque):
        return event
    headers = event.headers + np.uint64(by)
    return Pages(event.block, headers, event.fills, event.contents)


def _without_site(options: Options) -> Options:
    """A stream that repeats would be in the site's cache; the disk is not this case's business."""
    return Options.from_plain(options.to_plain() | {"site": False})
