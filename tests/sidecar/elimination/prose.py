"""Text, as guests have it, and what looks like it."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

PASSAGE = 1024
WORDS = (
    "route", "target", "the ", "a ", "I", "incomprehensibilities ", "abcdefghijklmno", "Memory ",
    "x" * 40, "self._name", "GET /index.html ", "7", "42 ", "1234567", "12345678 ", "99999999999",
    "\n", "  ", "0x1f ", "{}", "=", "12 34 ", "q1w2e3 ", "1234", "56789 ", "123",
)  # fmt: skip


def prose(random: np.random.Generator, size: int) -> bytes:
    """ASCII with words, numbers and signs."""
    drawn = random.choice(np.array(WORDS, object), size // 2 + 1)
    return "".join(drawn.tolist()).encode()[:size].ljust(size, b"z")


@st.composite
def passages(draw: st.DrawFn) -> bytes:
    """1024 octets: text, noise, zeros, or text with one octet that none has."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["prose", "prose", "letters", "digits", "noise", "zeros", "odd"]))
    if kind == "letters":
        return random.integers(97, 123, PASSAGE, np.uint8).tobytes()
    if kind == "digits":
        return random.integers(48, 58, PASSAGE, np.uint8).tobytes()
    if kind == "noise":
        return random.bytes(PASSAGE)
    if kind == "zeros":
        return bytes(PASSAGE)
    octets = bytearray(prose(random, PASSAGE))
    if kind == "odd":
        octets[int(random.integers(PASSAGE))] = int(random.integers(128, 256))
    return bytes(octets)


texts = st.integers(0, 2**32).map(lambda seed: prose(np.random.default_rng(seed), 3 * PASSAGE))
