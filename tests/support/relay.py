"""A link between two ends of TCP connections that can be cut, silenced, closed, and made to lie."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

from vpnctl.sidecar.wan.address import Address

Change = Callable[[bytes], bytes]


#: Octets that either side of a relay holds; the kernel doubles it for its own needs.
_HELD = 32 * 1024


class Relay:
    """Forwards TCP connections to ``target``; all its connections share one fate.

    Like a link, it holds little: what is under way when it is cut is lost.
    """

    def __init__(self, target: Address) -> None:
        self.address = Address("127.0.0.1", 0)
        self.connections = 0
        #: Octets that were taken from either side, and of these, those that were forwarded.
        self.taken = 0
        self.forwarded = 0
        #: Octets per second in each direction, of each connection; None for no limit.
        self.rate: float | None = None
        #: What becomes of octets towards the target.
        self.change: Change = bytes
        self.target = target
        #: Set when every cut that was asked for has been made.
        self.all_cut = asyncio.Event()
        self._cuts: deque[int] = deque()
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._speaking = asyncio.Event()
        self._open.set()
        self._speaking.set()

    async def serve(self) -> None:
        """Until cancelled; `address` is known after the first turn of the loop."""
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _HELD)
        listener.setblocking(False)
        self.address = Address("127.0.0.1", listener.getsockname()[1])
        with listener:
            while True:
                near, _ = await loop.sock_accept(listener)
                await self._open.wait()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _HELD)
                far.setblocking(False)
                await loop.sock_connect(far, (self.target.host, self.target.port))
                self.connections += 1
                self._sockets += [near, far]
                for source, sink, change in ((near, far, True), (far, near, False)):
                    task = asyncio.create_task(self._forward(source, sink, change))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    def cut_after(self, counts: Iterable[int]) -> None:
        """Cut whenever so many octets were forwarded in all; rising numbers."""
        self._cuts.extend(counts)

    def cut(self) -> None:
        """Reset every connection, as a link does that comes back after TCP gave up."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            loop = asyncio.get_running_loop()
            loop.remove_reader(one)
            loop.remove_writer(one)
            one.close()
        self._sockets.clear()
        for task in self._tasks:
            task.cancel()

    def shut(self) -> None:
        """Cut, and let nobody through until `reopen`."""
        self._open.clear()
        self.cut()

    def reopen(self) -> None:
        self._open.set()

    def silence(self) -> None:
        """Keep the connections and forward nothing."""
        self._speaking.clear()

    def speak(self) -> None:
        self._speaking.set()

    async def _forward(self, source: socket.socket, sink: socket.socket, change: bool) -> None:
        loop = asyncio.get_running_loop()
        free_at = loop.time()
        with contextlib.suppress(OSError):
            while octets := await loop.sock_recv(source, _HELD):
                self.taken += len(octets)
                if self.rate is not None:
                    free_at = max(free_at, loop.time()) + len(octets) / self.rate
                    await asyncio.sleep(free_at - loop.time())
                await self._speaking.wait()
                part = self.change(octets) if change else octets
                left = self._cuts[0] - self.forwarded if self._cuts else len(part) + 1
                await loop.sock_sendall(sink, part[:left])
                self.forwarded += len(part[:left])
                if left <= len(part):
                    self._cuts.popleft()
                    if not self._cuts:
                        self.all_cut.set()
                    loop.call_soon(self.cut)
                    return
            sink.shutdown(socket.SHUT_WR)


@contextlib.asynccontextmanager
async def relayed(target: Address) -> AsyncIterator[Relay]:
    """A relay to ``target`` while the block runs."""
    relay = Relay(target)
    serving = asyncio.create_task(relay.serve())
    await asyncio.sleep(0)
    try:
        yield relay
    finally:
        serving.cancel()
        relay.cut()
        await asyncio.gather(serving, *relay._tasks, return_exceptions=True)
