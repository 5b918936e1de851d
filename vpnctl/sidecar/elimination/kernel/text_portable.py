"""The loops over text in Python: what they do is defined here, `text_native` only does it faster.

Spelled text has octets below 0x80 as they are.  Others stand for a number, which is elsewhere, or a
word, and for the space behind it if there is one::

    0x80 + n        a number of n + 4 digits, n up to 4
    0x88 + n        the same, and a space
    0x90 ... 0xef   words 1 to 96
    0xf0 ... 0xff   with the octet that follows: words 97 to 4192

Shorter numbers are dates and times, versions and the like, which come again with what is around
them.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

#: Octets that are text, or not, together.
PASSAGE = 1024
#: A word's octets at most, a space behind it included; shorter ones end in zeros.
LONGEST = 16
#: Words of one octet, and all words.
SHORT_WORDS = 96
WORDS = SHORT_WORDS + 4096

_NUMBERS, _SHORT, _LONG = 0x80, 0x90, 0xF0
#: Digits of a number.
_FEWEST, _MOST = 4, 8
_MASK = (1 << 64) - 1
_TOKEN = re.compile(rb"([0-9]{4,8})( ?)|([A-Za-z]{1,15} ?)|.", re.DOTALL)


def find_text(passages: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which ``passages`` are text: all ASCII, and three octets in four are signs or line ends.

    Shapes ``(n, 1024)``, ``(n,)``.
    """
    signs = ((passages >= 0x20) & (passages <= 0x7E)) | (passages == 0x0A)
    found: NDArray[np.bool_] = (passages < 0x80).all(axis=1) & (
        signs.sum(axis=1) >= PASSAGE // 4 * 3
    )
    return found


def spell(
    text: NDArray[np.uint8],
    kept: NDArray[np.uint64],
    counts: NDArray[np.uint32],
    codes: NDArray[np.uint16],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """``text``, which is ASCII, spelled with the words that have a code; and its numbers' digits.

    Behind the text are 16 zeros that do not count.
    ``kept``: words that were met, shape ``(places, 2)``, a power of 2 of them; ``counts``: how
    often, and ``codes``: their numbers, 0 for none; shapes ``(places,)``.  Words are counted.  One
    that has no place takes one of two, where the word there has no code and was counted down to 0.
    """
    spelled, digits = bytearray(), bytearray()
    for token in _TOKEN.finditer(text[:-LONGEST].tobytes()):
        number, space, word = token.groups()
        if number:
            digits += number
            spelled.append(_NUMBERS + len(number) - _FEWEST + 8 * len(space))
            continue
        code = _code_of(word, kept, counts, codes) if word else 0
        if not code:
            spelled += token[0]
        elif code <= SHORT_WORDS:
            spelled.append(_SHORT + code - 1)
        else:
            spelled += (0x100 * _LONG + code - SHORT_WORDS - 1).to_bytes(2)
    return np.frombuffer(bytes(spelled), np.uint8), np.frombuffer(bytes(digits), np.uint8)


def _code_of(
    word: bytes,
    kept: NDArray[np.uint64],
    counts: NDArray[np.uint32],
    codes: NDArray[np.uint16],
) -> int:
    low, high = (int.from_bytes(part, "little") for part in (word[:8], word[8:]))
    mixed = ((low ^ (high * 0x9E3779B97F4A7C15)) * 0xD6E8FEB86659FD93) & _MASK
    one = (mixed ^ (mixed >> 32)) & (len(kept) - 1)
    other = one ^ 1
    for place in (other, one):
        if (int(kept[place, 0]), int(kept[place, 1])) == (low, high):
            counts[place] += 1
            return int(codes[place])
    if codes[one]:
        place = other
    else:
        place = one if codes[other] or counts[one] <= counts[other] else other
    if not codes[place]:
        if counts[place]:
            counts[place] -= 1
        else:
            kept[place] = low, high
            counts[place] = 1
    return 0


def unspell(
    spelled: NDArray[np.uint8],
    digits: NDArray[np.uint8],
    words: NDArray[np.uint8],
    lengths: NDArray[np.uint8],
    text: NDArray[np.uint8],
) -> bool:
    """Fill ``text`` with what was spelled; false unless that fits and uses all ``digits``.

    ``words``: by code, shape ``(WORDS + 1, 16)``; ``lengths``: 0 where there is none, at most 16.
    """
    left, numbers = iter(spelled.tolist()), digits.tobytes()
    all_words, all_lengths = words.tobytes(), lengths.tolist()
    out, used = bytearray(), 0
    for octet in left:
        if octet < _NUMBERS:
            out.append(octet)
        elif octet < _SHORT:
            length = ((octet - _NUMBERS) & 7) + _FEWEST
            if length > _MOST or used + length > len(numbers):
                return False
            out += numbers[used : used + length]
            out += b" " * ((octet - _NUMBERS) >> 3)
            used += length
        else:
            code = octet - _SHORT + 1
            if octet >= _LONG:
                if (second := next(left, None)) is None:
                    return False
                code = SHORT_WORDS + 1 + ((octet - _LONG) << 8) + second
            if not all_lengths[code]:
                return False
            out += all_words[LONGEST * code : LONGEST * code + all_lengths[code]]
        if len(out) > len(text):
            return False
    if len(out) != len(text) or used != len(numbers):
        return False
    text[:] = np.frombuffer(out, np.uint8)
    return True
