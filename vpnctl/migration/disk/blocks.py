"""What of a write the other site has already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from blake3 import blake3

#: Octets of a block: an old copy's names are a thousandth of the disk, and a small change of it
#: costs no more than this.
BLOCK = 16 * 1024
#: Octets of a block's name.
NAME = 16
ZERO_NAME = bytes(NAME)
#: Octets of zeroes that are said at once.
LONGEST_ZEROES = 1 << 30
_ZEROES = bytes(BLOCK)


def name_of(block: bytes | memoryview) -> bytes:
    """A block's name; that of zeroes has a name that no other block has."""
    if block == _ZEROES[: len(block)]:
        return ZERO_NAME
    return blake3(block).digest(length=NAME)


@dataclass(frozen=True, slots=True)
class Keep:
    """The other site has these octets there already, so many."""

    length: int


@dataclass(frozen=True, slots=True)
class Zero:
    """``length`` zeroes at ``offset``."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class CopyFrom:
    """``octets`` at ``offset`` are the block ``name``, which is at ``source``, too."""

    offset: int
    octets: memoryview
    source: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Write:
    """``octets`` at ``offset``."""

    offset: int
    octets: memoryview


@dataclass(frozen=True, slots=True)
class Cached:
    """``octets`` at ``offset`` are a block of the site's cache, at ``places`` there."""

    offset: int
    octets: memoryview
    places: bytes


Part = Keep | Zero | CopyFrom | Cached | Write


class Mirror:
    """What the other site's disk of ``size`` octets has, as far as we know.

    ``names``: of its blocks at the beginning; empty when it is all zeroes.

    QEMU's mirror begins by writing zeroes over the whole disk.  They are not sent at once, because
    what is written next may be what was there: `settle` says which of them are still due.
    """

    def __init__(self, size: int, names: Sequence[bytes]) -> None:
        # What the other site really has; an empty name is unknown.
        self._names: dict[int, bytes] = dict(enumerate(names))
        self._blank = not names
        self._where = {name: index for index, name in self._names.items()}
        self._size = size
        # Blocks that are to be zeroes, and are not yet.
        self._due: set[int] = set()

    def write(self, offset: int, octets: memoryview) -> Iterator[Part]:
        """What has to be said to the other site so that it has ``octets`` at ``offset``."""
        for index, at, until in self._pieces(offset, len(octets)):
            part = octets[at - offset : until - offset]
            if self._is_whole(index, at, until):
                self._due.discard(index)
                yield self._whole(index, at, part)
            else:
                yield from self._zeroed(index)
                self._names[index] = b""
                yield Write(at, part)

    def zero(self, offset: int, length: int) -> Iterator[Part]:
        """The same for zeroes; most of it is for `settle` to say."""
        for index, at, until in self._pieces(offset, length):
            if self._name(index) == ZERO_NAME:
                continue
            if self._is_whole(index, at, until):
                self._due.add(index)
            elif index not in self._due:
                self._names[index] = b""
                yield Zero(at, until - at)

    def settle(self) -> Iterator[Part]:
        """The zeroes that are still due."""
        for index in sorted(self._due):
            yield from self._zeroed(index)

    def _zeroed(self, index: int) -> Iterator[Part]:
        if index in self._due:
            self._due.discard(index)
            self._names[index] = ZERO_NAME
            begin = index * BLOCK
            yield Zero(begin, min(BLOCK, self._size - begin))

    def _whole(self, index: int, offset: int, part: memoryview) -> Part:
        name = name_of(part)
        if self._name(index) == name:
            return Keep(len(part))
        source = self._where.get(name)
        self._names[index] = name
        if name == ZERO_NAME:
            return Zero(offset, len(part))
        self._where[name] = index
        if source is not None and source != index and self._name(source) == name:
            return CopyFrom(offset, part, source * BLOCK, name)
        return Write(offset, part)

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """The blocks that are touched, each with where it is touched from and to."""
        for index in range(offset // BLOCK, -(-(offset + length) // BLOCK)):
            begin = index * BLOCK
            yield index, max(begin, offset), min(begin + BLOCK, offset + length)

    def _is_whole(self, index: int, at: int, until: int) -> bool:
        return at == index * BLOCK and until == min((index + 1) * BLOCK, self._size)

    def _name(self, index: int) -> bytes:
        return self._names.get(index, ZERO_NAME if self._blank else b"")


def merged(parts: Iterable[Part], offset: int, octets: memoryview) -> list[Part]:
    """``parts`` of a write of ``octets`` at ``offset``, with those that are sent made longer."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        match last, part:
            case Write(begin, before), Write(at, more) if begin + len(before) == at:
                found[-1] = Write(begin, octets[begin - offset : at + len(more) - offset])
            case _:
                found.append(part)
    return found


def joined(parts: Iterable[Part]) -> list[Part]:
    """``parts`` with zeroes that follow each other made one."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        match last, part:
            case Zero(begin, length), Zero(at, more) if begin + length == at and (
                length + more <= LONGEST_ZEROES
            ):
                found[-1] = Zero(begin, length + more)
            case _:
                found.append(part)
    return found
