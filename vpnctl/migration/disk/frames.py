"""What sender and receiver say to each other about one disk.

The sender begins with a line of JSON that says which disk of which migration; the receiver answers
with one that says its size and how many names follow, and those.  Both lines name the segments of
the site's cache, where there is one.  Then frames go one way, and an
answer to each the other way.  Where nothing takes the disk any more the receiver says `GONE`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import zstandard

from vpnctl.errors import MigrationError

#: Kind, number, offset, length, octets that follow.
_HEADER = struct.Struct("!BQQII")
#: Number and result.
_ANSWER = struct.Struct("!QB")
HEADER_SIZE, ANSWER_SIZE = _HEADER.size, _ANSWER.size
#: Octets of the longest write that QEMU makes, and of the longest line: it may name what a site
#: keeps.
LONGEST, LONGEST_LINE = 32 << 20, 1 << 20
_LEVEL = 3
#: The receiver's line when what exported the disks has ended.
GONE = {"gone": True}


class Kind(IntEnum):
    """What a frame asks for."""

    WRITE = 1  # payload: the octets, compressed
    ZERO = 2
    COPY = 3  # payload: where it is, 8 octets, and its name
    FLUSH = 4
    CACHED = 5  # payload: where it is in the site's cache


class Result(IntEnum):
    """What became of it."""

    DONE = 0
    FAILED = 1
    ELSE = 2  # what was to be copied was not there


@dataclass(frozen=True, slots=True)
class Frame:
    """``length``: octets of the disk that it is about."""

    kind: Kind
    number: int
    offset: int = 0
    length: int = 0
    payload: bytes = b""

    def octets(self) -> bytes:
        """As it goes over the wire."""
        header = _HEADER.pack(self.kind, self.number, self.offset, self.length, len(self.payload))
        return header + self.payload


def read_header(octets: bytes) -> tuple[Kind, int, int, int, int]:
    """Kind, number, offset, length, octets that follow; raises `MigrationError`."""
    kind, number, offset, length, follow = _HEADER.unpack(octets)
    if kind not in tuple(Kind) or length > 1 << 40 or follow > LONGEST + 1024:
        raise MigrationError("the other site sent what no sender of disks sends")
    if kind == Kind.WRITE and length > LONGEST:
        raise MigrationError("the other site sent a write that is too long")
    return Kind(kind), number, offset, length, follow


def answer(number: int, result: Result) -> bytes:
    """The answer to a frame."""
    return _ANSWER.pack(number, result)


def read_answer(octets: bytes) -> tuple[int, Result]:
    """Number and result; raises `MigrationError`."""
    number, result = _ANSWER.unpack(octets)
    try:
        return number, Result(result)
    except ValueError:
        raise MigrationError("the other site sent what no receiver of disks sends") from None


def pack(octets: memoryview | bytes) -> bytes:
    """Octets of a disk, compressed."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(octets)


def unpack(payload: bytes, length: int) -> bytes:
    """The ``length`` octets that were packed; raises `MigrationError`."""
    try:
        octets = zstandard.ZstdDecompressor().decompress(payload, max_output_size=length)
    except zstandard.ZstdError as error:
        raise MigrationError(f"a disk's octets came damaged: {error}") from error
    if len(octets) != length:
        raise MigrationError("a disk's octets came damaged: too many or too few")
    return octets
