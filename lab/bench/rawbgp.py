"""A BGP speaker of a few lines, and the sink's memory of what it was sent.

Nothing here decodes a route: a sink records chunks of bytes with the time of their arrival, and
reads them when nothing more comes in.  The time at which its table became right is that of the
chunk that made it so, whatever the reading cost.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from dataclasses import dataclass, field

from lab.bench.workload import ASN, FAMILIES, Workload, message, signature

OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE_REFRESH = 1, 2, 3, 4, 5
KEEPALIVE_MESSAGE = message(KEEPALIVE, b"")
_HEADER = 19


class SessionLostError(Exception):
    """The peer closed the session; the message says what it sent last."""


def open_message(address: str, family: str, hold_time: int, *more: str) -> bytes:
    """OPEN with multiprotocol, route refresh and four-octet AS numbers (RFC 4271, 5492)."""
    capabilities = b""
    for afi, safi in (FAMILIES[name] for name in (family, *more)):
        capabilities += struct.pack("!BBHBB", 1, 4, afi, 0, safi)
    capabilities += struct.pack("!BB", 2, 0)
    capabilities += struct.pack("!BBI", 65, 4, ASN)
    parameters = struct.pack("!BB", 2, len(capabilities)) + capabilities
    head = struct.pack("!BHH4sB", 4, ASN, hold_time, socket.inet_aton(address), len(parameters))
    return message(OPEN, head + parameters)


def describe(notification: bytes) -> str:
    """A NOTIFICATION's body for a reader."""
    return f"NOTIFICATION {notification[0]}/{notification[1]} {notification[2:].hex()}"


def establish(
    source: str,
    target: tuple[str, int],
    family: str,
    hold_time: int,
    deadline: float,
    *more: str,
) -> tuple[socket.socket, bytes]:
    """Connect from ``source`` and bring a session up, trying again until ``deadline``.

    ``more``: further families to offer; ``deadline`` is a reading of `time.monotonic`.  Returns
    the blocking socket and what was read beyond the first KEEPALIVE.  Raises `SessionLostError`
    when time is up.
    """
    reason = "nothing listens"
    while time.monotonic() < deadline:
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            link.bind((source, 0))
            link.settimeout(5)
            link.connect(target)
            link.sendall(open_message(source, family, hold_time, *more))
            return link, _finish_opening(link)
        except (OSError, SessionLostError) as error:
            reason = str(error) or type(error).__name__
            link.close()
            time.sleep(0.1)
    raise SessionLostError(f"{source}: no session with {target[0]}:{target[1]}: {reason}")


def _finish_opening(link: socket.socket) -> bytes:
    """Answer the OPEN and wait for the first KEEPALIVE; returns what came after it."""
    buffer = b""
    while True:
        chunk = link.recv(65536)
        if not chunk:
            raise SessionLostError("closed while opening")
        buffer += chunk
        while len(buffer) >= _HEADER:
            length, kind = struct.unpack_from("!HB", buffer, 16)
            if len(buffer) < length:
                break
            body, buffer = buffer[_HEADER:length], buffer[length:]
            if kind == NOTIFICATION:
                raise SessionLostError(describe(body))
            if kind == OPEN:
                link.sendall(KEEPALIVE_MESSAGE)
            if kind == KEEPALIVE:
                link.settimeout(None)
                return buffer


@dataclass
class Table:
    """What a sink holds, compared with what it should hold.

    ``wrong``: number of NLRI that are missing, carry other attributes than expected, or should
    not be there.  ``complete_at``: arrival time (ns) of the chunk that brought it to zero.
    ``announced`` and ``withdrawn`` count NLRI since it was last told what to expect.
    ``loose``: any attributes will do, for a table that is loaded while rules change.
    """

    workload: Workload
    loose: bool = False
    expected: dict[bytes, bytes] = field(default_factory=dict)
    held: dict[bytes, bytes] = field(default_factory=dict)
    wrong: int = 0
    complete_at: int | None = None
    announced: int = 0
    updates: int = 0
    withdrawn: int = 0
    end_of_ribs: int = 0
    first_difference: str = ""
    _rest: bytes = b""

    def expect_all(self, versions: dict[int, int]) -> None:
        """Expect the whole table; ``versions``: customer -> version of its rule where not 0."""
        self.expected = self.workload.expected(versions)
        self._start_anew()

    def expect_changes(self, versions: dict[int, int]) -> None:
        """Expect new versions of some customers' rules, everything else as before."""
        for customer, version in versions.items():
            for index in self.workload.indexes(customer):
                nlri = self.workload.nlri(index)
                self.expected[nlri] = self.workload.signature(index, version)
        self._start_anew()

    def _start_anew(self) -> None:
        self.announced = self.updates = self.withdrawn = 0
        self.complete_at = None
        self.first_difference = ""
        self.wrong = sum(
            self._differs(self.held.get(nlri), want) for nlri, want in self.expected.items()
        )
        self.wrong += len(self.held.keys() - self.expected.keys())

    def _differs(self, seen: bytes | None, want: bytes | None) -> bool:
        if self.loose:
            return (seen is None) != (want is None)
        return seen != want

    def read(self, chunk: bytes, arrived: int) -> None:
        """Take in one chunk of the stream; raises `SessionLostError` on a NOTIFICATION."""
        was_wrong = self.wrong > 0
        buffer = self._rest + chunk if self._rest else chunk
        at, end = 0, len(buffer)
        while at + _HEADER <= end:
            length = buffer[at + 16] << 8 | buffer[at + 17]
            if at + length > end:
                break
            kind = buffer[at + 18]
            if kind == UPDATE:
                self._update(buffer[at + _HEADER : at + length])
            elif kind == NOTIFICATION:
                raise SessionLostError(describe(buffer[at + _HEADER : at + length]))
            at += length
        self._rest = buffer[at:]
        if was_wrong and not self.wrong:
            self.complete_at = arrived

    def _update(self, body: bytes) -> None:
        self.updates += 1
        at = 2 + (body[0] << 8 | body[1])
        end = at + 2 + (body[at] << 8 | body[at + 1])
        at += 2
        reach = unreach = communities = med = b""
        while at < end:
            code = body[at + 1]
            if body[at] & 0x10:
                length, value = body[at + 2] << 8 | body[at + 3], at + 4
            else:
                length, value = body[at + 2], at + 3
            at = value + length
            if code == 14:
                reach = body[value:at]
            elif code == 15:
                unreach = body[value:at]
            elif code == 16:
                communities = body[value:at]
            elif code == 4:
                med = body[value:at]
        if reach:
            next_hop_end = 4 + reach[3]
            seen = signature(communities, med, reach[4:next_hop_end])
            self._announce(reach, next_hop_end + 1, seen)
        if unreach:
            self._withdraw(unreach)
        elif not reach:
            self.end_of_ribs += 1

    def _announce(self, reach: bytes, at: int, seen: bytes) -> None:
        held, expected = self.held, self.expected
        for sent in self._split(reach, at):
            self.announced += 1
            nlri, want = sent, expected.get(sent)
            if want is None and self.workload.family == "vpnv4":
                # FRR sets bits below the label, which carry nothing (RFC 8277 section 2.2).
                nlri = sent[:3] + bytes((sent[3] & 0xF0 | 1,)) + sent[4:]
                want = expected.get(nlri)
            before = held.get(nlri)
            # An NLRI that nobody expects is wrong from its first announcement on.
            was_wrong = want is not None if before is None else self._differs(before, want)
            if self._differs(seen, want):
                self.wrong += not was_wrong
                if not self.first_difference:
                    self.first_difference = f"{nlri.hex()} has {seen.hex()}, expected " + (
                        want.hex() if want else "nothing"
                    )
            else:
                self.wrong -= was_wrong
            held[nlri] = seen

    def _withdraw(self, unreach: bytes) -> None:
        gone = list(self._split(unreach, 3))
        if not gone:
            self.end_of_ribs += 1
        self.withdrawn += len(gone)

    def _split(self, field_: bytes, at: int) -> list[bytes]:
        family, end, found = self.workload.family, len(field_), []
        while at < end:
            if family == "vpnv4":
                size = 1 + (field_[at] + 7 >> 3)
            elif family == "evpn":
                size = 2 + field_[at + 1]
            else:
                size = 2 + (field_[at] << 8 | field_[at + 1])
            found.append(field_[at : at + size])
            at += size
        return found


def receive_timeout(link: socket.socket, seconds: float) -> None:
    """Let a blocking ``recv`` give up after ``seconds``: one system call per chunk, not two."""
    whole = int(seconds)
    value = struct.pack("ll", whole, int((seconds - whole) * 1e6))
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)


def close(link: socket.socket) -> None:
    """Close at once, without lingering data."""
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()
