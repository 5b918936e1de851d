"""The loops over text in C; raises `ImportError` where they were not compiled."""

from __future__ import annotations

from ctypes import byref, c_int, c_int64, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.elimination.kernel.native import library
from vpnctl.sidecar.elimination.kernel.text_portable import LONGEST, PASSAGE, WORDS

_find_text = library.find_text
_find_text.argtypes = (c_void_p, c_int64, c_void_p)
_find_text.restype = None
_spell = library.spell
_spell.argtypes = (
    *(c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_void_p),
    *(c_void_p, c_void_p, c_void_p),
)
_spell.restype = c_int64
_unspell = library.unspell
_unspell.argtypes = (
    *(c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_void_p),
    *(c_void_p, c_int64),
)
_unspell.restype = c_int


def find_text(passages: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """As `text_portable.find_text`."""
    _check(passages)
    if passages.shape[1:] != (PASSAGE,):
        raise ValueError(f"passages of shape {passages.shape}")
    out = np.empty(len(passages), np.bool_)
    _find_text(passages.ctypes.data, len(passages), out.ctypes.data)
    return out


def spell(
    text: NDArray[np.uint8],
    kept: NDArray[np.uint64],
    counts: NDArray[np.uint32],
    codes: NDArray[np.uint16],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """As `text_portable.spell`."""
    places = len(kept)
    _check(kept, np.uint64, written=True)
    _check(counts, np.uint32, written=True)
    _check(codes, np.uint16)
    # Places are pairs.
    if kept.shape != (places, 2) or places < 2 or places & (places - 1):
        raise ValueError(f"words of shape {kept.shape}")
    if counts.shape != (places,) or codes.shape != (places,):
        raise ValueError(f"{counts.shape} counts and {codes.shape} codes for {places} words")
    _check(text)
    # The loop looks a little further than the text goes.
    if len(text) < LONGEST or text[-LONGEST:].any():
        raise ValueError(f"a text of {len(text)} octets does not end in {LONGEST} zeros")
    size = len(text) - LONGEST
    spelled = np.empty(2 * size + LONGEST, np.uint8)
    digits = np.empty(size + LONGEST, np.uint8)
    count = c_int64()
    octets = _spell(
        *(text.ctypes.data, size, kept.ctypes.data, places, counts.ctypes.data),
        *(codes.ctypes.data, spelled.ctypes.data, digits.ctypes.data, byref(count)),
    )
    return spelled[:octets], digits[: count.value]


def unspell(
    spelled: NDArray[np.uint8],
    digits: NDArray[np.uint8],
    words: NDArray[np.uint8],
    lengths: NDArray[np.uint8],
    text: NDArray[np.uint8],
) -> bool:
    """As `text_portable.unspell`."""
    _check(words)
    _check(lengths)
    _check(text, written=True)
    if words.shape != (WORDS + 1, LONGEST) or lengths.shape != (WORDS + 1,):
        raise ValueError(f"words of shape {words.shape}, {lengths.shape} lengths")
    if int(lengths.max()) > LONGEST:
        raise ValueError(f"words of {lengths.max()} octets")
    spelled, digits = map(np.ascontiguousarray, (spelled, digits))
    return bool(
        _unspell(
            *(spelled.ctypes.data, len(spelled), digits.ctypes.data, len(digits)),
            *(words.ctypes.data, lengths.ctypes.data, text.ctypes.data, len(text)),
        )
    )


def _check(
    array: NDArray[Any], kind: type[np.generic] = np.uint8, *, written: bool = False
) -> None:
    """The C side trusts what it is given; raises `ValueError` rather than have it read astray."""
    flags = array.flags
    if (
        array.dtype != kind
        or not (flags.c_contiguous and flags.aligned)
        or (written and not flags.writeable)
    ):
        raise ValueError(f"an array of {array.dtype} and shape {array.shape} is not one of C's")
