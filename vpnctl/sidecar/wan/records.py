"""Records: how a connection between two sidecars is laid out.

::

    0      1        5        13      17
    | kind | length | offset | check | payload ...

*length* counts the octets of the payload.  *check* is the low half of XXH3-64 over everything else
of the record: TLS keeps others from changing a record, the check finds the defects of our own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import xxhash

from vpnctl.errors import SidecarProtocolError

VERSION = 4
#: What a connection begins with, in each direction, before any record.
PREFACE = b"vpnside" + bytes([VERSION])

HEADER = struct.Struct("!BIQI")
_CHECKED = struct.Struct("!BIQ")

MAX_SEGMENT = 1024 * 1024
#: Most of it are names of segments of the sites' caches.
MAX_GREETING = 1024 * 1024
MAX_REASON = 2 * 1024
#: Room for a record that nobody knows yet: most are shorter.
_ROOM = HEADER.size + 256 * 1024


class Kind(IntEnum):
    """Kinds of records, and what *offset* and payload are in each."""

    GREETING = 1  # offset: octets of the peer's stream that have arrived; `Greeting`
    SEGMENT = 2  # offset: of the first octet of the payload; octets of the stream
    ACK = 3  # offset: octets of the peer's stream that have arrived; empty
    ALIVE = 4  # offset: 0; empty; says that the sender is there
    ABORT = 5  # offset: 0; why the migration is over, UTF-8
    BYE = 6  # offset: octets of the peer's stream that have arrived; empty; all is done


#: The longest payload of each kind.
LIMITS = {
    Kind.GREETING: MAX_GREETING,
    Kind.SEGMENT: MAX_SEGMENT,
    Kind.ACK: 0,
    Kind.ALIVE: 0,
    Kind.ABORT: MAX_REASON,
    Kind.BYE: 0,
}


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it arrived, its check verified; ``payload`` is a view that nobody changes."""

    kind: Kind
    offset: int
    payload: bytes | memoryview


def encode(kind: Kind, offset: int = 0, *parts: bytes | memoryview) -> bytes:
    """One record whose payload is ``parts`` joined; `ValueError` when that is too long."""
    return b"".join(in_parts(kind, offset, *parts))


def in_parts(
    kind: Kind, offset: int = 0, *parts: bytes | memoryview
) -> tuple[bytes | memoryview, ...]:
    """The same, and ``parts`` are not copied."""
    length = sum(map(len, parts))
    if length > LIMITS[kind]:
        raise ValueError(f"a {kind.name} of {length} octets is longer than {LIMITS[kind]}")
    check = xxhash.xxh3_64(_CHECKED.pack(kind, length, offset))
    for part in parts:
        check.update(part)
    return HEADER.pack(kind, length, offset, check.intdigest() & 0xFFFF_FFFF), *parts


class RecordReader:
    """Preface and records out of octets that are cut anywhere.

    Put the next octets into `room`, and tell `filled` how many they are.  A record that has begun
    is completed where it lies, so that nobody has to copy it: there is room for one that is as long
    as the one before.  Holds at most one incomplete record, in no more memory than `_ROOM`, what
    the one before took, or twice what came of it.
    """

    def __init__(self) -> None:
        self._buffer = _space(_ROOM)
        self._have = 0
        self._need = len(PREFACE)
        self._begun = False

    def room(self) -> memoryview:
        """Where the next octets go, at least one of them; valid until `filled`."""
        if self._have == len(self._buffer):
            held = self._buffer
            self._buffer = _space(min(self._need, 2 * len(held)))
            self._buffer[: self._have] = held
        begun = self._need > HEADER.size
        return self._buffer[self._have : self._need if begun else None]

    def filled(self, count: int) -> Iterator[Record]:
        """The records that ``count`` more octets complete; exhaust the iterator before more.

        Raises `SidecarProtocolError` on anything that is no record of this version.
        """
        self._have += count
        if self._have < self._need:
            return
        stream = self._buffer[: self._have].toreadonly()
        position = 0
        if not self._begun:
            _check_preface(bytes(stream[: len(PREFACE)]))
            self._begun = True
            position = len(PREFACE)
        self._need, longest = HEADER.size, _ROOM
        while len(stream) - position >= HEADER.size:
            begin = position + HEADER.size
            kind, length, offset, check = _header(stream, position)
            end = begin + length
            if end > len(stream):
                self._need = HEADER.size + length
                break
            payload = stream[begin:end]
            found = xxhash.xxh3_64(stream[position : position + _CHECKED.size])
            found.update(payload)
            if found.intdigest() & 0xFFFF_FFFF != check:
                raise SidecarProtocolError(
                    f"a {kind.name} record of the peer does not match its check",
                    hint="the octets were changed on the way or by a defect; migrate again",
                )
            longest = max(longest, end - position)
            position = end
            yield Record(kind, offset, payload)
        if not position:
            return
        # Views of what was here are with others now.
        rest = stream[position:]
        self._buffer, self._have = _space(max(longest, len(rest))), len(rest)
        self._buffer[: len(rest)] = rest


def _space(size: int) -> memoryview:
    """Octets to be written; whatever was there before is in them."""
    return np.empty(size, np.uint8).data


def _check_preface(octets: bytes) -> None:
    if octets[:-1] != PREFACE[:-1]:
        raise SidecarProtocolError(
            "what answers is no sidecar", hint="check the peer's address and port"
        )
    if octets[-1] != VERSION:
        raise SidecarProtocolError(
            f"the peer speaks version {octets[-1]} of the sidecars' protocol, this is {VERSION}",
            hint="run the same release of vpnctl at both sites",
        )


def _header(stream: memoryview, position: int) -> tuple[Kind, int, int, int]:
    number, length, offset, check = HEADER.unpack_from(stream, position)
    try:
        kind = Kind(number)
    except ValueError:
        raise SidecarProtocolError(f"the peer sent a record of unknown kind {number}") from None
    if length > LIMITS[kind]:
        raise SidecarProtocolError(
            f"the peer announced a {kind.name} record of {length} octets,"
            f" the limit is {LIMITS[kind]}"
        )
    return kind, length, offset, check
