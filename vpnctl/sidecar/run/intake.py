"""What QEMU writes, read ahead by a bounded amount."""

from __future__ import annotations

import asyncio
import socket
import time

from vpnctl.sidecar.run.under_way import UnderWay

_READ = 256 * 1024


class Intake:
    """Reads QEMU's socket; `run` it in a task of its own.

    ``ahead``: octets to be read before anybody takes them; it may be changed at any time.
    Nothing is read while too much is under way, of which `given` tells.
    """

    def __init__(self, qemu: socket.socket, ahead: int) -> None:
        self.ahead = ahead
        self.ended = False
        self._qemu = qemu
        self._under_way = UnderWay()
        self._parts: list[bytes] = []
        #: Octets that nobody has taken yet.
        self.held = 0
        #: Seconds in which nothing was read because too much was under way.
        self.waited_s = 0.0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    def pause_is_far(self, far: bool) -> None:
        """While it is, more may be under way."""
        self._under_way.far = far
        self._emptied.set()

    @property
    def octets(self) -> int:
        """Octets that QEMU wrote."""
        return self._under_way.taken

    def given(self, octets: int) -> None:
        """The other QEMU was given so many in all; `SidecarProtocolError` when that cannot be."""
        self._under_way.give(octets, time.monotonic())
        self._emptied.set()

    async def run(self) -> None:
        """Until QEMU closes its side."""
        loop = asyncio.get_running_loop()
        try:
            while octets := await loop.sock_recv(self._qemu, min(_READ, self.ahead)):
                self._under_way.take(len(octets), time.monotonic())
                self._parts.append(octets)
                self.held += len(octets)
                self._filled.set()
                while self.held >= self.ahead or not self._has_room:
                    self._emptied.clear()
                    await self._wait()
        except ConnectionError:
            # QEMU was killed: the same as an end, for the migration.
            pass
        finally:
            self.ended = True
            self._filled.set()

    @property
    def _has_room(self) -> bool:
        return self._under_way.has_room(time.monotonic())

    async def _wait(self) -> None:
        full, begun = not self._has_room, time.monotonic()
        await self._emptied.wait()
        if full:
            self.waited_s += time.monotonic() - begun

    async def filled(self) -> None:
        """Return when there is something to take, or nothing will come any more."""
        await self._filled.wait()

    def take(self) -> bytes:
        """All that is there; may be empty."""
        octets = b"".join(self._parts)
        self._parts.clear()
        self.held = 0
        if not self.ended:
            self._filled.clear()
        self._emptied.set()
        return octets
