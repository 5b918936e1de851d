"""What the destination's QEMU is given."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

#: Octets that the kernel may hold for QEMU.
_ROOM = 1024 * 1024


class Outlet:
    """Writes to QEMU's socket; one task at a time."""

    def __init__(self, qemu: socket.socket) -> None:
        # As much as the system allows: each wait for room costs as much as many octets do.
        qemu.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        self._qemu = qemu
        #: Octets that QEMU was given.
        self.octets = 0
        #: Set whenever it was given more.
        self.given = asyncio.Event()

    def write_at_once(self, found: Sequence[memoryview]) -> list[memoryview]:
        """Give QEMU what it takes without waiting; the rest, for `write`."""
        rest = list(found)
        while rest:
            try:
                count = self._qemu.send(rest[0])
            except OSError:
                # There is no room, or `write` will find out that QEMU has closed.
                break
            self._count(count)
            if count < len(rest[0]):
                rest[0] = rest[0][count:]
                break
            del rest[0]
        return rest

    async def write(self, found: Sequence[memoryview]) -> None:
        """Give QEMU all of it; raises `ConnectionError` when QEMU has closed."""
        loop = asyncio.get_running_loop()
        for octets in found:
            await loop.sock_sendall(self._qemu, octets)
            self._count(len(octets))

    def _count(self, octets: int) -> None:
        self.octets += octets
        self.given.set()
