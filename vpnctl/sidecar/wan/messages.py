"""Messages: what the octets of a transfer mean.

Each is a header of 5 octets and a payload::

    0      1        5
    | kind | length | payload ...
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, TypeAlias

from vpnctl.errors import SidecarProtocolError

HEADER = struct.Struct("!BI")
_CHECK = struct.Struct("!Q16s")
_GIVEN = struct.Struct("!QQ")
_VERDICT = struct.Struct("!B")

#: What is shorter is copied: a view of it would keep all that it is a view of.
_SMALL = 64 * 1024
#: A piece of the return path is not longer.
MAX_RETURN = 64 * 1024


class Kind(IntEnum):
    """Kinds of messages."""

    # source -> destination
    PAYLOAD = 1
    CHECK = 2
    END = 3
    # destination -> source
    RETURN = 16
    RETURN_END = 17
    VERDICT = 18
    GIVEN = 19


class Outcome(IntEnum):
    """What became of the guest at the destination, as far as its QEMU said."""

    FAILED = 0
    LOADED = 1
    #: QEMU closed its socket, and had never used its return path.
    UNSAID = 2


@dataclass(frozen=True, slots=True)
class Payload:
    """What the codec made of octets of the guest's stream.

    ``more``: how ``octets`` go on; empty when they have arrived.
    """

    kind: ClassVar[Kind] = Kind.PAYLOAD
    octets: bytes | memoryview
    more: tuple[bytes | memoryview, ...] = ()

    @property
    def size(self) -> int:
        """Octets of all parts."""
        return len(self.octets) + sum(map(len, self.more))


@dataclass(frozen=True, slots=True)
class Check:
    """All payloads so far stand for ``octets`` octets, and XXH3-128 over these is ``digest``."""

    kind: ClassVar[Kind] = Kind.CHECK
    octets: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The source's QEMU has closed its side; a `Check` of everything went before."""

    kind: ClassVar[Kind] = Kind.END


@dataclass(frozen=True, slots=True)
class Return:
    """Octets of the return path, from the destination's QEMU."""

    kind: ClassVar[Kind] = Kind.RETURN
    octets: bytes


@dataclass(frozen=True, slots=True)
class ReturnEnd:
    """The destination's QEMU has closed its side."""

    kind: ClassVar[Kind] = Kind.RETURN_END


@dataclass(frozen=True, slots=True)
class Given:
    """The destination's QEMU was given ``octets`` octets of the guest's stream so far, and the
    destination had nothing to do for ``starved_us`` microseconds."""

    kind: ClassVar[Kind] = Kind.GIVEN
    octets: int
    starved_us: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The last message: what became of the guest."""

    kind: ClassVar[Kind] = Kind.VERDICT
    outcome: Outcome


Message: TypeAlias = Payload | Check | End | Return | ReturnEnd | Given | Verdict

SOURCE_SAYS = frozenset({Kind.PAYLOAD, Kind.CHECK, Kind.END})
DESTINATION_SAYS = frozenset({Kind.RETURN, Kind.RETURN_END, Kind.GIVEN, Kind.VERDICT})


def encode(message: Message) -> tuple[bytes | memoryview, ...]:
    """The octets of a message, in parts that are not copied."""
    match message:
        case Payload():
            return HEADER.pack(message.kind, message.size), message.octets, *message.more
        case Return():
            body: bytes | memoryview = message.octets
        case Check():
            body = _CHECK.pack(message.octets, message.digest)
        case Given():
            body = _GIVEN.pack(message.octets, message.starved_us)
        case Verdict():
            body = _VERDICT.pack(message.outcome)
        case End() | ReturnEnd():
            return (HEADER.pack(message.kind, 0),)
    return HEADER.pack(message.kind, len(body)), body


class MessageReader:
    """Messages out of a stream that is cut anywhere.

    ``expected``: what the peer may say.  ``max_payload``: the longest `Payload`, in octets; no
    more than that and what is fed is held.
    """

    def __init__(self, expected: frozenset[Kind], max_payload: int) -> None:
        self._limits = {
            kind: limit
            for kind, limit in (
                (Kind.PAYLOAD, max_payload),
                (Kind.CHECK, _CHECK.size),
                (Kind.END, 0),
                (Kind.RETURN, MAX_RETURN),
                (Kind.RETURN_END, 0),
                (Kind.GIVEN, _GIVEN.size),
                (Kind.VERDICT, _VERDICT.size),
            )
            if kind in expected
        }
        # An incomplete message, and how much of it is here; copied, as a view of one octet would
        # keep all it is a view of.
        self._held = bytearray()
        self._have = 0
        self._over = False

    def feed(self, octets: bytes | memoryview) -> Iterator[Message]:
        """The messages that ``octets`` complete; exhaust the iterator before feeding more.

        They may be views of ``octets``, which must not change.

        Raises `SidecarProtocolError` on anything else.
        """
        stream = memoryview(octets)
        while stream:
            whole = not self._have and len(stream) >= HEADER.size
            if whole and (size := self._size(stream)) <= len(stream):
                message, stream = stream[:size], stream[size:]
                if size < _SMALL:
                    message = memoryview(bytes(message))
            else:
                stream = stream[self._collect(stream) :]
                if self._have < HEADER.size or self._have < self._size(self._held):
                    continue
                message, self._held, self._have = memoryview(self._held), bytearray(), 0
            kind = Kind(message[0])
            self._over = kind in (Kind.END, Kind.VERDICT)
            yield _decode(kind, message[HEADER.size :])

    def _collect(self, stream: memoryview) -> int:
        """Take what is missing of the header, or of the message; how many octets that is."""
        size = self._size(self._held) if self._have >= HEADER.size else HEADER.size
        # Room for all of it at once: long messages come in many parts.
        self._held.extend(bytes(size - len(self._held)))
        part = stream[: size - self._have]
        self._held[self._have : self._have + len(part)] = part
        self._have += len(part)
        return len(part)

    def _size(self, begun: bytearray | memoryview) -> int:
        """Octets of the message whose header this begins with."""
        number, length = HEADER.unpack_from(begun)
        if self._over:
            raise SidecarProtocolError("the peer went on after its last message")
        if number not in self._limits:
            raise SidecarProtocolError(f"the peer sent a message of unknown kind {number}")
        kind = Kind(number)
        if length > self._limits[kind]:
            raise SidecarProtocolError(
                f"the peer announced a {kind.name} message of {length} octets,"
                f" the limit is {self._limits[kind]}"
            )
        return HEADER.size + int(length)


def _decode(kind: Kind, body: memoryview) -> Message:
    try:
        match kind:
            case Kind.PAYLOAD:
                return Payload(body)
            case Kind.RETURN:
                return Return(bytes(body))
            case Kind.CHECK:
                return Check(*_CHECK.unpack(body))
            case Kind.GIVEN:
                return Given(*_GIVEN.unpack(body))
            case Kind.VERDICT:
                return Verdict(Outcome(*_VERDICT.unpack(body)))
            case Kind.END:
                return End()
            case Kind.RETURN_END:
                return ReturnEnd()
    except (struct.error, ValueError):
        raise SidecarProtocolError(f"the peer sent a {kind.name} message of no meaning") from None
