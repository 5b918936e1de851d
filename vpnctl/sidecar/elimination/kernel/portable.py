"""The kernel in numpy: what it does is defined here, `native` only does it faster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PAGE_SIZE = 4096
#: Unchanged octets between two changed runs that are sent along rather than begin a new run,
#: which costs four.
GAP = 4

_LOW = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)
_MIX = np.uint64(0xD6E8FEB86659FD93)


def _keys(count: int) -> NDArray[np.uint64]:
    """The splitmix64 sequence from 1, made odd."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)


#: Odd multipliers of `fingerprints`, one for each word of a block; fixed, as fingerprints are kept
#: on disk.
KEYS = _keys(PAGE_SIZE // 8)


def fingerprints(blocks: NDArray[np.uint8], keys: NDArray[np.uint64] = KEYS) -> NDArray[np.uint64]:
    """One number for each block: the sum of its words, each times its key, modulo 2**64.

    ``blocks``: shape ``(n, size)``, rows contiguous, ``size`` a multiple of 8; ``keys``: at least
    ``size / 8``.  A block of zeros, and no block that differs in one word only, has 0.
    Equal fingerprints do not mean equal blocks: compare.
    """
    words = blocks.view(np.uint64)
    out = np.empty(len(words), np.uint64)
    # In pieces that stay in the processor's cache.
    step = max(1, (1 << 17) // blocks.shape[1]) if len(words) else 1
    for begin in range(0, len(words), step):
        piece = words[begin : begin + step]
        np.sum(piece * keys[: words.shape[1]], axis=1, out=out[begin : begin + step])
    return out


def equal_rows(
    blocks: NDArray[np.uint8], ring: NDArray[np.uint8], slots: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which ``blocks[i]`` are ``ring[slots[i]]``; false for negative slots.

    Shapes ``(n, size)``, ``(capacity, size)``, ``(n,)``.
    """
    out = slots >= 0
    rows = np.flatnonzero(out)
    found = blocks[rows].view(np.uint64) == ring[slots[rows]].view(np.uint64)
    out[rows] = found.all(axis=1)
    return out


def delta_encode(
    pages: NDArray[np.uint8],
    ring: NDArray[np.uint8],
    slots: NDArray[np.int64],
    threshold: int,
) -> tuple[NDArray[np.int32], NDArray[np.uint16], NDArray[np.uint8]]:
    """What changed in ``pages[i]`` since ``ring[slots[i]]``, for each ``i``.

    Shapes ``(n, 4096)``, ``(capacity, 4096)``, ``(n,)``.

    Returns ``counts``, ``runs``, ``changed``: ``counts[i]`` runs belong to page ``i``, or it is -1
    where the slot is negative, or where four octets for each run and one for each changed octet
    make more than ``threshold``.
    ``runs``: shape ``(total, 2)``: octets skipped since the end of the previous run of the page,
    and octets of this run, at least 1.  ``changed``: the octets of all runs, old XOR new.  Runs
    that stand `GAP` octets apart or less are one.
    """
    rows = np.flatnonzero(slots >= 0)
    all_counts = np.full(len(pages), -1, np.int32)
    difference = pages[rows] ^ ring[slots[rows]]
    # A column of zeros at the end keeps a run from crossing into the next page.
    marks = np.zeros((len(rows), PAGE_SIZE + 2), np.int8)
    marks[:, 1:-1] = difference != 0
    edges = np.diff(marks, axis=1)
    page, begins = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    if len(page):
        joined = (page[1:] == page[:-1]) & (begins[1:] - ends[:-1] <= GAP)
        begins = begins[np.concatenate(([True], ~joined))]
        ends = ends[np.concatenate((~joined, [True]))]
        page = page[np.concatenate(([True], ~joined))]
    lengths = ends - begins
    runs_of = np.bincount(page, minlength=len(rows))
    octets_of = np.bincount(page, weights=lengths, minlength=len(rows)).astype(np.int64)
    accepted = 4 * runs_of + octets_of <= threshold
    all_counts[rows] = np.where(accepted, runs_of, -1)
    kept = accepted[page]
    page, begins, lengths = page[kept], begins[kept], lengths[kept]
    previous = np.zeros_like(begins)
    same = page[1:] == page[:-1]
    previous[1:][same] = (begins + lengths)[:-1][same]
    runs = np.stack((begins - previous, lengths), axis=1).astype(np.uint16)
    changed = difference.reshape(-1)[spans(page * PAGE_SIZE + begins, lengths)]
    return all_counts, runs, changed


def delta_apply(
    pages: NDArray[np.uint8],
    counts: NDArray[np.uint16],
    runs: NDArray[np.uint16],
    changed: NDArray[np.uint8],
) -> bool:
    """Make old ``pages`` new in place, by what `delta_encode` returned for them.

    False, with ``pages`` undefined, unless every run lies in its page and all runs and octets are
    used.  At least one page.
    """
    last = np.cumsum(counts, dtype=np.int64)
    if last[-1] != len(runs):
        return False
    skips, lengths = runs[:, 0].astype(np.int64), runs[:, 1].astype(np.int64)
    if lengths.sum() != len(changed) or (lengths == 0).any():
        return False
    page = np.repeat(np.arange(len(pages)), counts)
    # Ends of runs, counted from the begin of the first page; then from that of their own.
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(skips + lengths)))
    ends = ends[1:] - ends[last - counts][page]
    if (ends > PAGE_SIZE).any():
        return False
    flat = pages.reshape(-1)
    flat[spans(page * PAGE_SIZE + ends - lengths, lengths)] ^= changed
    return True


def index_put(
    first: NDArray[np.uint32],
    second: NDArray[np.uint32],
    kept: NDArray[np.uint64],
    prints: NDArray[np.uint64],
    slots: NDArray[np.int64],
) -> None:
    """``prints[i]`` is now in ``slots[i]`` of the index that the first three arguments are.

    ``first``, ``second``: the tables, a slot and one, or 0; shapes ``(buckets,)``; ``kept``: the
    print in each slot.  Each print takes its bucket of ``first``, the last one of this call if they
    meet there; those that lose, and then those that were there before, take theirs of ``second``.
    """
    kept[slots] = prints
    buckets, others = _buckets(prints, len(first))
    values = (slots + 1).astype(np.uint32)
    before = first[buckets]
    first[buckets] = values
    lost = first[buckets] != values
    second[others[lost]] = values[lost]

    taken = np.flatnonzero(before)
    before = before[taken]
    moved = kept[before.astype(np.int64) - 1]
    old_buckets, old_others = _buckets(moved, len(first))
    # Others than those were forgotten before, when their slots were given to something else.
    current = (old_buckets == buckets[taken]) & (moved != prints[taken])
    second[old_others[current]] = before[current]


def index_find(
    first: NDArray[np.uint32],
    second: NDArray[np.uint32],
    kept: NDArray[np.uint64],
    prints: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """The slot in which each print is, or -1; shape ``(n,)``; see `index_put`."""
    found = np.full(len(prints), -1, np.int64)
    for table, buckets in zip((second, first), _buckets(prints, len(first))[::-1], strict=True):
        slots = table[buckets].astype(np.int64) - 1
        right = (slots >= 0) & (kept[slots] == prints)
        found[right] = slots[right]
    return found


def _buckets(
    prints: NDArray[np.uint64], count: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    mixed = (prints ^ (prints >> _HALF)) * _MIX
    mixed ^= mixed >> _HALF
    again = (mixed * _MIX) >> _HALF
    size = np.uint64(count)
    return ((mixed & _LOW) * size) >> _HALF, (again * size) >> _HALF


def spans(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """All numbers of the ranges ``begins[i] : begins[i] + lengths[i]``, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    out: NDArray[np.int64] = np.arange(total) + np.repeat(begins - (ends - lengths), lengths)
    return out
