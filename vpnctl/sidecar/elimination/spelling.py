"""Text in the literal blocks of a batch, spelled with short codes for its words.

Text repeats words rather than long runs of octets, and what stands between them, above all numbers,
breaks up what zstd could find.  So words that are met often get codes of one or two octets, and
numbers go elsewhere, beside each other.  Source and destination know the same words: the source
chooses, and tells the destination before it first uses one.

A batch of which a part is text goes as::

    octets before the literal blocks, u32 | new words, u32 | octets spelled, u32 | digits, u32
    | a bit for each passage of the literal blocks: whether it is text
    | new words' codes, u16 | new words, 16 octets each, zeros behind shorter ones
    | octets before the literal blocks | literal blocks that are no text | text, spelled | digits

`kernel.spell` says what is a word and how it is spelled.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.elimination import kernel
from vpnctl.sidecar.elimination.batch import U8, U16
from vpnctl.sidecar.elimination.kernel.text_portable import LONGEST, PASSAGE, SHORT_WORDS, WORDS
from vpnctl.sidecar.elimination.statistics import StageCount

_HEADER = struct.Struct("<IIII")
#: Words that are counted; those with a code are among them.
_PLACES = 1 << 14
#: A word gets a code when it was met so often.
_OFTEN = 4
#: Octets of text before codes are given for the first time, and between two times at most; there
#: are twice as many each time.  What was counted before then counts half.
_FIRST_LESSON, _LESSON = 64 * 1024, 4 * 1024 * 1024


def longest(size: int) -> int:
    """Octets that a batch of ``size`` may have when it is spelled.

    A number of four digits has a fifth octet, and as many may be in a text as it has room for.
    """
    flags = size // PASSAGE // 8 + 1
    return size + size // 4 + flags + _HEADER.size + WORDS * (2 + LONGEST)


class Speller:
    """The source's half; ``count`` is told of passages, and of octets before and after."""

    def __init__(self, count: StageCount) -> None:
        self._count = count
        self._kept = np.zeros((_PLACES, 2), np.uint64)
        self._counts = np.zeros(_PLACES, np.uint32)
        self._codes = np.zeros(_PLACES, np.uint16)
        #: Places of words whose codes the destination has not been told.
        self._new = np.empty(0, np.int64)
        self._lesson = self._left = _FIRST_LESSON

    def spell(
        self, parts: Sequence[bytes | bytearray | memoryview]
    ) -> list[bytes | bytearray | memoryview] | None:
        """A batch whose last part are its literal blocks, spelled; None where nothing is text."""
        *others, literals = parts
        blocks = np.frombuffer(literals, np.uint8)
        rest = len(blocks) % PASSAGE
        passages = blocks[: len(blocks) - rest].reshape(-1, PASSAGE)
        is_text = kernel.find_text(passages)
        texts = np.flatnonzero(is_text)
        self._count.tried += len(passages)
        if not len(texts):
            return None
        text = np.empty(len(texts) * PASSAGE + LONGEST, np.uint8)
        # Where numbers could be wrong numpy would copy once more.
        passages.take(texts, axis=0, out=text[:-LONGEST].reshape(-1, PASSAGE), mode="clip")
        text[-LONGEST:] = 0
        told, self._new = self._new, self._new[:0]
        codes, words = self._codes[told], self._kept[told]
        spelled, digits = kernel.spell(text, self._kept, self._counts, self._codes)
        self._count.hits += len(texts)
        self._count.octets_in += len(texts) * PASSAGE
        self._count.octets_out += len(spelled) + len(digits)
        self._left -= len(texts) * PASSAGE
        if self._left <= 0:
            self._learn()
        header = _HEADER.pack(sum(map(len, others)), len(told), len(spelled), len(digits))
        found = (
            *(np.packbits(is_text), codes, words),
            *(passages.take(np.flatnonzero(~is_text), axis=0), blocks[len(blocks) - rest :]),
            *(spelled, digits),
        )
        views = [array.data.cast("B") if array.size else b"" for array in found]
        return [header, *views[:3], *others, *views[3:]]

    def _learn(self) -> None:
        """Give codes to the words that save most, and as few new ones as can be."""
        self._lesson = min(2 * self._lesson, _LESSON)
        self._left = self._lesson
        met = np.flatnonzero(self._counts >= _OFTEN)
        lengths = (self._kept[met].view(np.uint8) != 0).sum(axis=1)
        # A code must be shorter than its word: spelled text is no longer than the text.
        order = np.argsort(-(self._counts[met].astype(np.int64) * (lengths - 1)), kind="stable")
        order = order[lengths[order] > 1]
        short, others = order[:SHORT_WORDS], order[SHORT_WORDS:]
        long = others[lengths[others] > 2][: WORDS - SHORT_WORDS]
        codes = np.zeros_like(self._codes)
        for places, first, end in (
            (met[short], 1, SHORT_WORDS + 1),
            (met[long], SHORT_WORDS + 1, WORDS + 1),
        ):
            codes[places] = _kept_or_free(self._codes[places], first, end)
        self._new = np.flatnonzero((codes != self._codes) & (codes > 0))
        self._codes = codes
        self._counts >>= 1


def _kept_or_free(codes: U16, first: int, end: int) -> U16:
    """A code from ``first`` to before ``end`` for each of ``codes``: the same where it is one."""
    mine = (codes >= first) & (codes < end)
    free = np.ones(end - first, np.bool_)
    free[codes[mine].astype(np.int64) - first] = False
    out = codes.copy()
    out[~mine] = (np.flatnonzero(free) + first)[: int((~mine).sum())]
    return out


class Reader:
    """The destination's half."""

    def __init__(self) -> None:
        self._words = np.zeros((WORDS + 1, LONGEST), np.uint8)
        self._lengths = np.zeros(WORDS + 1, np.uint8)

    def read(self, body: bytes | bytearray | memoryview, size: int) -> bytearray:
        """The batch, which is ``size`` octets long; `SidecarProtocolError` for anything else."""
        if len(body) < _HEADER.size:
            raise SidecarProtocolError(f"a spelled batch of {len(body)} octets has no header")
        before, new, spelled, digits = _HEADER.unpack_from(body)
        passages, rest = divmod(size - before, PASSAGE)
        parts = _Parts(body)
        expect(before <= size, "what comes before its blocks is a part of it")
        expect(new <= WORDS, "new words are few")
        is_text = np.unpackbits(parts.take(-(-passages // 8)), count=passages).astype(np.bool_)
        self._learn(parts.take(2 * new).view(np.uint16), parts.take(LONGEST * new))
        texts = np.flatnonzero(is_text)
        batch = bytearray(size)
        octets = np.frombuffer(batch, np.uint8)
        octets[:before] = parts.take(before)
        blocks = octets[before : size - rest].reshape(-1, PASSAGE)
        literal = parts.take((passages - len(texts)) * PASSAGE).reshape(-1, PASSAGE)
        blocks[~is_text] = literal
        octets[size - rest :] = parts.take(rest)
        text = np.empty(len(texts) * PASSAGE, np.uint8)
        words, numbers = parts.take(spelled), parts.take(digits)
        expect(not parts.left, "there is nothing behind its digits")
        expect(
            kernel.unspell(words, numbers, self._words, self._lengths, text),
            "its text is as long as it says, and of words that were told",
        )
        blocks[texts] = text.reshape(-1, PASSAGE)
        return batch

    def _learn(self, codes: U16, octets: U8) -> None:
        expect(bool(((codes >= 1) & (codes <= WORDS)).all()), "words have codes")
        words = octets.reshape(-1, LONGEST)
        filled = words != 0
        lengths = filled.sum(axis=1)
        expect(bool((lengths > 0).all()), "words have letters")
        expect(bool((filled[:, 1:] <= filled[:, :-1]).all()), "words have no zeros inside")
        expect(len(np.unique(codes)) == len(codes), "a code is told once")
        self._words[codes] = words
        self._lengths[codes] = lengths


class _Parts:
    """The octets of a spelled batch, from the first to the last."""

    def __init__(self, body: bytes | bytearray | memoryview) -> None:
        self._octets: NDArray[np.uint8] = np.frombuffer(body, np.uint8)
        self._at = _HEADER.size

    @property
    def left(self) -> int:
        return len(self._octets) - self._at

    def take(self, count: int) -> U8:
        """The next ``count`` octets."""
        expect(count <= self.left, "its parts are there")
        self._at += count
        return self._octets[self._at - count : self._at]


def expect(holds: bool, rule: str) -> None:
    """Raises `SidecarProtocolError` unless a rule that every `Speller` keeps holds."""
    if not holds:
        raise SidecarProtocolError(f"a spelled batch breaks a rule: {rule}")
