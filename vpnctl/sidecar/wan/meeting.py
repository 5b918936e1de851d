"""Who dials and who listens: both give greeted connections to a `Lifeline`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator

from vpnctl.errors import SidecarError, SidecarProtocolError
from vpnctl.sidecar.wan.acquaintance import DestinationAcquaintance, SourceAcquaintance
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.connection import (
    Connection,
    ConnectionEvent,
    PeerAborted,
    PeerGreeted,
)
from vpnctl.sidecar.wan.greeting import Greeting
from vpnctl.sidecar.wan.met import CutError, Met
from vpnctl.sidecar.wan.stream import Stream
from vpnctl.sidecar.wan.tls import Tls, check_name, explain

#: Seconds for TCP, TLS and the greeting of one attempt.
_ATTEMPT_S = 10.0
#: Seconds between attempts: none at first, then twice as many each time.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
#: Visitors that may be shaking hands at the same time; when there are more, the oldest of the host
#: that has most of them is sent away: who comes to block the door blocks himself.
_MOST_VISITORS = 16


class Dialer:
    """The source's side: connects to ``peer``.

    ``tls`` None is plain TCP, which `check_plain` allows on loopback alone.
    """

    def __init__(self, peer: Address, tls: Tls | None, acquaintance: SourceAcquaintance) -> None:
        self._peer = peer
        self._tls = tls
        self._context = tls.client_context() if tls else None
        self._acquaintance = acquaintance
        self._pause = 0.0

    async def meet(self, received: int) -> Met:
        """See `vpnctl.sidecar.wan.met.Meeting`."""
        await asyncio.sleep(self._pause)
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                met = await self._attempt(received)
        except TimeoutError:
            raise CutError(f"{self._peer} did not answer within {_ATTEMPT_S:g} s") from None
        except ssl.SSLError as error:
            if refusal := explain(error, str(self._peer)):
                raise refusal from error
            raise CutError(f"{self._peer}: {error}") from error
        except OSError as error:
            raise CutError(f"{self._peer}: {_reason(error)}") from error
        self._pause = 0.0
        return met

    async def replaced(self) -> None:
        """Never: nobody visits the one who dials."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing is open between two attempts."""

    async def _attempt(self, received: int) -> Met:
        plain = await _connected(self._peer)
        name = self._tls.peer_name if self._tls else None
        stream = await Stream.over_tcp(plain, self._context, server_name=name)
        connection = Connection()
        try:
            connection.greet(self._acquaintance.ours, received)
            await stream.send(connection.last_words())
            greeting, rest = await _greeted(stream, connection)
        except BaseException:
            stream.close()
            raise
        try:
            self._acquaintance.accept(greeting)
        except SidecarError as error:
            await _refuse(stream, connection, error)
            raise
        return Met(stream, connection, greeting, rest)


class Listener:
    """The destination's side: waits for the source at ``address``, from `open` on.

    A visitor that is not the source is told why and sent away, and ``notice`` is called with it;
    the migration goes on without it.
    """

    def __init__(
        self,
        address: Address,
        tls: Tls | None,
        acquaintance: DestinationAcquaintance,
        notice: Callable[[str], None],
    ) -> None:
        self._address = address
        self._tls = tls
        self._context = tls.server_context() if tls else None
        self._acquaintance = acquaintance
        self._notice = notice
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        # Who is shaking hands, and from which host; the oldest first.
        self._visitors: dict[asyncio.Task[None], str] = {}
        # The source's latest connection, until `meet` takes it.
        self._latest: Met | None = None
        self._came = asyncio.Event()

    async def open(self) -> Address:
        """Listen; where exactly, should the port have been left to the system.

        Raises `SidecarError` when the address cannot be had.
        """
        host, port = self._address.host, self._address.port
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            listener = socket.create_server(
                found[0][4][:2], family=found[0][0], dualstack_ipv6=host == "::"
            )
        except OSError as error:
            raise SidecarError(
                f"{self._address} cannot be listened on: {_reason(error)}",
                hint="choose another address or port with --listen",
            ) from error
        listener.setblocking(False)
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener))
        return Address(host, listener.getsockname()[1])

    async def meet(self, received: int) -> Met:
        """See `vpnctl.sidecar.wan.met.Meeting`."""
        await self._came.wait()
        self._came.clear()
        met, self._latest = self._latest, None
        assert met is not None
        met.connection.greet(self._acquaintance.answer(met.peer), received)
        return met

    async def replaced(self) -> None:
        """See `vpnctl.sidecar.wan.met.Meeting`."""
        await self._came.wait()

    async def close(self) -> None:
        """Send all visitors away and listen no more."""
        tasks = [*self._visitors, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._latest is not None:
            self._latest.stream.close()
        if self._listener is not None:
            self._listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                plain, where = await loop.sock_accept(listener)
            except OSError as error:
                # Out of file descriptors, or a visitor that left at once: neither lasts.
                self._notice(f"a visitor could not be let in: {_reason(error)}")
                await asyncio.sleep(_FIRST_PAUSE_S)
                continue
            if len(self._visitors) >= _MOST_VISITORS:
                self._make_room()
            visit = asyncio.create_task(self._visit(plain, str(Address(*where[:2]))))
            self._visitors[visit] = where[0]
            visit.add_done_callback(functools.partial(self._left, plain))

    def _make_room(self) -> None:
        ((crowd, _),) = Counter(self._visitors.values()).most_common(1)
        oldest = next(visit for visit, host in self._visitors.items() if host == crowd)
        del self._visitors[oldest]
        oldest.cancel()

    def _left(self, plain: socket.socket, visit: asyncio.Task[None]) -> None:
        self._visitors.pop(visit, None)
        if visit.cancelled():
            # It may not even have begun, and nobody else would close this.
            plain.close()

    async def _visit(self, plain: socket.socket, where: str) -> None:
        """Shake hands with one visitor; if it is the source, `meet` gives it."""
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                stream = await Stream.over_tcp(plain, self._context)
                try:
                    met = await self._greet(stream)
                except BaseException:
                    stream.close()
                    raise
        except TimeoutError:
            self._turned_away(where, f"it said nothing for {_ATTEMPT_S:g} s")
        except (CutError, ConnectionError):
            # It left by itself, or its link was cut: nobody was turned away.
            pass
        except SidecarError as error:
            self._turned_away(where, error.message)
        except ssl.SSLError as error:
            told = explain(error, "it")
            self._turned_away(where, told.message if told else str(error))
        except OSError as error:
            self._turned_away(where, _reason(error))
        else:
            if self._latest is not None:
                self._latest.stream.close()
            self._latest = met
            self._came.set()

    async def _greet(self, stream: Stream) -> Met:
        connection = Connection()
        try:
            if self._tls is not None:
                check_name(stream.peer_certificate, self._tls.peer_name)
            greeting, rest = await _greeted(stream, connection)
            self._acquaintance.answer(greeting)
        except SidecarError as error:
            await _refuse(stream, connection, error)
            raise
        return Met(stream, connection, greeting, rest)

    def _turned_away(self, where: str, why: str) -> None:
        self._notice(f"the visitor {where} was turned away: {why}")


def _reason(error: OSError) -> str:
    # asyncio says which call failed; the system says why.
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def _connected(peer: Address) -> socket.socket:
    """A TCP connection to the first of the peer's addresses that answers."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    for left, (family, kind, protocol, _, where) in enumerate(found, 1 - len(found)):
        plain = socket.socket(family, kind, protocol)
        plain.setblocking(False)
        try:
            await loop.sock_connect(plain, where)
        except OSError:
            plain.close()
            if not left:
                raise
        except BaseException:
            plain.close()
            raise
        else:
            return plain
    raise OSError(f"{peer.host} has no address")


async def _greeted(
    stream: Stream, connection: Connection
) -> tuple[Greeting, Iterator[ConnectionEvent]]:
    while count := await stream.receive(connection.room()):
        events = connection.receive(count)
        for event in events:
            match event:
                case PeerGreeted():
                    return event.greeting, events
                case PeerAborted():
                    raise SidecarError(
                        f"the other site refused: {event.reason}",
                        hint="the guest runs on at the source",
                    )
                case _:
                    raise SidecarProtocolError("the peer did not greet")
    raise CutError("the peer closed the connection without a greeting")


async def _refuse(stream: Stream, connection: Connection, error: SidecarError) -> None:
    """Tell the peer why we do not go on with it, and close."""
    connection.abort(error.message)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await stream.send(connection.last_words())
    await stream.close_gently()
