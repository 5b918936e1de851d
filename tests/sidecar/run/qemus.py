"""QEMUs as far as a sidecar sees them: a stream on a unix socket, and a return path."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

LOADED = struct.pack("!HHI", 1, 4, 0)
NOT_LOADED = struct.pack("!HHI", 1, 4, 1)
PONG = struct.pack("!HHI", 2, 4, 1)


class Incoming:
    """A QEMU that waits for a guest of ``size`` octets, and then says ``last_words``."""

    def __init__(self, size: int, last_words: bytes = LOADED) -> None:
        self.size = size
        self.last_words = last_words
        self.got = b""
        #: Take no more than so many octets until `go_on` is set.
        self.pause_at = size
        self.go_on = asyncio.Event()
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        parts, have = [], 0
        if self.last_words:
            writer.write(PONG)
        while have < self.size and (octets := await reader.read(65536)):
            parts.append(octets)
            have += len(octets)
            self.begun.set()
            if self.pause_at <= have < self.size:
                await self.go_on.wait()
        self.got = b"".join(parts)
        if have >= self.size:
            writer.write(self.last_words)
        writer.close()
        self.ended.set()

    def kill(self) -> None:
        assert self._writer is not None
        self._writer.transport.abort()


@asynccontextmanager
async def waiting(path: Path, incoming: Incoming) -> AsyncIterator[None]:
    """``incoming`` listens at ``path`` while the block runs."""
    server = await asyncio.start_unix_server(incoming.serve, path)
    try:
        yield
    finally:
        server.close()


async def migrate(path: Path, octets: bytes) -> bytes:
    """A QEMU that sends ``octets`` to ``path``; what came back until the other side closed."""
    reader, writer = await asyncio.open_unix_connection(path)

    async def send() -> None:
        writer.write(octets)
        await writer.drain()

    sending = asyncio.create_task(send())
    back = b""
    try:
        while octets := await reader.read(65536):
            back += octets
            if back.endswith(LOADED):
                break
    except ConnectionError:
        pass
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.close()
    return back
