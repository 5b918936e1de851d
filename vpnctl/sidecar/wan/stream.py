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
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import cast

#: See `Stream.limit_unsent`; at first.
_UNSENT = 128 * 1024
#: Seconds that octets under way may stay unacknowledged before TCP gives up.
_USER_TIMEOUT_S = 20
#: Octets that the kernel is asked for at once.
_RECEIVE = 256 * 1024
_LINGER_S = 2.0
#: What one TLS record carries.
_TLS_RECORD = 16 * 1024
#: So many octets are encrypted and sent while they are close to the processor.
_AT_ONCE = 256 * 1024
#: ``tcpi_rtt``, in microseconds.
_TCP_INFO = struct.Struct("@68xI")


class Stream:
    """A connected, non-blocking socket of the running loop; one sender, one receiver."""

    def __init__(self, plain: socket.socket) -> None:
        plain.setblocking(False)
        self._socket = plain
        self._tls: ssl.SSLObject | None = None
        # Encrypted: what has come and was not read, what was written and not sent.
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._encrypted = bytearray(_RECEIVE)
        # Whether TLS has no whole record left.
        self._is_dry = False
        self._unsent = 0
        # What was begun to be sent, as it goes over the wire, and the kernel has not taken yet.
        self._rest = memoryview(b"")
        #: Seconds in which the kernel took nothing more to be sent.
        self.held_s = 0.0
        self._loop = asyncio.get_running_loop()
        # Who waits for octets, and whether the loop looks for them.
        self._reading: asyncio.Future[None] | None = None
        self._watched = False

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
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_S * 1000)
            stream = cls(plain)
            stream.limit_unsent(_UNSENT)
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

    @property
    def round_trip_s(self) -> float:
        """Seconds to the peer and back, as TCP has measured (``struct tcp_info``, ``tcp(7)``)."""
        told = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        return float(_TCP_INFO.unpack(told)[0]) / 1e6

    def limit_unsent(self, octets: int) -> None:
        """The kernel takes no more while it holds so many octets that it has not sent yet."""
        if octets != self._unsent:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, octets)
            self._unsent = octets

    async def send(self, octets: bytes) -> None:
        """All of ``octets``, when the kernel has them; raises `OSError` when it never will."""
        if not self.begin(octets):
            await self.finish()

    def begin(self, *parts: bytes | memoryview) -> bool:
        """Send what the kernel takes of ``parts`` at once; whether that is all of them.

        If not, `finish` has to come next, and finds out should the connection be broken.  Raises
        `ssl.SSLError` when TLS has ended.
        """
        if self._tls is None:
            self._begin(b"".join(parts))
            return not self._rest
        for octets in in_tls_records(parts):
            rest = memoryview(octets)
            while rest:
                rest = rest[self._tls.write(rest) :]
            if self._outgoing.pending >= _AT_ONCE:
                self._begin(self._outgoing.read())
        self._begin(self._outgoing.read())
        return not self._rest

    def _begin(self, octets: bytes) -> None:
        if self._rest:
            self._rest = memoryview(b"".join((self._rest, octets)))
            return
        self._rest = memoryview(octets)
        with contextlib.suppress(OSError):
            self._send_some()

    @property
    def has_begun(self) -> bool:
        """Whether something was begun that is not finished."""
        return bool(self._rest)

    async def finish(self) -> None:
        """Return when the kernel has all that was begun; raises `OSError` when it never will."""
        while self._rest:
            await self._when_ready(self._send_some, writing=True)

    async def receive(self, into: memoryview) -> int:
        """How many octets are there and were put ``into``: at least one, 0 at the end."""
        while True:
            # Until nothing is there: of an error the loop tells once, and it may lie behind octets.
            with contextlib.suppress(BlockingIOError):
                return self._read(into)
            await self._ready(writing=False)

    def receive_waiting(self, into: memoryview) -> int:
        """The same of what is there already; 0 as well if the connection is broken."""
        try:
            return self._read(into)
        except OSError:
            return 0

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

    def _read(self, into: memoryview) -> int:
        """See `receive`; raises `BlockingIOError` if none are there."""
        if self._tls is None:
            return self._socket.recv_into(into)
        have = None if self._is_dry else self._decrypt(into)
        while have is None:
            self._take_in()
            have = self._decrypt(into)
        return have

    def _decrypt(self, into: memoryview) -> int | None:
        """Octets of whole TLS records that have come, 0 at the end; None while there are none."""
        assert self._tls is not None
        have = 0
        self._is_dry = False
        try:
            while have < len(into):
                # With a buffer it gives how many octets it has put there.
                more = cast("int", self._tls.read(len(into) - have, into[have:]))
                if not more:
                    break
                have += more
        except ssl.SSLWantReadError:
            self._is_dry = True
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
        """All of ``octets``, as they are."""
        self._rest = memoryview(octets)
        await self.finish()

    def _send_some(self) -> int:
        count = self._socket.send(self._rest) if self._rest else 0
        self._rest = self._rest[count:]
        return count

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
        if writing:
            self._loop.add_writer(self._socket, _settle, done)
            try:
                await done
            finally:
                self._loop.remove_writer(self._socket)
            return
        # Most of the time somebody waits for octets to come: who looks for them goes on looking.
        self._reading = done
        if not self._watched:
            self._loop.add_reader(self._socket, self._came)
            self._watched = True
        await done

    def _came(self) -> None:
        """There are octets to be read, or the end is."""
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)
        else:
            self._loop.remove_reader(self._socket)
            self._watched = False


def in_tls_records(parts: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """All octets of ``parts``, some at once, so that each TLS record is full and little copied."""
    begun = b""
    for part in parts:
        if begun or len(part) < _TLS_RECORD:
            missing = _TLS_RECORD - len(begun)
            begun += part[:missing]
            if len(begun) < _TLS_RECORD:
                continue
            yield begun
            part = memoryview(part)[missing:]
        whole = len(part) - len(part) % _TLS_RECORD
        for begin in range(0, whole, _AT_ONCE):
            yield part[begin : min(begin + _AT_ONCE, whole)]
        begun = bytes(part[whole:])
    if begun:
        yield begun


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
