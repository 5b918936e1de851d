"""A minimal BGP speaker for tests: octets in, octets out, nothing decoded but the OPEN.

::

    with RawPeer(local="127.0.0.2", remote=("127.0.0.1", port), asn=65001) as peer:
        peer.connect()
        peer.wait_established()
        peer.send(update)
        peer.wait(lambda: len(peer.updates) == 1)

A thread of its own reads and sends KEEPALIVEs; every ``wait`` is on a condition that this thread
notifies, so nothing sleeps.  From asyncio: ``await asyncio.to_thread(peer.wait, ...)``.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Self

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, REFRESH = 1, 2, 3, 4, 5
VPNV4, VPNV6, VPLS, EVPN = (1, 128), (2, 128), (25, 65), (25, 70)
ALL_FAMILIES = (VPNV4, VPNV6, VPLS, EVPN)
AS_TRANS = 23456


def message(kind: int, body: bytes = b"") -> bytes:
    return MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def split_messages(octets: bytes) -> list[bytes]:
    """Whole messages, headers included; ``octets`` must hold nothing else."""
    found, position = [], 0
    while position < len(octets):
        length = int.from_bytes(octets[position + 16 : position + 18], "big")
        assert octets[position : position + 16] == MARKER
        assert 19 <= length <= len(octets) - position
        found.append(octets[position : position + length])
        position += length
    return found


def capability(code: int, value: bytes = b"") -> bytes:
    return bytes((code, len(value))) + value


def add_path(*families: tuple[int, int], send: bool, receive: bool) -> bytes:
    """RFC 7911 section 4."""
    mode = receive | send << 1
    return capability(69, b"".join(struct.pack("!HBB", *each, mode) for each in families))


def multiprotocol(family: tuple[int, int]) -> bytes:
    return capability(1, struct.pack("!HBB", family[0], 0, family[1]))


def open_message(
    *,
    asn: int,
    router_id: str,
    families: tuple[tuple[int, int], ...] = ALL_FAMILIES,
    hold_time: int = 90,
    asn4: bool = True,
    refresh: bool = True,
    extended: bool = False,
    more: bytes = b"",
) -> bytes:
    """An OPEN; ``more``: further capabilities, encoded."""
    capabilities = b"".join(multiprotocol(family) for family in families)
    if asn4:
        capabilities += capability(65, struct.pack("!I", asn))
    if refresh:
        capabilities += capability(2) + capability(70)
    if extended:
        capabilities += capability(6)
    capabilities += more
    parameters = bytes((2, len(capabilities))) + capabilities if capabilities else b""
    short = asn if asn <= 0xFFFF else AS_TRANS
    head = struct.pack(
        "!BHH4sB", 4, short, hold_time, IPv4Address(router_id).packed, len(parameters)
    )
    return message(OPEN, head + parameters)


def update(mark: int = 0, *, size: int = 0) -> bytes:
    """A well-framed UPDATE that is told from others by ``mark``: MP_UNREACH_NLRI, VPNv4.

    ``size`` pads it to that many octets, with an unknown optional transitive attribute.
    """
    nlri = struct.pack("!B3s8sI", 120, b"\x80\x00\x00", b"\0\0\xfd\xe8\0\0\0\1", mark)
    value = struct.pack("!HB", 1, 128) + nlri
    attributes = struct.pack("!BBB", 0x80, 15, len(value)) + value
    if size:
        padding = size - 23 - len(attributes) - 4
        attributes += struct.pack("!BBH", 0xD0, 200, padding) + bytes(padding)
    return message(UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes)


def mark_of(octets: bytes) -> int:
    """The ``mark`` of an `update`."""
    return int.from_bytes(octets[23 + 3 + 3 + 12 : 23 + 3 + 3 + 16], "big")


def end_of_rib(family: tuple[int, int]) -> bytes:
    """RFC 4724 section 2."""
    attribute = struct.pack("!BBBHB", 0x80, 15, 3, *family)
    return message(UPDATE, struct.pack("!HH", 0, len(attribute)) + attribute)


@dataclass(frozen=True)
class Opened:
    """What the other side's OPEN says; ``capabilities`` as (code, value) in order."""

    asn: int
    hold_time: int
    router_id: IPv4Address
    capabilities: tuple[tuple[int, bytes], ...]

    @property
    def families(self) -> frozenset[tuple[int, int]]:
        values = [value for code, value in self.capabilities if code == 1]
        return frozenset((int.from_bytes(v[:2], "big"), v[3]) for v in values)

    def has(self, code: int) -> bool:
        return any(code == found for found, _ in self.capabilities)


def parse_open(octets: bytes) -> Opened:
    _version, asn, hold_time, router_id, length = struct.unpack_from("!BHH4sB", octets, 19)
    parameters, capabilities = octets[29 : 29 + length], []
    while parameters:
        value, parameters = parameters[2 : 2 + parameters[1]], parameters[2 + parameters[1] :]
        while value:
            capabilities.append((value[0], value[2 : 2 + value[1]]))
            if value[0] == 65:
                asn = int.from_bytes(value[2:6], "big")
            value = value[2 + value[1] :]
    return Opened(asn, hold_time, IPv4Address(router_id), tuple(capabilities))


class RawPeer:
    """One BGP speaker at ``local``, talking to ``remote`` (address, port).

    ``messages``: all that came, whole, with headers; ``updates``: the UPDATEs among them.
    ``notification``: code and subcode received.  ``closed``: the connection has ended.
    """

    def __init__(
        self,
        *,
        local: str = "127.0.0.2",
        remote: tuple[str, int] = ("127.0.0.1", 0),
        asn: int = 65001,
        router_id: str = "10.255.0.2",
        families: tuple[tuple[int, int], ...] = ALL_FAMILIES,
        hold_time: int = 90,
        asn4: bool = True,
        refresh: bool = True,
        extended: bool = False,
        more: bytes = b"",
    ) -> None:
        self.local, self.remote = local, remote
        self.open = open_message(
            asn=asn,
            router_id=router_id,
            families=families,
            hold_time=hold_time,
            asn4=asn4,
            refresh=refresh,
            extended=extended,
            more=more,
        )
        self.keepalive_every = hold_time / 3
        self.messages: list[bytes] = []
        self.updates: list[bytes] = []
        self.keepalives = 0
        self.notification: tuple[int, int] | None = None
        self.opened: Opened | None = None
        self.closed = False
        self.changed = threading.Condition()
        #: Cleared, nothing is read: the peer is slow, TCP's window closes.
        self.reading = threading.Event()
        self.reading.set()
        self._family = socket.AF_INET6 if ":" in local else socket.AF_INET
        self._listening: socket.socket | None = None
        self._sock: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._wake, self._woken = socket.socketpair()
        self._sending = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        for sock in (self._listening, self._wake, self._woken):
            if sock is not None:
                sock.close()

    # -- coming up --

    def listen(
        self, port: int = 0, *, prepare: Callable[[socket.socket], None] | None = None
    ) -> int:
        """Listen at ``local``; the port.  Then `accept`.  ``prepare``: sets socket options."""
        self._listening = socket.create_server((self.local, port), family=self._family)
        if prepare is not None:
            prepare(self._listening)
        return int(self._listening.getsockname()[1])

    def accept(self, timeout: float = 20.0) -> Self:
        assert self._listening is not None
        self._listening.settimeout(timeout)
        sock, _ = self._listening.accept()
        self._begin(sock)
        return self

    def connect(
        self,
        *,
        receive_buffer: int = 0,
        quiet: bool = False,
        prepare: Callable[[socket.socket], None] | None = None,
    ) -> Self:
        """``quiet``: send nothing, not even an OPEN, and start no thread; use `sock`.
        ``prepare``: sets options of the socket before it connects."""
        sock = socket.socket(self._family)
        if prepare is not None:
            prepare(sock)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((self.local, 0))
        sock.settimeout(20.0)
        sock.connect(self.remote)
        if quiet:
            self._sock = sock
        else:
            self._begin(sock)
        return self

    @property
    def sock(self) -> socket.socket:
        assert self._sock is not None
        return self._sock

    def _begin(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.messages, self.updates, self.notification, self.opened = [], [], None, None
        self.keepalives, self.closed = 0, False
        self._sock = sock
        self.send(self.open)
        self._thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
        self._thread.start()

    # -- what tests do --

    def send(self, octets: bytes) -> None:
        """Blocks while the other side does not read."""
        with self._sending:
            self.sock.sendall(octets)

    def wait(self, condition: Callable[[], bool], what: str = "", timeout: float = 30.0) -> None:
        """Until ``condition`` holds; fails with ``what`` after ``timeout`` seconds."""
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise AssertionError(
                    f"waited in vain for {what or 'the peer'}: {len(self.messages)} messages, "
                    f"NOTIFICATION {self.notification}, closed: {self.closed}"
                )

    def wait_established(self, timeout: float = 30.0) -> Self:
        """OPEN and KEEPALIVE have come."""
        self.wait(lambda: self.opened is not None and self.keepalives > 0, "a session", timeout)
        return self

    def wait_updates(self, count: int, timeout: float = 30.0) -> list[bytes]:
        self.wait(lambda: len(self.updates) >= count, f"{count} UPDATEs", timeout)
        return self.updates

    def wait_closed(self, timeout: float = 30.0) -> tuple[int, int] | None:
        """The NOTIFICATION that ended it, if one did."""
        self.wait(lambda: self.closed, "the end of the session", timeout)
        return self.notification

    def pause(self) -> None:
        """Read nothing from now on, until `resume`."""
        self.reading.clear()
        self._wake.send(b"x")

    def resume(self) -> None:
        self.reading.set()
        self._wake.send(b"x")

    def close(self) -> None:
        """End the TCP connection without a word."""
        sock, self._sock = self._sock, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            if self._thread is not None:
                self._wake.send(b"x")
                self._thread.join(10.0)
            sock.close()

    # -- the thread --

    def _run(self, sock: socket.socket) -> None:
        rest = b""
        keepalive_at = time.monotonic() + self.keepalive_every if self.keepalive_every else None
        while True:
            timeout = None if keepalive_at is None else max(0.0, keepalive_at - time.monotonic())
            wanted = [self._woken, sock] if self.reading.is_set() else [self._woken]
            ready, _, _ = select.select(wanted, [], [], timeout)
            if self._woken in ready:
                self._woken.recv(100)
                if self._sock is None:
                    break
            if keepalive_at is not None and time.monotonic() >= keepalive_at and self.opened:
                keepalive_at = time.monotonic() + self.keepalive_every
                # A send that blocks elsewhere says enough by itself.
                if self._sending.acquire(blocking=False):
                    try:
                        sock.sendall(message(KEEPALIVE))
                    except OSError:
                        break
                    finally:
                        self._sending.release()
            elif keepalive_at is not None and time.monotonic() >= keepalive_at:
                keepalive_at = time.monotonic() + self.keepalive_every
            if sock in ready:
                try:
                    octets = sock.recv(1 << 20)
                except OSError:
                    break
                if octets:
                    rest = self._take(rest + octets, sock)
                if not octets or self.notification is not None:
                    break
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _take(self, octets: bytes, sock: socket.socket) -> bytes:
        position, end = 0, len(octets)
        with self.changed:
            while end - position >= 19:
                length = int.from_bytes(octets[position + 16 : position + 18], "big")
                if end - position < length:
                    break
                self._note(octets[position : position + length], sock)
                position += length
            self.changed.notify_all()
        return octets[position:]

    def _note(self, octets: bytes, sock: socket.socket) -> None:
        self.messages.append(octets)
        kind = octets[18]
        if kind == UPDATE:
            self.updates.append(octets)
        elif kind == KEEPALIVE:
            self.keepalives += 1
        elif kind == NOTIFICATION:
            self.notification = (octets[19], octets[20])
        elif kind == OPEN:
            self.opened = parse_open(octets)
            sock.sendall(message(KEEPALIVE))
