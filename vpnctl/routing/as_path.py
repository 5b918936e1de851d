"""AS_PATH (RFC 4271 section 4.3, RFC 5065) with AS numbers of two or four octets (RFC 6793)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

AS_TRANS: Final = 23456
AS_SET, AS_SEQUENCE, CONFED_SEQUENCE, CONFED_SET = 1, 2, 3, 4

#: AS_PATHs whose reading is remembered.
_REMEMBERED: Final = 4096

#: Longer values are read each time: a hostile PE must not fill the memory with them.
LONGEST_REMEMBERED: Final = 256

#: Type and AS numbers of each segment.
Segments = list[tuple[int, list[int]]]


class MalformedAsPathError(ValueError):
    """The octets are no AS_PATH; says why."""


def segments_of(value: bytes, width: int) -> Segments:
    """AS_PATH segments with AS numbers of ``width`` octets; `MalformedAsPathError` if malformed."""
    found = []
    at = 0
    while at < len(value):
        if at + 2 > len(value):
            raise MalformedAsPathError("AS_PATH ends within a segment header")
        kind, count = value[at], value[at + 1]
        stop = at + 2 + count * width
        if kind not in (AS_SET, AS_SEQUENCE, CONFED_SEQUENCE, CONFED_SET):
            raise MalformedAsPathError(f"AS_PATH segment of unknown type {kind}")
        if count == 0 or stop > len(value):
            raise MalformedAsPathError("AS_PATH segment of impossible length")
        numbers = [int.from_bytes(value[i : i + width], "big") for i in range(at + 2, stop, width)]
        if 0 in numbers:
            raise MalformedAsPathError("AS_PATH with AS 0")  # RFC 7607 section 2
        found.append((kind, numbers))
        at = stop
    return found


def octets_of(segments: Segments, width: int) -> bytes:
    limit = 1 << (8 * width)
    return b"".join(
        bytes((kind, len(numbers)))
        + b"".join(
            (number if number < limit else AS_TRANS).to_bytes(width, "big") for number in numbers
        )
        for kind, numbers in segments
    )


def length_of(segments: Segments) -> int:
    """Path length for the decision process: a set counts one, confederations nothing."""
    return sum(
        1 if kind == AS_SET else len(numbers)
        for kind, numbers in segments
        if kind in (AS_SET, AS_SEQUENCE)
    )


class AsPath(NamedTuple):
    """An AS_PATH in four octets per number and what decisions need of it.

    ``first``: the neighbouring AS, 0 if there is none (RFC 4271 section 9.1.2.2).
    """

    octets: bytes
    length: int
    first: int
    numbers: frozenset[int]
    confederation: bool


def as_path(segments: Segments, octets: bytes) -> AsPath:
    return AsPath(
        octets=octets,
        length=length_of(segments),
        first=segments[0][1][0] if segments and segments[0][0] == AS_SEQUENCE else 0,
        numbers=frozenset(number for _, numbers in segments for number in numbers),
        confederation=any(kind in (CONFED_SEQUENCE, CONFED_SET) for kind, _ in segments),
    )


def four_octet_path(value: bytes) -> AsPath:
    return _remembered(value) if len(value) <= LONGEST_REMEMBERED else _read(value)


def _read(value: bytes) -> AsPath:
    return as_path(segments_of(value, 4), value)


_remembered = lru_cache(_REMEMBERED)(_read)


def path_text(path: bytes) -> str:
    """A four-octet AS_PATH as operators read it: ``65001 65002 {65003,65004}``."""
    words = []
    for kind, numbers in segments_of(path, 4):
        text = ("," if kind in (AS_SET, CONFED_SET) else " ").join(map(str, numbers))
        words.append(
            {AS_SET: "{%s}", CONFED_SEQUENCE: "(%s)", CONFED_SET: "[%s]"}.get(kind, "%s") % text
        )
    return " ".join(words)


def leading(segments: Segments, count: int) -> Segments:
    """The first segments, cut so that they add up to a path length of ``count``."""
    found = []
    for kind, numbers in segments:
        if kind == AS_SEQUENCE and count < len(numbers):
            if count > 0:
                found.append((kind, numbers[:count]))
            break
        if kind == AS_SET and count < 1:
            break
        found.append((kind, numbers))
        count -= length_of([(kind, numbers)])
    return found
