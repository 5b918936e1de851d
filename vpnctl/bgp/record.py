"""What sessions have said and were told, kept so that another controller can go on with them.

The session process does not understand routes, so it keeps octets, compressed: those of the UPDATEs
that a peer sent, and those of what the peer was sent.  They would grow for ever.  Once there are
many, the controller is asked for an *image* of one session: messages that say the same with less.
What comes while the image is on its way is kept, too, and is read after it::

    image | what came since the image was asked for

An image may be made piece by piece while routes go on changing: whatever changed meanwhile is
among what came since, and of several words on one route the last one holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import zstandard

#: Octets kept beside the images, of all sessions together, from which on images are asked for.
ENOUGH = 16 * 1024 * 1024
#: The same, from which on sessions are not kept any more until there is an image of them.
MOST = 64 * 1024 * 1024
#: Octets of messages that are compressed together.
BLOCK = 256 * 1024
#: Octets of one piece that `pieces` makes.
PIECE = 1024 * 1024

_COMPRESS = zstandard.ZstdCompressor(level=1).compress
_DECOMPRESS = zstandard.ZstdDecompressor().decompress


class Log:
    """Whole messages in order, compressed.  ``octets``: what they take beside the image."""

    __slots__ = ("_coming", "_image", "_loose", "_loose_octets", "_mark", "_packed", "_since")

    def __init__(self) -> None:
        self._image: list[bytes] = []
        self._coming: list[bytes] = []
        self._since: list[bytes] = []
        self._loose: list[bytes] = []
        self._mark = self._packed = self._loose_octets = 0

    @property
    def octets(self) -> int:
        return self._packed + self._loose_octets

    def __iter__(self) -> Iterator[bytes]:
        yield from map(_DECOMPRESS, chain(self._image, self._since))
        yield from self._loose

    def append(self, messages: bytes) -> None:
        self._loose.append(messages)
        self._loose_octets += len(messages)
        if self._loose_octets >= BLOCK:
            self._pack()

    def _pack(self) -> None:
        """UPDATEs are much alike: together they are a tenth of what they are."""
        if self._loose:
            self._since.append(_COMPRESS(b"".join(self._loose)))
            self._packed += len(self._since[-1])
            self._loose, self._loose_octets = [], 0

    def mark(self) -> None:
        """An image is asked for now."""
        self._pack()
        self._coming = []
        self._mark = len(self._since)

    def imaged(self, messages: bytes) -> None:
        """A piece of the image that was asked for."""
        self._coming.append(_COMPRESS(messages))

    def settle(self) -> None:
        """The image is complete and stands for everything before it was asked for."""
        self._image, self._coming = self._coming, []
        self._packed -= sum(map(len, self._since[: self._mark]))
        del self._since[: self._mark]
        self._mark = 0

    def clear(self) -> None:
        self._image, self._coming, self._since, self._loose = [], [], [], []
        self._mark = self._packed = self._loose_octets = 0


class Record:
    """One session: what it was ``told`` and what was ``heard`` from it.

    ``complete``: nothing is missing, so that another controller can go on with the session.
    """

    __slots__ = ("asked", "complete", "heard", "told")

    def __init__(self) -> None:
        self.heard = Log()
        self.told = Log()
        self.complete = True
        self.asked = False

    @property
    def octets(self) -> int:
        return self.heard.octets + self.told.octets


class Records:
    """The records of all sessions, by number.

    ``ask(number)`` asks the controller for the image of a session, which `imaged` gets in pieces
    until `settle`.  One is asked for at a time.
    """

    def __init__(
        self, ask: Callable[[int], None], *, enough: int = ENOUGH, most: int = MOST
    ) -> None:
        self._ask = ask
        self._enough = enough
        self._most = most
        self._records: dict[int, Record] = {}
        self._octets = 0
        self._asked: int | None = None
        self._incomplete: set[int] = set()
        self._spoilt: set[int] = set()

    def __getitem__(self, number: int) -> Record:
        return self._records[number]

    def open(self, number: int) -> None:
        self._records[number] = Record()

    def close(self, number: int) -> None:
        self._octets -= self._records.pop(number).octets
        self._incomplete.discard(number)
        self._spoilt.discard(number)
        if self._asked == number:
            self._asked = None

    def hear(self, number: int, messages: bytes) -> None:
        """A peer has sent UPDATEs."""
        record = self._records[number]
        self._keep(record, record.heard, messages)

    def tell(self, number: int, messages: bytes) -> None:
        """A peer is sent messages."""
        record = self._records[number]
        self._keep(record, record.told, messages)

    def _keep(self, record: Record, log: Log, messages: bytes) -> None:
        if record.complete or record.asked:
            before = log.octets
            log.append(messages)
            self._octets += log.octets - before

    def look(self) -> None:
        """Ask for an image where that is due; called once in a while, with a controller there."""
        if self._octets > self._most:
            self._cut()
        if self._asked is not None:
            return
        number = next(iter(self._incomplete), None)
        if number is None and self._octets > self._enough:
            number = self._largest()
        if number is not None:
            record = self._records[number]
            record.asked = True
            self._octets -= record.octets
            record.heard.mark()
            record.told.mark()
            self._octets += record.octets
            self._asked = number
            self._ask(number)

    def spoil(self, number: int) -> None:
        """What a session has said counts no more as it was said: only an image can tell."""
        if number == self._asked:
            # The image that comes may be from before; another one is asked for after it.
            self._spoilt.add(number)
            return
        self._forget(number)

    def _largest(self) -> int:
        return max(self._records, key=lambda number: self._records[number].octets)

    def _cut(self) -> None:
        """Keep one session no more; not one whose image is on its way."""
        number = self._largest()
        if number == self._asked:
            return
        self._forget(number)

    def _forget(self, number: int) -> None:
        record = self._records[number]
        self._octets -= record.octets
        record.heard.clear()
        record.told.clear()
        record.complete = False
        self._incomplete.add(number)

    def imaged(self, number: int, messages: bytes, *, heard: bool) -> None:
        """A piece of the image of what was heard, or told."""
        record = self._records.get(number)
        if record is not None and record.asked:
            (record.heard if heard else record.told).imaged(messages)

    def settle(self, number: int) -> None:
        """The image of a session is complete."""
        record = self._records.get(number)
        if record is None or not record.asked:
            return
        self._octets -= record.octets
        record.heard.settle()
        record.told.settle()
        self._octets += record.octets
        record.complete, record.asked = True, False
        self._incomplete.discard(number)
        self._asked = None
        if number in self._spoilt:
            self._spoilt.discard(number)
            self._forget(number)

    def abandoned(self) -> tuple[int, ...]:
        """The controller is gone, and an image on its way, too; which sessions are incomplete."""
        if self._asked is not None:
            self._records[self._asked].asked = False
            self._asked = None
        for number in self._spoilt:
            self._forget(number)
        self._spoilt.clear()
        return tuple(self._incomplete)


def pieces(messages: Iterable[bytes], size: int = PIECE) -> Iterator[bytes]:
    """The same messages, in pieces of about ``size`` octets."""
    piece: list[bytes] = []
    octets = 0
    for each in messages:
        piece.append(each)
        octets += len(each)
        if octets >= size:
            yield b"".join(piece)
            piece, octets = [], 0
    if piece:
        yield b"".join(piece)
