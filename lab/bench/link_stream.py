"""Streams of QEMUs that are made up, through both sidecars as programs over TLS."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.bench.sidecars import last_progress, make_certificates, ready, sidecar
from tests.support.relay import Relay, relayed
from vpnctl.sidecar.wan.address import Address

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
