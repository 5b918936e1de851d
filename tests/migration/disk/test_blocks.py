"""Whatever is written, the other site's disk becomes the same, and little is said."""

from __future__ import annotations

import random
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from vpnctl.migration.disk.blocks import (
    BLOCK,
    ZERO_NAME,
    CopyFrom,
    Keep,
    Mirror,
    Part,
    Write,
    Zero,
    joined,
    merged,
    name_of,
)

#: Blocks of four kinds, so that they meet again; the disk does not end with a whole one.
_BLOCKS = [bytes(BLOCK), b"a" * BLOCK, b"b" * BLOCK, b"ab" * (BLOCK // 2)]
_SIZE = 5 * BLOCK + 4096
_SECTOR = 512


class Far:
    """The other site's disk."""

    def __init__(self, content: bytes) -> None:
        self.content = bytearray(content)

    def names(self) -> list[bytes]:
        return [
            name_of(bytes(self.content[at : at + BLOCK]))
            for at in range(0, len(self.content), BLOCK)
        ]

    def do(self, parts: Iterable[Part]) -> None:
        for part in parts:
            match part:
                case Write(offset, octets):
                    self.content[offset : offset + len(octets)] = octets
                case Zero(offset, length):
                    self.content[offset : offset + length] = bytes(length)
                case CopyFrom(offset, octets, source, name):
                    there = bytes(self.content[source : source + len(octets)])
                    assert name_of(there) == name
                    self.content[offset : offset + len(octets)] = there


def disks() -> st.SearchStrategy[bytes]:
    kinds = st.lists(st.sampled_from(_BLOCKS), min_size=6, max_size=6)
    return kinds.map(lambda chosen: b"".join(chosen)[:_SIZE])


@st.composite
def writes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Offset, length, and what: a letter, or zeroes."""
    sectors = _SIZE // _SECTOR
    begin = draw(st.integers(0, sectors - 1))
    end = draw(st.integers(begin + 1, sectors))
    return begin * _SECTOR, (end - begin) * _SECTOR, draw(st.sampled_from((0, ord("a"))))


@given(disks(), disks(), st.booleans(), st.lists(writes(), max_size=8))
def test_the_disks_become_the_same(
    near: bytes, old: bytes, blank: bool, later: list[tuple[int, int, int]]
) -> None:
    far = Far(bytes(_SIZE) if blank else old)
    mirror = Mirror(_SIZE, [] if blank else far.names())
    source = bytearray(near)
    # As QEMU does it: zeroes over everything, then all that is not, and then what the guest does.
    far.do(joined(mirror.zero(0, _SIZE)))
    for at in range(0, _SIZE, BLOCK):
        block = near[at : at + BLOCK]
        if block.strip(b"\0"):
            octets = memoryview(block)
            far.do(merged(joined(mirror.write(at, octets)), at, octets))
    for offset, length, letter in later:
        source[offset : offset + length] = bytes([letter]) * length
        if letter:
            octets = memoryview(bytes(source[offset : offset + length]))
            far.do(merged(joined(mirror.write(offset, octets)), offset, octets))
        else:
            far.do(joined(mirror.zero(offset, length)))
    far.do(joined(mirror.settle()))
    assert far.content == source


def test_what_the_other_site_has_is_not_sent_again() -> None:
    """Also when zeroes were to be written over it in between."""
    disk = b"".join(_BLOCKS)
    mirror = Mirror(len(disk), Far(disk).names())
    assert list(mirror.zero(0, len(disk))) == []
    parts = [
        part for at in range(0, len(disk), BLOCK)
        for part in mirror.write(at, memoryview(disk[at : at + BLOCK]))
    ]  # fmt: skip
    assert parts == [Keep(BLOCK)] * len(_BLOCKS)
    assert list(mirror.settle()) == []


def test_a_block_that_is_elsewhere_goes_as_its_name() -> None:
    mirror = Mirror(4 * BLOCK, [])
    first, second = (list(mirror.write(at * BLOCK, memoryview(b"x" * BLOCK))) for at in (1, 3))
    assert first == [Write(BLOCK, memoryview(b"x" * BLOCK))]
    (copy,) = second
    assert isinstance(copy, CopyFrom)
    assert (copy.source, copy.name) == (BLOCK, name_of(b"x" * BLOCK))


def test_zeroes_that_follow_each_other_are_said_once() -> None:
    disk = b"a" * (4 * BLOCK)
    mirror = Mirror(len(disk), Far(disk).names())
    assert list(mirror.zero(0, len(disk))) == []
    assert joined(mirror.settle()) == [Zero(0, 4 * BLOCK)]
    assert list(mirror.zero(0, len(disk))) == []


def test_writes_beside_each_other_are_one() -> None:
    octets = memoryview(random.Random(1).randbytes(4 * BLOCK))
    mirror = Mirror(8 * BLOCK, [])
    list(mirror.write(6 * BLOCK, octets[BLOCK : 2 * BLOCK]))
    parts = merged(joined(mirror.write(BLOCK, octets)), BLOCK, octets)
    first, second, third = parts
    assert first == Write(BLOCK, octets[:BLOCK])
    assert isinstance(second, CopyFrom)
    assert third == Write(3 * BLOCK, octets[2 * BLOCK :])


def test_zeroes_have_a_name_that_nothing_else_has() -> None:
    assert name_of(bytes(BLOCK)) == name_of(bytes(4096)) == ZERO_NAME
    assert name_of(b"\0" * (BLOCK - 1) + b"x") != ZERO_NAME
