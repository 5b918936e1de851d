"""What QEMU writes, read ahead by a bounded amount."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque

import numpy as np

from vpnctl.sidecar.run.under_way import Pause, UnderWay

_READ = 256 * 1024
#: Octets of each buffer: what is taken at once mostly lies in one.
_BUFFER = 1024 * 1024 + _READ
#: What is not much may wait so many seconds for company.
_SOON_S = 0.001


class Intake:
    """Reads QEMU's socket; `run` it in a task of its own.

    ``ahead``: octets to be read before anybody takes them; it may be changed at any time.
    Nothing is read while too much is under way, of which `given` tells.
    """

    def __init__(self, qemu: socket.socket, ahead: int) -> None:
        self.ahead = ahead
        #: So many octets are worth to be taken before `_SOON_S` have gone by.
        self.enough = 1
        self.ended = False
        self._qemu = qemu
        self._under_way = UnderWay()
        self._told_far = False
        self._seen = Pause.NEAR
        # What nobody has taken: parts, and the last octets of the present buffer.
        self._parts: deque[memoryview] = deque()
        self._buffer = _space()
        self._begin = self._end = 0
        #: Octets that nobody has taken yet.
        self.held = 0
        #: Seconds in which nothing was read because too much was under way.
        self.waited_s = 0.0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._soon = False
        # Set when nothing is to be read for now.
        self._full = asyncio.Event()

    def told(self, far: bool) -> None:
        """Somebody who watches the guest says that its pause is ``far``, or that it is not."""
        self._told_far = far
        self._judge()

    def seen(self, pause: Pause) -> None:
        """The stream shows where the pause is; where that is far, nobody has to tell it."""
        if pause is not self._seen:
            self._seen = pause
            self._judge()

    def _judge(self) -> None:
        far = self._told_far and self._seen is Pause.NEAR
        self._under_way.pause = Pause.FAR if far else self._seen
        self._emptied.set()

    @property
    def octets(self) -> int:
        """Octets that QEMU wrote."""
        return self._under_way.taken

    @property
    def under_way(self) -> int:
        """Octets that QEMU wrote and the other QEMU was not given yet."""
        return self._under_way.taken - self._under_way.given

    def age(self, now: float) -> float:
        """Seconds for which the oldest of them are under way."""
        return self._under_way.age(now)

    def given(self, octets: int) -> None:
        """The other QEMU was given so many in all; `SidecarProtocolError` when that cannot be."""
        self._under_way.give(octets, time.monotonic())
        self._emptied.set()

    async def run(self) -> None:
        """Until QEMU closes its side."""
        loop = asyncio.get_running_loop()
        while not self.ended:
            self._full.clear()
            # Reads as soon as there is something: to wake this task up each time would take as
            # long as to pass the octets on.
            loop.add_reader(self._qemu, self._read)
            try:
                await self._full.wait()
            finally:
                loop.remove_reader(self._qemu)
            while not self.ended and self._is_full:
                self._emptied.clear()
                await self._wait()

    def _read(self) -> None:
        """QEMU wrote something, or has closed."""
        # Until nothing is there: of an error the loop tells once, and it may lie behind octets.
        while not (self.ended or self._is_full) and self._received():
            pass
        if self.ended or self.held >= self.enough:
            self._filled.set()
        elif self.held and not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_later(_SOON_S, self._is_soon)
        if self.ended or self._is_full:
            self._filled.set()
            self._full.set()
            asyncio.get_running_loop().remove_reader(self._qemu)

    def _received(self) -> bool:
        """Whether there was something, if it was the end."""
        count = 0
        try:
            most = min(_READ, self.ahead)
            count = self._qemu.recv_into(self._buffer[self._end : self._end + most])
        except BlockingIOError:
            return False
        except OSError:
            # QEMU was killed: the same as an end, for the migration.
            pass
        if count:
            self._under_way.take(count, time.monotonic())
            self._end += count
            self.held += count
            if len(self._buffer) - self._end < _READ:
                self._set_aside()
                self._buffer, self._begin, self._end = _space(), 0, 0
        else:
            self.ended = True
        return True

    def _is_soon(self) -> None:
        self._soon = False
        if self.held:
            self._filled.set()

    @property
    def _is_full(self) -> bool:
        return self.held >= self.ahead or not self._has_room

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

    def take(self, most: int) -> bytes | memoryview:
        """What is there, ``most`` octets of it; may be empty."""
        self._set_aside()
        found, size = [], 0
        while self._parts and size < most:
            part = self._parts.popleft()
            if len(part) > most - size:
                self._parts.appendleft(part[most - size :])
                part = part[: most - size]
            found.append(part)
            size += len(part)
        self.held -= size
        if not self._parts and not self.ended:
            self._filled.clear()
        self._emptied.set()
        return found[0] if len(found) == 1 else b"".join(found)

    def _set_aside(self) -> None:
        """Have all that nobody has taken in parts."""
        if self._end > self._begin:
            self._parts.append(self._buffer[self._begin : self._end].toreadonly())
            self._begin = self._end


def _space() -> memoryview:
    """Octets to be written; whatever was there before is in them."""
    return np.empty(_BUFFER, np.uint8).data
