"""Beside the QEMU that mirrors: takes its writes, and sends what the other site has not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpnctl.errors import MigrationError, SidecarError
from vpnctl.migration.disk.blocks import (
    BLOCK,
    NAME,
    Cached,
    CopyFrom,
    Keep,
    Mirror,
    Part,
    Write,
    Zero,
    joined,
    merged,
)
from vpnctl.migration.disk.cache import DiskCache, agreed, offer_of
from vpnctl.migration.disk.frames import (
    ANSWER_SIZE,
    GONE,
    LONGEST_LINE,
    Frame,
    Kind,
    Result,
    pack,
    read_answer,
)
from vpnctl.migration.disk.nbd import EIO, LONGEST, Command, Request, Server
from vpnctl.migration.disk.outstanding import Outstanding
from vpnctl.migration.disk.pace import Pace
from vpnctl.sidecar.elimination import SiteCache
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.tls import Tls, check_name

#: Seconds that a cut connection is made again; QEMU's writes wait meanwhile.
RESUME_S = 20.0
_AGAIN_S = 0.2
_CONNECT_S = 10.0
_SILENCE_MS = 15_000


@dataclass
class Traffic:
    """Octets: ``disk`` as QEMU wrote them, ``wire`` as they were sent, ``kept`` that the other
    site had already."""

    disk: int = 0
    wire: int = 0
    kept: int = 0
    cuts: int = 0


class Sender:
    """One disk on its way; `serving` is a unix socket for QEMU's mirror.

    A write is answered when it is queued, as by a disk with a cache, and a flush when the other
    site has everything: so a stopped guest waits for one round trip, not for one after the other,
    and for none when nothing was written since the last flush.

    ``pace``: how fast the disks may be sent, together; ``cache``: this site's; ``resume_s``:
    seconds that a cut connection is made again.
    """

    def __init__(
        self,
        peer: Address,
        tls: Tls | None,
        migration: str,
        disk: int,
        pace: Pace,
        cache: SiteCache | None = None,
        resume_s: float = RESUME_S,
    ) -> None:
        self.traffic = Traffic()
        self._pace = pace
        self._resume_s = resume_s
        self._peer = peer
        self._tls = tls
        self._hello = {"migration": migration, "disk": disk}
        self._numbers = itertools.count(1)
        self._pending: dict[int, tuple[Frame, asyncio.Future[Result]]] = {}
        self._queue: deque[int] = deque()
        self._news = asyncio.Event()
        self._mirror: Mirror | None = None
        self._offer = offer_of(cache)
        self._cache: DiskCache | None = None
        self._turn = asyncio.Lock()
        self._outstanding = Outstanding()
        self._server: Server | None = None
        self._heard = 0.0
        # Since the last flush: whether anything was said, and what had to be said twice.
        self._unflushed = False
        self._repeated = 0
        self._failure: MigrationError | None = None
        self._ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[int]:
        """Serve NBD at ``path`` while the block runs; gives the size of the other site's disk.

        Raises `MigrationError` when the other site does not answer.
        """
        linking = asyncio.create_task(self._link())
        try:
            size = await self._ready
            server = self._server = Server(size, self._serve)
            listener = await asyncio.start_unix_server(server.run, path, limit=LONGEST)
            try:
                yield size
            finally:
                listener.close()
                path.unlink(missing_ok=True)  # noqa: ASYNC240 - one call, and at once
        finally:
            linking.cancel()
            await asyncio.gather(linking, return_exceptions=True)
            if self._cache is not None and self._failure is None:
                await asyncio.to_thread(self._cache.finish)
            self._fail(MigrationError("the disk's way has ended"))

    @property
    def failure(self) -> MigrationError | None:
        """Why nothing can be sent any more; a mirror that has nothing to write does not see it."""
        return self._failure

    def silent_s(self) -> float:
        """Seconds that the other site has owed an answer."""
        if not self._pending:
            return 0.0
        return asyncio.get_running_loop().time() - self._heard

    def let_go(self) -> None:
        """Tell QEMU that everything is done that it asks, and do nothing of it, until
        `take_again`: for a mirror that is to end, and whose copy nobody will use."""
        if self._server is not None:
            self._server.let_go()

    def take_again(self) -> None:
        """Take what QEMU asks from now on."""
        if self._server is not None:
            self._server.take_again()

    async def _serve(self, request: Request) -> int:
        """Do a request of QEMU's; 0 or an errno."""
        try:
            if request.command is Command.FLUSH:
                await self._flush(request)
            else:
                # What is begun is known to be there: it is said, also when QEMU has left.
                begun = await asyncio.shield(asyncio.create_task(self._begin(request)))
                if begun and self._outstanding.too_much:
                    await asyncio.wait(begun)
        except MigrationError:
            return EIO
        return EIO if self._outstanding.lost else 0

    async def _begin(self, request: Request) -> list[asyncio.Task[None]]:
        """Queue what a request needs, and do it."""
        first = request.offset // BLOCK
        last = (request.offset + max(request.length, 1) - 1) // BLOCK
        async with self._turn:
            await self._outstanding.copied(first, last)
            # In the order in which they are queued here they are done there: a block can only be
            # copied once it is there.
            said = await asyncio.to_thread(self._frames, request)
            return [self._do(part, frame) for part, frame in said]

    async def _flush(self, request: Request) -> None:
        """Return when the other site has everything that was written before."""
        again = True
        while again:
            repeated = self._repeated
            await asyncio.shield(asyncio.create_task(self._begin_flush(request)))
            await self._outstanding.settled()
            # What had to be said twice came after the flush.
            again = self._repeated != repeated and not self._outstanding.lost

    async def _begin_flush(self, request: Request) -> None:
        async with self._turn:
            said = await asyncio.to_thread(self._frames, request)
            if self._unflushed or len(said) > 1:
                for part, frame in said:
                    self._do(part, frame)
                self._unflushed = False

    def _do(self, part: Part, frame: Frame) -> asyncio.Task[None]:
        self._unflushed = True
        copied = part.offset // BLOCK if isinstance(part, CopyFrom | Cached) else None
        return self._outstanding.add(self._done(part, self._say(frame)), len(frame.payload), copied)

    def _frames(self, request: Request) -> list[tuple[Part, Frame]]:
        """What to say for a request, and what it is about."""
        assert self._mirror is not None
        parts: list[Part]
        match request.command:
            case Command.WRITE:
                self.traffic.disk += request.length
                octets = memoryview(request.octets)
                needed = map(self._found, joined(self._mirror.write(request.offset, octets)))
                parts = merged(needed, request.offset, octets)
            case Command.ZERO | Command.TRIM:
                parts = joined(self._mirror.zero(request.offset, request.length))
            case _:
                parts = joined(self._mirror.settle())
        said: list[tuple[Part, Frame]] = []
        for part in parts:
            if isinstance(part, Keep):
                self.traffic.kept += part.length
            else:
                said.append((part, self._frame(part)))
            if isinstance(part, Write) and self._cache is not None:
                self._cache.store(part.offset, part.octets)
        if request.command is Command.FLUSH:
            said.append((Zero(0, 0), Frame(Kind.FLUSH, next(self._numbers))))
        return said

    def _found(self, part: Part) -> Part:
        """``part``, or where the site's cache has it."""
        if isinstance(part, Write) and self._cache is not None:
            places = self._cache.find(part.octets)
            if places is not None:
                return Cached(part.offset, part.octets, places)
        return part

    def _frame(self, part: Zero | CopyFrom | Cached | Write) -> Frame:
        number = next(self._numbers)
        match part:
            case Zero(offset, length):
                return Frame(Kind.ZERO, number, offset, length)
            case CopyFrom(offset, octets, source, name):
                there = source.to_bytes(8, "big") + name
                return Frame(Kind.COPY, number, offset, len(octets), there)
            case Cached(offset, octets, places):
                return Frame(Kind.CACHED, number, offset, len(octets), places)
            case Write(offset, octets):
                return Frame(Kind.WRITE, number, offset, len(octets), pack(octets))

    async def _done(self, part: Part, answer: asyncio.Future[Result]) -> bool:
        """Whether the other site has it now."""
        result = await answer
        if isinstance(part, CopyFrom | Cached):
            if result is Result.ELSE:
                # It has been written over meanwhile, or lost.
                if isinstance(part, Cached) and self._cache is not None:
                    self._cache.lose()
                self._unflushed = True
                self._repeated += 1
                again = Write(part.offset, part.octets)
                frame = await asyncio.to_thread(self._frame, again)
                return await self._say(frame) is Result.DONE
            self.traffic.kept += len(part.octets)
        return result is Result.DONE

    def _say(self, frame: Frame) -> asyncio.Future[Result]:
        """Queue a frame; its answer.  Raises `MigrationError` when the other site is lost."""
        if self._failure is not None:
            raise self._failure
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        if not self._pending:
            self._heard = loop.time()
        self._pending[frame.number] = frame, done
        self._queue.append(frame.number)
        self._news.set()
        return done

    async def _link(self) -> None:
        """Connections, one after the other; what was not answered is said again."""
        loop = asyncio.get_running_loop()
        lost = loop.time()
        while True:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    reader, writer = await self._connect()
                    await self._greet(reader, writer)
            except SidecarError as error:
                self._fail(MigrationError(error.message, hint=error.hint))
                return
            except MigrationError as error:
                self._fail(error)
                return
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                if loop.time() - lost > self._resume_s:
                    self._fail(MigrationError(f"the disk's way to {self._peer} is cut: {error}"))
                    return
                await asyncio.sleep(_AGAIN_S)
                continue
            self._queue = deque(sorted(self._pending))
            self._news.set()
            speaking = asyncio.create_task(self._speak(writer))
            hearing = asyncio.create_task(self._hear(reader))
            try:
                await asyncio.wait((speaking, hearing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (speaking, hearing):
                    task.cancel()
                ended = await asyncio.gather(speaking, hearing, return_exceptions=True)
                writer.close()
            for failure in ended:
                if isinstance(failure, MigrationError):
                    self._fail(failure)
                    return
            self.traffic.cuts += 1
            lost = loop.time()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context: ssl.SSLContext | None = None
        name = None
        if self._tls is not None:
            # The name in the certificate is checked below, as sidecars do.
            context, name = self._tls.client_context(), self._tls.peer_name
        reader, writer = await asyncio.open_connection(
            self._peer.host, self._peer.port, ssl=context, server_hostname=name, limit=LONGEST_LINE
        )
        # A link that is cut far away is silent for ever; what was sent has to be acknowledged.
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MS)
        return reader, writer

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._tls is not None:
            certificate = writer.get_extra_info("ssl_object").getpeercert()
            check_name(certificate, self._tls.peer_name)
        hello: dict[str, Any] = self._hello | {"names": self._mirror is None}
        if self._mirror is None and self._offer is not None:
            hello["site"] = self._offer.names
        writer.write(json.dumps(hello).encode() + b"\n")
        line = await reader.readline()
        if not line or len(line) > LONGEST_LINE:
            raise OSError("the other site closed the disk's connection")
        try:
            told = json.loads(line)
            if told == GONE:
                raise MigrationError("nothing at the other site takes the disk any more")
            size, count = int(told["size"]), int(told["names"])
        except (ValueError, KeyError, TypeError) as error:
            raise MigrationError("the other site sent what no receiver of disks sends") from error
        names = await reader.readexactly(count * NAME)
        if self._mirror is None:
            cut = [names[at : at + NAME] for at in range(0, len(names), NAME)]
            self._mirror = Mirror(size, cut)
            theirs = told.get("site")
            self._cache = await asyncio.to_thread(agreed, self._offer, theirs, finds=True)
        if not self._ready.done():
            self._ready.set_result(size)

    async def _speak(self, writer: asyncio.StreamWriter) -> None:
        while True:
            while not self._queue:
                self._news.clear()
                await self._news.wait()
            number = self._queue.popleft()
            if number not in self._pending:
                continue
            octets = self._pending[number][0].octets()
            await self._pace.room(len(octets))
            self.traffic.wire += len(octets)
            writer.write(octets)
            await writer.drain()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        while True:
            number, result = read_answer(await reader.readexactly(ANSWER_SIZE))
            self._heard = asyncio.get_running_loop().time()
            found = self._pending.pop(number, None)
            if found is not None and not found[1].done():
                found[1].set_result(result)

    def _fail(self, error: MigrationError) -> None:
        self._failure = error
        if not self._ready.done():
            self._ready.set_exception(error)
        for _, done in self._pending.values():
            with contextlib.suppress(asyncio.InvalidStateError):
                done.set_exception(error)
        self._pending.clear()
