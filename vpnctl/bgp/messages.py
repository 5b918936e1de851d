"""BGP messages as octets (RFC 4271 section 4); nothing below the message header is decoded.

The header is 19 octets: a marker of 16 octets of 0xff, the length of the whole message (2 octets)
and its type (1 octet).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

MARKER = b"\xff" * 16
HEADER = struct.Struct("!16sHB")
HEADER_SIZE = HEADER.size
#: Longest message without and with the extended message capability (RFC 8654).
MESSAGE_SIZE = 4096
EXTENDED_MESSAGE_SIZE = 65535

_LENGTH = struct.Struct("!H")


class MessageType(IntEnum):
    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


_MINIMUM: dict[int, int] = {
    MessageType.OPEN: 29,
    MessageType.UPDATE: 23,
    MessageType.NOTIFICATION: 21,
    MessageType.KEEPALIVE: 19,
    MessageType.ROUTE_REFRESH: 23,
}
# RFC 8654 section 3 leaves OPEN and KEEPALIVE out of the extension.
_MAXIMUM: dict[int, int] = {MessageType.OPEN: MESSAGE_SIZE, MessageType.KEEPALIVE: HEADER_SIZE}


class Fault(NamedTuple):
    """The NOTIFICATION that a mistake of the peer calls for, and the mistake in words."""

    code: int
    subcode: int
    octets: bytes
    words: str


class Split(NamedTuple):
    """What `split` found: ``messages`` as (type, octets), octets ``used``, and the ``fault``.

    Neighbouring UPDATEs are one entry, their octets joined as they came.
    """

    messages: list[tuple[int, bytes]]
    used: int
    fault: Fault | None


def message(kind: int, body: bytes = b"") -> bytes:
    """A message with its header."""
    return HEADER.pack(MARKER, HEADER_SIZE + len(body), kind) + body


KEEPALIVE = message(MessageType.KEEPALIVE)


def notification(code: int, subcode: int, octets: bytes = b"") -> bytes:
    """A NOTIFICATION; ``octets`` is its Data field, cut where the message would be too long."""
    room = MESSAGE_SIZE - HEADER_SIZE - 2
    return message(MessageType.NOTIFICATION, bytes((code, subcode)) + octets[:room])


def length_at(octets: bytes | memoryview, position: int) -> int:
    """The length field of the message that begins at ``position``.

    Raises `ValueError` when no message can begin there.
    """
    if len(octets) - position < HEADER_SIZE:
        raise ValueError(f"{len(octets) - position} octets are left at {position}, no BGP message")
    length: int = _LENGTH.unpack_from(octets, position + 16)[0]
    if length < HEADER_SIZE:
        raise ValueError(f"the message at {position} claims to be {length} octets long")
    return length


def split(octets: bytes, message_size: int) -> Split:
    """The whole messages at the front of ``octets``; none longer than ``message_size``.

    A header is judged as soon as it is there (RFC 4271 section 6.1); what came before a faulty
    one is still returned.
    """
    unpack = HEADER.unpack_from
    end = len(octets)
    last_header = end - HEADER_SIZE
    found: list[tuple[int, bytes]] = []
    position = run = 0
    while position <= last_header:
        marker, length, kind = unpack(octets, position)
        after = position + length
        # The common case, told by as few comparisons as can be.
        if kind == 2 and marker == MARKER and 23 <= length <= message_size:
            if after > end:
                break
            position = after
            continue
        if run < position:
            found.append((MessageType.UPDATE, octets[run:position]))
            run = position
        fault = _fault(marker, length, kind, message_size)
        if fault is not None:
            return Split(found, position, fault)
        if after > end:
            break
        found.append((kind, octets[position:after]))
        position = run = after
    if run < position:
        found.append((MessageType.UPDATE, octets[run:position]))
    return Split(found, position, None)


def cut(messages: bytes, size: int) -> Iterator[bytes]:
    """``messages`` in pieces of whole messages, none much longer than ``size`` octets."""
    if len(messages) <= size:
        yield messages
        return
    begin = position = 0
    while position < len(messages):
        position += length_at(messages, position)
        if position - begin >= size or position >= len(messages):
            yield messages[begin:position]
            begin = position


def _fault(marker: bytes, length: int, kind: int, message_size: int) -> Fault | None:
    if marker != MARKER:
        return Fault(1, 1, b"", "a message began without the marker")
    minimum = _MINIMUM.get(kind)
    if minimum is None:
        return Fault(1, 3, bytes((kind,)), f"message type {kind} is unknown")
    maximum = min(message_size, _MAXIMUM.get(kind, message_size))
    if not minimum <= length <= maximum:
        name = MessageType(kind).name.replace("_", "-")
        words = f"a message of type {name} claims {length} octets, {minimum} to {maximum} may be"
        return Fault(1, 2, _LENGTH.pack(length), words)
    return None
