"""The compiled loops over text do what the portable ones define."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.sidecar.elimination.prose import PASSAGE, passages, texts
from vpnctl.sidecar.elimination.kernel import text_portable as portable

native = pytest.importorskip(
    "vpnctl.sidecar.elimination.kernel.text_native",
    reason="a C compiler was not installed when vpnctl was",
    exc_type=ImportError,
)
BOTH = pytest.mark.parametrize("kernel", [portable, native], ids=["portable", "native"])
LONGEST, WORDS = portable.LONGEST, portable.WORDS


def octets(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


def padded(text: bytes) -> np.ndarray:
    """With what is behind a text that is to be spelled."""
    return octets(text + bytes(LONGEST))


class Words:
    """Words that were met; few places, so that they push each other out."""

    def __init__(self, places: int = 16) -> None:
        self.kept = np.zeros((places, 2), np.uint64)
        self.counts = np.zeros(places, np.uint32)
        self.codes = np.zeros(places, np.uint16)

    def give_codes(self, codes: list[int]) -> None:
        """One to each word that was met, while there are some."""
        places = np.flatnonzero(self.counts)[: len(codes)]
        self.codes[:] = 0
        self.codes[places] = codes[: len(places)]

    @property
    def by_code(self) -> tuple[np.ndarray, np.ndarray]:
        words = np.zeros((WORDS + 1, LONGEST), np.uint8)
        words[self.codes] = self.kept.view(np.uint8).reshape(-1, LONGEST)
        words[0] = 0
        return words, (words != 0).sum(axis=1).astype(np.uint8)


@settings(max_examples=100)
@given(st.lists(passages(), max_size=4))
def test_text_is_found_alike(found: list[bytes]) -> None:
    rows = octets(b"".join(found)).reshape(-1, PASSAGE)
    expected = portable.find_text(rows)
    np.testing.assert_array_equal(expected, native.find_text(rows))
    for row, is_text in zip(rows, expected, strict=True):
        assert not is_text or row.max() < 0x80


@settings(max_examples=100)
@given(texts, texts, st.lists(st.integers(1, WORDS), unique=True, max_size=16))
@example(b"", b"ab 12 c", [1])
@example(b"word " * 8, b"word word", [96, 97])
@example(b"", b"123 1234 12345678 123456789012 1234", [1])
@example(b"abcdefghijklmno " * 4 + b"pqr 123456789", b"abcdefghijklmno", [WORDS])
def test_text_is_spelled_alike_and_comes_back(first: bytes, text: bytes, codes: list[int]) -> None:
    ours, theirs = Words(), Words()
    for words, kernel in ((ours, portable), (theirs, native)):
        kernel.spell(padded(first), words.kept, words.counts, words.codes)
        words.give_codes(codes)
    found = portable.spell(padded(text), ours.kept, ours.counts, ours.codes)
    other = native.spell(padded(text), theirs.kept, theirs.counts, theirs.codes)
    for one, another in zip(found, other, strict=True):
        np.testing.assert_array_equal(one, another)
    for name in ("kept", "counts", "codes"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    words, lengths = ours.by_code
    for kernel in (portable, native):
        back = np.zeros(len(text), np.uint8)
        assert kernel.unspell(*found, words, lengths, back)
        assert back.tobytes() == text


@settings(max_examples=200)
@given(
    spelled=st.lists(st.one_of(st.integers(0, 255), st.sampled_from([0x80, 0x88, 0x90, 0xF0])))
    .map(bytes)
    .map(octets),
    digits=st.integers(0, 20),
    size=st.integers(0, 80),
    known=st.lists(st.tuples(st.integers(1, WORDS), st.integers(1, LONGEST)), max_size=4),
)
def test_any_octets_are_read_alike(
    spelled: np.ndarray, digits: int, size: int, known: list[tuple[int, int]]
) -> None:
    words = np.zeros((WORDS + 1, LONGEST), np.uint8)
    lengths = np.zeros(WORDS + 1, np.uint8)
    for code, length in [(1, 3), (97, 16), *known]:
        words[code, :length], words[code, length:] = ord("w"), 0
        lengths[code] = length
    numbers = octets(b"0123456789" * 2)[:digits]
    # What stands behind the text must stay as it is.
    rooms = [np.full(size + 32, 0xAA, np.uint8) for _ in range(2)]
    fits = [
        kernel.unspell(spelled, numbers, words, lengths, room[:size])
        for kernel, room in zip((portable, native), rooms, strict=True)
    ]
    assert fits[0] is fits[1]
    for room in rooms:
        assert (room[size:] == 0xAA).all()
    if fits[0]:
        np.testing.assert_array_equal(*rooms)


@BOTH
@pytest.mark.parametrize(
    ("spelled", "digits", "size", "fits"),
    [
        (b"a\x90b", b"", 5, True),
        (b"a\x90b", b"", 4, False),  # a word goes over the end
        (b"a\x90b", b"", 6, False),  # there is not enough of it
        (b"\x91", b"", 3, False),  # a word that was not told
        (b"\xf0\x00", b"", 16, True),
        (b"\xf0", b"", 16, False),  # half a code
        (b"\xf0\x01", b"", 16, False),
        (b"\x80", b"1234", 4, True),
        (b"\x88", b"1234", 5, True),
        (b"\x88", b"1234", 4, False),  # the space goes over the end
        (b"\x81", b"1234", 5, False),  # too few digits
        (b"\x80", b"12345", 4, False),  # too many
        (b"\x84", b"12345678", 8, True),
        (b"\x85", b"123456789", 9, False),  # no number is so long
        (b"", b"", 0, True),
    ],
)
def test_spelled_text_is_as_long_as_it_should_be(
    kernel: object, spelled: bytes, digits: bytes, size: int, fits: bool
) -> None:
    words = np.zeros((WORDS + 1, LONGEST), np.uint8)
    lengths = np.zeros(WORDS + 1, np.uint8)
    for code, length in ((1, 3), (97, 16)):
        words[code, :length], lengths[code] = ord("w"), length
    text = np.zeros(size, np.uint8)
    assert kernel.unspell(octets(spelled), octets(digits), words, lengths, text) is fits  # type: ignore[attr-defined]


def test_arrays_of_other_shapes_are_refused() -> None:
    words, lengths = np.zeros((WORDS + 1, LONGEST), np.uint8), np.zeros(WORDS + 1, np.uint8)
    some = octets(b"some")
    met = Words()
    for call in (
        lambda: native.find_text(np.zeros((2, 100), np.uint8)),
        lambda: native.spell(some, met.kept[:3], met.counts[:3], met.codes[:3]),
        lambda: native.spell(some, met.kept[:1], met.counts[:1], met.codes[:1]),
        lambda: native.spell(some, met.kept[:0], met.counts[:0], met.codes[:0]),
        lambda: native.spell(some, met.kept, met.counts[:3], met.codes),
        lambda: native.spell(some, met.kept, met.counts.astype(np.uint64), met.codes),
        lambda: native.spell(some, met.kept, met.counts, met.codes.astype(np.uint32)),
        lambda: native.spell(some, met.kept[::2], met.counts[::2], met.codes[::2]),
        lambda: native.spell(some, met.kept, met.counts, met.codes),
        lambda: native.spell(octets(b"a text that goes on"), met.kept, met.counts, met.codes),
        lambda: native.spell(padded(b"text")[::2], met.kept, met.counts, met.codes),
        lambda: native.unspell(some, some, words[:5], lengths, some.copy()),
        lambda: native.unspell(some, some, np.asfortranarray(words), lengths, some.copy()),
        lambda: native.unspell(some, some, words, lengths + 17, some.copy()),
        lambda: native.unspell(some, some, words, lengths, some.copy()[::2]),
        lambda: native.unspell(some, some, words, lengths, some),
    ):
        with pytest.raises(ValueError, match=r"shape|places|words|codes|zeros"):
            call()
