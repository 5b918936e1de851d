"""A connected socket, plain or TLS, without any buffer of our own.

What asyncio's transports and `asyncio.StreamWriter` hold back would be octets that QEMU believes
to have arrived; here a record is either with us or with the kernel, and the kernel is told to
hold little that it has not sent.  It is faster, too: a record is encrypted from where it lies.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")

#: The kernel takes no more while it holds so many octets that it has not sent yet.
NOT_SENT_LOWAT = 128 * 1024
#: Seconds that octets under way may stay unacknowledged before TCP gives up.
_USER_TIMEOUT_S = 20
#: What lies across two receipts is copied once more: four records of the largest size go into one.
_RECEIVE = 1024 * 1024
_LINGER_S = 2.0


class Stream:
    """A connected, non-blocking socket of the running loop; one sender, one receiver."""

    def __init__(self, plain: socket.socket) -> None:
        plain.setblocking(False)
        self._socket = plain
        self._tls: ssl.SSLSocket | None = None
        self._buffer = bytearray(_RECEIVE)
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def over_tcp(
        cls, plain: socket.socket, context: ssl.SSLContext | None, server_name: str | None = None
    ) -> Stream:
        """Take a TCP connection over and, with a context, make it TLS.

        ``server_name`` is given by the side that dialled.  Raises `OSError` (`ssl.SSLError` is
        one); the socket is closed then.
        """
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_LOWAT)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_S * 1000)
            stream = cls(plain)
            if context is not None:
                await stream._handshake(context, server_name)
        except BaseException:
            plain.close()
            raise
        return stream

    @property
    def peer_certificate(self) -> dict[str, object]:
        """The peer's certificate as `ssl.SSLSocket.getpeercert` gives it; empty without TLS."""
        found = self._tls.getpeercert() if self._tls is not None else None
        return dict(found or {})

    async def send(self, octets: bytes) -> None:
        """All of ``octets``, when the kernel has them; raises `OSError` when it never will."""
        rest = memoryview(octets)

        def some() -> int:
            # A refused TLS record has to be offered again as it was: `rest` stays meanwhile.
            return self._present.send(rest)

        while rest:
            rest = rest[await self._when_ready(some, writing=True) :]

    async def receive(self) -> bytes:
        """Octets that are there, at least one; empty at the end of the stream."""
        view = memoryview(self._buffer)
        have = await self._when_ready(lambda: self._present.recv_into(view), writing=False)
        if self._tls is not None and have:
            # A TLS socket gives one record at a time: take those that are there.
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                while have < len(view) and (more := self._tls.recv_into(view[have:])):
                    have += more
        return bytes(view[:have])

    def receive_waiting(self) -> bytes:
        """Octets that are there already; empty if there are none, or the connection is broken."""
        try:
            return bytes(memoryview(self._buffer)[: self._present.recv_into(self._buffer)])
        except OSError:
            return b""

    def close(self) -> None:
        """Close at once; to do so twice is fine."""
        if self._present.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._present.close()

    async def close_gently(self) -> None:
        """Close so that the peer can still read what was sent, though it is sending itself."""
        with contextlib.suppress(OSError, TimeoutError):
            self._present.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LINGER_S):
                while await self._when_ready(
                    lambda: socket.socket.recv_into(self._present, self._buffer), writing=False
                ):
                    pass
        self.close()

    @property
    def _present(self) -> socket.socket:
        return self._tls or self._socket

    async def _handshake(self, context: ssl.SSLContext, server_name: str | None) -> None:
        tls = context.wrap_socket(
            self._socket,
            server_side=server_name is None,
            server_hostname=server_name,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=True,
        )
        self._socket = self._tls = tls
        await self._when_ready(tls.do_handshake, writing=False)

    async def _when_ready(self, attempt: Callable[[], _Result], *, writing: bool) -> _Result:
        while True:
            try:
                return attempt()
            except ssl.SSLWantReadError:
                await self._ready(writing=False)
            except ssl.SSLWantWriteError:
                await self._ready(writing=True)
            except BlockingIOError:
                await self._ready(writing=writing)

    async def _ready(self, *, writing: bool) -> None:
        done = self._loop.create_future()

        def ready() -> None:
            if not done.done():
                done.set_result(None)

        add, remove = (
            (self._loop.add_writer, self._loop.remove_writer)
            if writing
            else (self._loop.add_reader, self._loop.remove_reader)
        )
        add(self._socket, ready)
        try:
            await done
        finally:
            remove(self._socket)
