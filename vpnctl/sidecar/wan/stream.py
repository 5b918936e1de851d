"""A connected socket, plain or TLS, without any buffer of our own.

What asyncio's transports and `asyncio.StreamWriter` hold back would be octets that QEMU believes
to have arrived; here a record is either with us or with the kernel, and the kernel is told to
hold little that it has not sent.  TLS works on memory: a socket of Python's `ssl` would ask the
kernel once for each TLS record to be sent, and twice for each that comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import cast

#: The kernel takes no more while it holds so many octets that it has not sent yet.
NOT_SENT_LOWAT = 128 * 1024
#: Seconds that octets under way may stay unacknowledged before TCP gives up.
_USER_TIMEOUT_S = 20
#: What lies across two receipts is copied once more: two records of the largest size go into one.
_RECEIVE = 512 * 1024
_LINGER_S = 2.0


class Stream:
    """A connected, non-blocking socket of the running loop; one sender, one receiver."""

    def __init__(self, plain: socket.socket) -> None:
        plain.setblocking(False)
        self._socket = plain
        self._tls: ssl.SSLObject | None = None
        # Encrypted: what has come and was not read, what was written and not sent.
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._buffer = bytearray(_RECEIVE)
        self._encrypted = bytearray(_RECEIVE)
        #: Seconds in which the kernel took nothing more to be sent.
        self.held_s = 0.0
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
        """The peer's certificate as `ssl.SSLObject.getpeercert` gives it; empty without TLS."""
        found = self._tls.getpeercert() if self._tls is not None else None
        return dict(found or {})

    async def send(self, octets: bytes) -> None:
        """All of ``octets``, when the kernel has them; raises `OSError` when it never will."""
        if self._tls is None:
            await self._send(octets)
            return
        rest = memoryview(octets)
        while rest:
            rest = rest[self._tls.write(rest) :]
        await self._send(self._outgoing.read())

    async def receive(self) -> bytes:
        """Octets that are there, at least one; empty at the end of the stream."""
        while True:
            try:
                return self._read()
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._ready(writing=False)

    def receive_waiting(self) -> bytes:
        """Octets that are there already; empty if there are none, or the connection is broken."""
        try:
            return self._read()
        except OSError:
            return b""

    def close(self) -> None:
        """Close at once; to do so twice is fine."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()

    async def close_gently(self) -> None:
        """Close so that the peer can still read what was sent, though it is sending itself."""
        with contextlib.suppress(OSError, TimeoutError):
            self._socket.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LINGER_S):
                while await self._when_ready(
                    lambda: self._socket.recv_into(self._encrypted), writing=False
                ):
                    pass
        self.close()

    async def _handshake(self, context: ssl.SSLContext, server_name: str | None) -> None:
        self._tls = tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
        )
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send(self._outgoing.read())
                await self._when_ready(self._take_in, writing=False)
            except ssl.SSLError:
                # The peer is told why, if it is still there.
                with contextlib.suppress(OSError):
                    await self._send(self._outgoing.read())
                raise
            else:
                await self._send(self._outgoing.read())
                return

    def _read(self) -> bytes:
        """Octets that are there; raises `BlockingIOError` or `ssl.SSLWantReadError` if none are."""
        view = memoryview(self._buffer)
        if self._tls is None:
            return bytes(view[: self._socket.recv_into(view)])
        have = self._decrypt(view)
        while have is None:
            self._take_in()
            have = self._decrypt(view)
        return bytes(view[:have])

    def _decrypt(self, into: memoryview) -> int | None:
        """Octets of whole TLS records that have come, 0 at the end; None while there are none."""
        assert self._tls is not None
        have = 0
        try:
            while have < len(into):
                # With a buffer it gives how many octets it has put there.
                more = cast("int", self._tls.read(len(into) - have, into[have:]))
                if not more:
                    break
                have += more
        except ssl.SSLWantReadError:
            return have or None
        except ssl.SSLEOFError:
            # The peer's end without a word is its end.
            pass
        return have

    def _take_in(self) -> int:
        """Have the kernel's octets for TLS; how many."""
        count = self._socket.recv_into(self._encrypted)
        if count:
            self._incoming.write(memoryview(self._encrypted)[:count])
        else:
            self._incoming.write_eof()
        return count

    async def _send(self, octets: bytes) -> None:
        rest = memoryview(octets)

        def some() -> int:
            return self._socket.send(rest)

        while rest:
            rest = rest[await self._when_ready(some, writing=True) :]

    async def _when_ready(self, attempt: Callable[[], int], *, writing: bool) -> int:
        while True:
            try:
                return attempt()
            except BlockingIOError:
                begun = self._loop.time()
                await self._ready(writing=writing)
                if writing:
                    self.held_s += self._loop.time() - begun

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
