"""Beside the QEMU that exports: writes what comes from the other site."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from vpnctl.errors import MigrationError, SidecarError
from vpnctl.migration.disk.blocks import BLOCK, NAME, name_of
from vpnctl.migration.disk.cache import DiskCache, agreed, offer_of
from vpnctl.migration.disk.frames import (
    GONE,
    HEADER_SIZE,
    LONGEST_LINE,
    Kind,
    Result,
    answer,
    read_header,
    unpack,
)
from vpnctl.migration.disk.nbd import Client, Command, Request
from vpnctl.sidecar.elimination import SiteCache
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.tls import Tls, check_name

#: Octets read at once of an old copy.
_STRIDE = 1 << 20


class Receiver:
    """The disks of one arrival; ``blank``: those that have no old copy.

    ``exports``: QEMU's NBD socket, where disk 0 is called ``disk0``; ``cache``: this site's.
    """

    def __init__(
        self, migration: str, exports: Path, disks: frozenset[int], blank: frozenset[int],
        tls: Tls | None, cache: SiteCache | None = None,
    ) -> None:  # fmt: skip
        self._migration = migration
        self._exports = exports
        self._disks = disks
        self._blank = blank
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._visits: dict[int, asyncio.Task[None]] = {}
        self._seen: set[int] = set()
        self._site = cache
        self._caches: dict[int, DiskCache] = {}

    async def open(self, where: Address) -> Address:
        """Listen; port 0 for any."""
        context = self._tls.server_context() if self._tls else None
        self._server = await asyncio.start_server(
            self._visit, where.host, where.port, ssl=context, limit=LONGEST_LINE
        )
        return Address(where.host, self._server.sockets[0].getsockname()[1])

    def hang_up(self) -> None:
        """What exports the disks has ended: senders shall come again and hear that."""
        for visit in self._visits.values():
            visit.cancel()

    async def close(self) -> None:
        """Return when nothing is written any more."""
        if self._server is not None:
            self._server.close()
        for visit in self._visits.values():
            visit.cancel()
        await asyncio.gather(*self._visits.values(), return_exceptions=True)
        for cache in self._caches.values():
            await asyncio.to_thread(cache.finish)
        self._caches.clear()

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            disk, told = await self._greeted(reader, writer)
            before = self._visits.get(disk)
            if before is not None:
                before.cancel()
                await asyncio.gather(before, return_exceptions=True)
            visit = self._visits[disk] = asyncio.create_task(self._take(disk, told, reader, writer))
            await asyncio.gather(visit, return_exceptions=True)
        except (MigrationError, SidecarError, OSError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _greeted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, dict[str, Any]]:
        if self._tls is not None:
            certificate = writer.get_extra_info("ssl_object").getpeercert()
            check_name(certificate, self._tls.peer_name)
        line = await reader.readline()
        told = json.loads(line[:LONGEST_LINE])
        if not isinstance(told, dict):
            raise MigrationError("a visitor says what no sender of disks says")
        disk = told.get("disk")
        if told.get("migration") != self._migration or disk not in self._disks:
            raise MigrationError("a visitor wants another disk")
        return int(disk), told

    async def _take(
        self,
        disk: int,
        hello: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            client = await Client.connect(self._exports, f"disk{disk}")
        except MigrationError:
            writer.write(json.dumps(GONE).encode() + b"\n")
            raise
        try:
            names = await self._names(disk, client) if hello.get("names") else []
            told: dict[str, Any] = {"size": client.size, "names": len(names)}
            if hello.get("names") and (offer := offer_of(self._site)) is not None:
                told["site"] = offer.names
                cache = await asyncio.to_thread(agreed, offer, hello.get("site"), finds=False)
                if cache is not None:
                    self._caches[disk] = cache
            writer.write(json.dumps(told).encode() + b"\n" + b"".join(names))
            while True:
                kind, number, offset, length, follow = read_header(
                    await reader.readexactly(HEADER_SIZE)
                )
                payload = await reader.readexactly(follow)
                result = await self._do(disk, client, kind, offset, length, payload)
                writer.write(answer(number, result))
        finally:
            client.close()

    async def _names(self, disk: int, client: Client) -> list[bytes]:
        """Of the blocks of the old copy; none when all of it is zeroes."""
        if disk in self._blank and disk not in self._seen:
            self._seen.add(disk)
            return []
        names: list[bytes] = []
        for at in range(0, client.size, _STRIDE):
            length = min(_STRIDE, client.size - at)
            octets = await client.ask(Request(Command.READ, at, length))
            names += await asyncio.to_thread(_names_of, octets)
        return names

    async def _do(
        self, disk: int, client: Client, kind: Kind, offset: int, length: int, payload: bytes
    ) -> Result:
        cache = self._caches.get(disk)
        try:
            match kind:
                case Kind.WRITE:
                    octets = unpack(payload, length)
                    await client.ask(Request(Command.WRITE, offset, length, octets))
                    if cache is not None:
                        await asyncio.to_thread(cache.store, offset, memoryview(octets))
                case Kind.ZERO:
                    await client.ask(Request(Command.ZERO, offset, length))
                case Kind.COPY:
                    return await self._copy(client, offset, length, payload)
                case Kind.CACHED:
                    return await self._write_cached(cache, client, offset, payload)
                case Kind.FLUSH:
                    await client.ask(Request(Command.FLUSH, 0, 0))
        except MigrationError:
            return Result.FAILED
        return Result.DONE

    async def _write_cached(
        self, cache: DiskCache | None, client: Client, offset: int, places: bytes
    ) -> Result:
        if cache is None:
            return Result.ELSE
        try:
            octets = await asyncio.to_thread(cache.fetch, places)
        except MigrationError:
            return Result.ELSE
        await client.ask(Request(Command.WRITE, offset, len(octets), octets))
        return Result.DONE

    async def _copy(self, client: Client, offset: int, length: int, payload: bytes) -> Result:
        source, name = int.from_bytes(payload[:8], "big"), payload[8:]
        if len(name) != NAME or length > BLOCK:
            return Result.FAILED
        octets = await client.ask(Request(Command.READ, source, length))
        if name_of(octets) != name:
            return Result.ELSE
        await client.ask(Request(Command.WRITE, offset, length, octets))
        return Result.DONE


def _names_of(octets: bytes) -> list[bytes]:
    return [name_of(octets[begin : begin + BLOCK]) for begin in range(0, len(octets), BLOCK)]
