"""The kernel in C; raises `ImportError` where it was not compiled."""

from __future__ import annotations

from ctypes import CDLL, byref, c_int, c_int64, c_void_p
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.elimination.kernel.portable import GAP, KEYS, PAGE_SIZE


def _load() -> CDLL:
    """The library that ``setup.py`` built beside this file."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name("_native" + suffix)
        if path.exists():
            return CDLL(str(path))
    raise ImportError("the kernel was not compiled: no C compiler was there at installation")


library = _load()
# ctypes lets go of the interpreter's lock during each call.
_fingerprints = library.fingerprints
_fingerprints.argtypes = (c_void_p, c_int64, c_int64, c_void_p, c_void_p)
_fingerprints.restype = None
_equal_rows = library.equal_rows
_equal_rows.argtypes = (c_void_p, c_int64, c_int64, c_void_p, c_void_p, c_void_p)
_equal_rows.restype = None
_delta_encode = library.delta_encode
_delta_encode.argtypes = (
    *(c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_int64),
    *(c_void_p, c_void_p, c_void_p, c_void_p),
)
_delta_encode.restype = c_int64
_delta_apply = library.delta_apply
_delta_apply.argtypes = (c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_void_p, c_int64)
_delta_apply.restype = c_int

_index_put = library.index_put
_index_put.argtypes = (
    *(c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_void_p, c_int64, c_void_p),
)
_index_put.restype = None
_index_find = library.index_find
_index_find.argtypes = (c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_void_p)
_index_find.restype = None


def fingerprints(blocks: NDArray[np.uint8], keys: NDArray[np.uint64] = KEYS) -> NDArray[np.uint64]:
    """As `portable.fingerprints`; ``size`` is a multiple of 32."""
    blocks = np.ascontiguousarray(blocks)
    count, size = blocks.shape
    if size % 32 or len(keys) < size // 8:
        raise ValueError(f"blocks of {size} octets, {len(keys)} keys")
    out = np.empty(count, np.uint64)
    _fingerprints(blocks.ctypes.data, count, size, keys.ctypes.data, out.ctypes.data)
    return out


def equal_rows(
    blocks: NDArray[np.uint8], ring: NDArray[np.uint8], slots: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """As `portable.equal_rows`."""
    blocks = np.ascontiguousarray(blocks)
    count, size = blocks.shape
    _check(ring, slots, count, size)
    out = np.empty(count, np.bool_)
    _equal_rows(
        blocks.ctypes.data, count, size, ring.ctypes.data, slots.ctypes.data, out.ctypes.data
    )
    return out


def delta_encode(
    pages: NDArray[np.uint8],
    ring: NDArray[np.uint8],
    slots: NDArray[np.int64],
    threshold: int,
) -> tuple[NDArray[np.int32], NDArray[np.uint16], NDArray[np.uint8]]:
    """As `portable.delta_encode`."""
    pages = np.ascontiguousarray(pages)
    _check(ring, slots, len(pages), PAGE_SIZE)
    known = int((slots >= 0).sum())
    counts = np.empty(len(pages), np.int32)
    runs = np.empty((known * (threshold // 5 + 1) + 1, 2), np.uint16)
    changed = np.empty(known * threshold, np.uint8)
    used = c_int64()
    count = _delta_encode(
        *(pages.ctypes.data, len(pages), ring.ctypes.data, slots.ctypes.data, GAP, threshold),
        *(counts.ctypes.data, runs.ctypes.data, changed.ctypes.data, byref(used)),
    )
    return counts, runs[:count], changed[: used.value]


def delta_apply(
    pages: NDArray[np.uint8],
    counts: NDArray[np.uint16],
    runs: NDArray[np.uint16],
    changed: NDArray[np.uint8],
) -> bool:
    """As `portable.delta_apply`."""
    if not pages.flags.c_contiguous or pages.shape != (len(counts), PAGE_SIZE):
        raise ValueError(f"pages of shape {pages.shape}, {len(counts)} counts")
    # A peer's columns begin where its payload has them, and C may take numbers to be aligned.
    counts, runs = (np.require(column, requirements=["C", "A"]) for column in (counts, runs))
    changed = np.ascontiguousarray(changed)
    return bool(
        _delta_apply(
            *(pages.ctypes.data, len(pages), counts.ctypes.data),
            *(runs.ctypes.data, len(runs), changed.ctypes.data, len(changed)),
        )
    )


def index_put(
    first: NDArray[np.uint32],
    second: NDArray[np.uint32],
    kept: NDArray[np.uint64],
    prints: NDArray[np.uint64],
    slots: NDArray[np.int64],
) -> None:
    """As `portable.index_put`."""
    prints, slots = np.ascontiguousarray(prints), np.ascontiguousarray(slots)
    if prints.shape != slots.shape or first.shape != second.shape or slots.dtype != np.int64:
        raise ValueError(f"{prints.shape} prints for {slots.shape} slots")
    if len(slots) and not 0 <= int(slots.min()) <= int(slots.max()) < len(kept):
        raise ValueError(f"slots {slots.min()} to {slots.max()} of {len(kept)}")
    before = np.empty(len(prints), np.uint32)
    _index_put(
        *(first.ctypes.data, second.ctypes.data, len(first), kept.ctypes.data),
        *(prints.ctypes.data, slots.ctypes.data, len(prints), before.ctypes.data),
    )


def index_find(
    first: NDArray[np.uint32],
    second: NDArray[np.uint32],
    kept: NDArray[np.uint64],
    prints: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """As `portable.index_find`."""
    prints = np.ascontiguousarray(prints)
    out = np.empty(len(prints), np.int64)
    _index_find(
        *(first.ctypes.data, second.ctypes.data, len(first), kept.ctypes.data),
        *(prints.ctypes.data, len(prints), out.ctypes.data),
    )
    return out


def _check(ring: NDArray[np.uint8], slots: NDArray[np.int64], count: int, size: int) -> None:
    """The C side trusts shapes and slots; raises `ValueError` rather than have it read astray."""
    if not ring.flags.c_contiguous or ring.shape[1:] != (size,) or slots.dtype != np.int64:
        raise ValueError(f"a ring of shape {ring.shape} for rows of {size} octets")
    if slots.shape != (count,) or not slots.flags.c_contiguous:
        raise ValueError(f"slots of shape {slots.shape} for {count} rows")
    if count and int(slots.max()) >= len(ring):
        raise ValueError(f"slot {slots.max()} in a ring of {len(ring)}")
