"""Text in batches, word by word, and back."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sidecar.elimination.prose import PASSAGE, passages, prose
from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.elimination.kernel.text_portable import LONGEST, WORDS
from vpnctl.sidecar.elimination.spelling import Reader, Speller, longest
from vpnctl.sidecar.elimination.statistics import StageCount

HEADER = struct.Struct("<IIII")


def body_of(parts: Sequence[bytes | bytearray | memoryview]) -> bytes:
    return b"".join(bytes(part) for part in parts)


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=40),
            st.lists(passages(), max_size=5).map(b"".join),
            st.sampled_from([0, 0, 256, 768]),
        ),
        max_size=6,
    )
)
def test_batches_come_back(batches: list[tuple[bytes, bytes, int]]) -> None:
    count = StageCount()
    speller, reader = Speller(count), Reader()
    for head, blocks, rest in batches:
        parts = [head, blocks + bytes(rest)]
        size = sum(map(len, parts))
        spelled = speller.spell(parts)
        if spelled is None:
            continue
        body = body_of(spelled)
        assert len(body) <= longest(size)
        assert reader.read(body, size) == b"".join(parts)
    assert count.hits <= count.tried


def test_words_that_come_again_are_learned_and_change_with_the_text() -> None:
    """Three kinds of text in turn: codes are given, kept, and given to others."""
    count = StageCount()
    speller, reader = Speller(count), Reader()
    random = np.random.default_rng(1)
    alphabet = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    sizes: list[list[int]] = []
    for _ in range(3):
        words = [random.choice(alphabet, 3 + n % 12).tobytes() for n in range(9000)]
        sizes.append([])
        # Some are frequent, most are rare.
        chances = 1 / np.arange(1, 9001)
        for _ in range(12):
            drawn = random.choice(np.array(words, object), 90_000, p=chances / chances.sum())
            text = b" ".join(drawn.tolist())[: 400 * PASSAGE]
            spelled = speller.spell([b"head", text])
            assert spelled is not None
            body = body_of(spelled)
            assert reader.read(body, 4 + len(text)) == b"head" + text
            sizes[-1].append(len(body))
    for first, *_, last in sizes:
        assert last < first * 2 / 3
    assert count.hits == count.tried == 36 * 400


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_literal_blocks_may_be_for_reading_only(kind: type) -> None:
    text = prose(np.random.default_rng(3), 4 * PASSAGE)
    spelled = Speller(StageCount()).spell([b"head", memoryview(kind(text))])
    assert spelled is not None
    body = body_of(spelled)
    assert Reader().read(memoryview(kind(body)), 4 + len(text)) == b"head" + text


def test_nothing_is_spelled_where_there_is_no_text() -> None:
    speller = Speller(count := StageCount())
    for blocks in (b"", b"text but little", bytes(4 * PASSAGE), bytes(range(256)) * 16):
        assert speller.spell([b"head", blocks]) is None
    assert (count.tried, count.hits, count.octets_in) == (8, 0, 0)


def honest() -> bytes:
    """The second batch, with new words; 2 passages of 3 are text."""
    random = np.random.default_rng(1)
    speller = Speller(StageCount())
    speller.spell([b"", prose(random, 64 * PASSAGE)])
    text = prose(random, 2 * PASSAGE)
    spelled = speller.spell([b"head", text[:PASSAGE] + bytes(PASSAGE) + text[PASSAGE:]])
    assert spelled is not None
    return body_of(spelled)


SIZE = 4 + 3 * PASSAGE


def changed(**fields: int) -> bytes:
    """An honest batch whose header says something else."""
    body = honest()
    names = ("before", "new", "spelled", "digits")
    told = dict(zip(names, HEADER.unpack_from(body), strict=True)) | fields
    return HEADER.pack(*told.values()) + body[HEADER.size :]


def word(code: int, octets: bytes) -> bytes:
    """An honest batch whose first new word is another."""
    body = bytearray(honest())
    (_, new, _, _) = HEADER.unpack_from(body)
    assert new > 1
    begin = HEADER.size + 1
    struct.pack_into("<H", body, begin, code)
    begin += 2 * new
    body[begin : begin + LONGEST] = octets.ljust(LONGEST, b"\0")
    return bytes(body)


@pytest.mark.parametrize(
    ("body", "size", "told"),
    [
        (b"", SIZE, "has no header"),
        (bytes(16), SIZE, "parts are there"),
        (changed(before=SIZE + 1), SIZE, "comes before"),
        (changed(before=5), SIZE, "breaks a rule"),
        (changed(new=WORDS + 1), SIZE, "few"),
        (changed(new=0), SIZE, "breaks a rule"),
        (changed(spelled=2**32 - 1), SIZE, "parts are there"),
        (changed(digits=2**32 - 1), SIZE, "parts are there"),
        (changed(digits=0), SIZE, "behind its digits"),
        (honest(), SIZE + 1, "breaks a rule"),
        (honest(), SIZE + PASSAGE, "breaks a rule"),
        (honest(), 16 << 20, "breaks a rule"),
        (honest() + b"\0", SIZE, "behind its digits"),
        (word(0, b"word "), SIZE, "have codes"),
        (word(WORDS + 1, b"word "), SIZE, "have codes"),
        (word(1, b""), SIZE, "have letters"),
        (word(1, b"wo\0rd"), SIZE, "no zeros inside"),
        (word(1, b"\0word"), SIZE, "no zeros inside"),
        (word(1, b"word "), SIZE, "told once"),
    ],
)
def test_a_peer_that_lies_is_told_of_what(body: bytes, size: int, told: str) -> None:
    with pytest.raises(SidecarProtocolError, match=told):
        Reader().read(body, size)


def test_words_that_were_told_in_a_batch_that_is_missing_are_missed() -> None:
    random = np.random.default_rng(2)
    speller, reader = Speller(StageCount()), Reader()
    bodies = []
    for _ in range(4):
        text = prose(random, 64 * PASSAGE)
        spelled = speller.spell([b"", text])
        assert spelled is not None
        bodies.append(body_of(spelled))
    reader.read(bodies[0], 64 * PASSAGE)
    with pytest.raises(SidecarProtocolError, match="words that were told"):
        reader.read(bodies[3], 64 * PASSAGE)


@settings(max_examples=300)
@given(
    where=st.integers(0, 4000),
    what=st.binary(max_size=6),
    drop=st.integers(0, 40),
    size=st.sampled_from([SIZE, SIZE, SIZE - 1, SIZE + PASSAGE, 0]),
)
def test_damage_is_refused_or_harmless(where: int, what: bytes, drop: int, size: int) -> None:
    body = bytearray(BODY)
    body[where : where + drop] = what
    try:
        batch = Reader().read(bytes(body), size)
    except SidecarProtocolError:
        return
    assert len(batch) == size


BODY = honest()


def test_the_longest_spelling_is_allowed() -> None:
    text = (b"1234," * PASSAGE)[: 2 * PASSAGE]
    spelled = Speller(StageCount()).spell([b"", text])
    assert spelled is not None
    body = body_of(spelled)
    assert len(text) * 9 / 8 < len(body) <= longest(len(text))
    assert Reader().read(body, len(text)) == text
