"""The Network Block Device protocol, as much of it as QEMU's mirror and export need.

Fixed newstyle negotiation, `NBD_OPT_GO`, simple replies (NBD project, ``doc/proto.md``).
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from vpnctl.errors import MigrationError

log = logging.getLogger(__name__)

_MAGIC, _OPTION_MAGIC = b"NBDMAGIC", b"IHAVEOPT"
_FIXED, _NO_ZEROES = 1, 2
_OPTION = struct.Struct("!8sII")
_REPLY_MAGIC = 0x3E889045565A9
_REPLY = struct.Struct("!QIII")
_REQUEST_MAGIC, _SIMPLE_MAGIC = 0x25609513, 0x67446698
_REQUEST = struct.Struct("!IHHQQI")
_SIMPLE = struct.Struct("!IIQ")
_EXPORT = struct.Struct("!HQH")

_OPT_ABORT, _OPT_GO = 2, 7
_REP_ACK, _REP_INFO, _REP_ERR_UNSUP = 1, 3, (1 << 31) | 1
_INFO_EXPORT = 0
#: Flags of an export: it has flags, flush, trim and write-zeroes.
_FLAGS = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6
_LONGEST_OPTION, LONGEST = 4096, 32 << 20
EIO, EINVAL = 5, 22


class Command(IntEnum):
    """What a client asks for."""

    READ = 0
    WRITE = 1
    DISCONNECT = 2
    FLUSH = 3
    TRIM = 4
    ZERO = 6


@dataclass(frozen=True, slots=True)
class Request:
    """``octets``: of a write."""

    command: Command
    offset: int
    length: int
    octets: bytes = b""


@dataclass(eq=False, slots=True)
class _Visit:
    """A client's connection, and what it waits for."""

    writer: asyncio.StreamWriter
    owed: dict[int, Request] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def answer(self, handle: int, error: int) -> None:
        self.writer.write(_SIMPLE.pack(_SIMPLE_MAGIC, error, handle))


class Server:
    """Clients on a unix socket; ``serve`` says what a request gives: 0 or an errno."""

    def __init__(self, size: int, serve: Callable[[Request], Awaitable[int]]) -> None:
        self._size = size
        self._serve = serve
        self._visits: set[_Visit] = set()
        self._pretending = False

    def let_go(self) -> None:
        """Say that everything is done that is asked, and was asked before, and do nothing of it,
        until `take_again`."""
        self._pretending = True
        for visit in self._visits:
            for handle in visit.owed:
                visit.answer(handle, 0)
            visit.owed.clear()

    def take_again(self) -> None:
        """Do what is asked from now on."""
        self._pretending = False

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the client leaves."""
        visit = _Visit(writer)
        self._visits.add(visit)
        try:
            if await self._negotiate(reader, writer):
                await self._transmit(reader, visit)
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            for task in visit.tasks:
                task.cancel()
            self._visits.discard(visit)
            writer.close()

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(_MAGIC + _OPTION_MAGIC + struct.pack("!H", _FIXED | _NO_ZEROES))
        await reader.readexactly(4)
        while True:
            magic, option, length = _OPTION.unpack(await reader.readexactly(_OPTION.size))
            if magic != _OPTION_MAGIC or length > _LONGEST_OPTION:
                return False
            await reader.readexactly(length)
            if option == _OPT_GO:
                told = _EXPORT.pack(_INFO_EXPORT, self._size, _FLAGS)
                writer.write(_REPLY.pack(_REPLY_MAGIC, option, _REP_INFO, len(told)) + told)
                writer.write(_REPLY.pack(_REPLY_MAGIC, option, _REP_ACK, 0))
                return True
            if option == _OPT_ABORT:
                return False
            writer.write(_REPLY.pack(_REPLY_MAGIC, option, _REP_ERR_UNSUP, 0))

    async def _transmit(self, reader: asyncio.StreamReader, visit: _Visit) -> None:
        while True:
            magic, _, number, handle, offset, length = _REQUEST.unpack(
                await reader.readexactly(_REQUEST.size)
            )
            if magic != _REQUEST_MAGIC or number == Command.DISCONNECT:
                return
            if number == Command.WRITE and length > LONGEST:
                return
            octets = await reader.readexactly(length) if number == Command.WRITE else b""
            if number not in (Command.WRITE, Command.FLUSH, Command.TRIM, Command.ZERO) or (
                offset + length > self._size
            ):
                visit.answer(handle, EINVAL)
                continue
            if self._pretending:
                visit.answer(handle, 0)
                continue
            request = visit.owed[handle] = Request(Command(number), offset, length, octets)
            task = asyncio.create_task(self._answer(visit, handle, request))
            visit.tasks.add(task)
            task.add_done_callback(visit.tasks.discard)

    async def _answer(self, visit: _Visit, handle: int, request: Request) -> None:
        try:
            error = await self._serve(request)
        except Exception:
            # A guest must not wait for ever, whatever the defect.
            log.exception("%s at %d was not served", request.command.name, request.offset)
            error = EIO
        # Otherwise it was answered, and may be the name of another request by now.
        if visit.owed.get(handle) is request:
            del visit.owed[handle]
            visit.answer(handle, error)


class Client:
    """A connection to an export; requests one after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int
    ) -> None:
        self.size = size
        self._reader = reader
        self._writer = writer
        self._handle = 0

    @classmethod
    async def connect(cls, path: Path, export: str) -> Client:
        """The export of that name at a unix socket; raises `MigrationError`."""
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST)
            greeting = await reader.readexactly(18)
            if greeting[:16] != _MAGIC + _OPTION_MAGIC:
                raise MigrationError(f"what answers at {path} does not speak NBD")
            writer.write(struct.pack("!I", _FIXED | _NO_ZEROES))
            name = export.encode()
            told = struct.pack("!I", len(name)) + name + struct.pack("!H", 0)
            writer.write(_OPTION.pack(_OPTION_MAGIC, _OPT_GO, len(told)) + told)
            size = 0
            while True:
                _, _, kind, length = _REPLY.unpack(await reader.readexactly(_REPLY.size))
                told = await reader.readexactly(length)
                if kind == _REP_ACK:
                    return cls(reader, writer, size)
                if kind != _REP_INFO:
                    raise MigrationError(f"QEMU does not export {export} at {path}")
                if struct.unpack_from("!H", told)[0] == _INFO_EXPORT:
                    size = _EXPORT.unpack(told)[1]
        except (OSError, asyncio.IncompleteReadError) as error:
            raise MigrationError(f"QEMU's export at {path} cannot be reached: {error}") from error

    async def ask(self, request: Request) -> bytes:
        """What was read, or nothing; raises `MigrationError` when it was refused."""
        self._handle += 1
        try:
            self._writer.write(
                _REQUEST.pack(
                    _REQUEST_MAGIC, 0, request.command, self._handle, request.offset,
                    request.length,
                )
            )  # fmt: skip
            if request.octets:
                self._writer.write(request.octets)
            await self._writer.drain()
            magic, error, handle = _SIMPLE.unpack(await self._reader.readexactly(_SIMPLE.size))
            if magic != _SIMPLE_MAGIC or handle != self._handle:
                raise MigrationError("QEMU's export answered what was not asked")
            if error:
                raise MigrationError(f"QEMU's export refused {request.command.name}: {error}")
            if request.command is Command.READ:
                return await self._reader.readexactly(request.length)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise MigrationError(f"QEMU's export went away: {error}") from error
        return b""

    def close(self) -> None:
        self._writer.close()
