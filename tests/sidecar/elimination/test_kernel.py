"""The compiled kernel does what the portable one defines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnctl.sidecar.elimination.kernel import portable

native = pytest.importorskip(
    "vpnctl.sidecar.elimination.kernel.native",
    reason="a C compiler was not installed when vpnctl was",
    exc_type=ImportError,
)
BOTH = pytest.mark.parametrize("kernel", [portable, native], ids=["portable", "native"])
PAGE = portable.PAGE_SIZE


@st.composite
def versions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New pages, a ring of old ones, and which belongs to which."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    ring = random.integers(0, 256, (6, PAGE), np.uint8)
    slots = np.array(draw(st.lists(st.integers(-1, 5), max_size=8)), np.int64)
    pages = ring[slots].copy()
    for page in pages:
        for _ in range(draw(st.sampled_from([0, 1, 3, 60, 900]))):
            begin = int(random.integers(-8, PAGE))
            page[max(0, begin) : begin + int(random.integers(1, 12))] ^= np.uint8(
                random.integers(1, 256)
            )
    return pages, ring, slots


@settings(max_examples=60)
@given(versions(), st.integers(1, PAGE))
def test_deltas_are_the_same_and_undo(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: int
) -> None:
    pages, ring, slots = case
    counts, runs, changed = portable.delta_encode(pages, ring, slots, threshold)
    for ours, theirs in zip(
        (counts, runs, changed), native.delta_encode(pages, ring, slots, threshold), strict=True
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    chosen = counts >= 0
    for kernel in (portable, native):
        rebuilt = ring[slots[chosen]]
        if len(rebuilt):
            assert kernel.delta_apply(rebuilt, counts[chosen].astype(np.uint16), runs, changed)
        np.testing.assert_array_equal(rebuilt, pages[chosen])


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    runs=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3000)), max_size=8),
    octets=st.integers(0, 4000),
)
def test_deltas_that_leave_their_page_are_refused_by_both(
    counts: list[int], runs: list[tuple[int, int]], octets: int
) -> None:
    arguments = (
        np.array(counts, np.uint16),
        np.array(runs, np.uint16).reshape(-1, 2),
        np.ones(octets, np.uint8),
    )
    results = []
    for kernel in (portable, native):
        pages = np.zeros((len(counts), PAGE), np.uint8)
        results.append((kernel.delta_apply(pages, *arguments), pages))
    (ours, our_pages), (theirs, their_pages) = results
    assert ours == theirs
    if ours:
        np.testing.assert_array_equal(our_pages, their_pages)


@BOTH
def test_columns_may_begin_anywhere_in_a_payload(kernel: object) -> None:
    octets = np.frombuffer(b"\0" + np.array([1, 7, 2], "<u2").tobytes(), np.uint8)
    counts, runs = octets[1:3].view(np.uint16), octets[3:].view(np.uint16).reshape(-1, 2)
    pages = np.zeros((1, PAGE), np.uint8)
    assert kernel.delta_apply(pages, counts, runs, octets[1:3])  # type: ignore[attr-defined]
    assert pages.nonzero()[1].tolist() == [7]


@BOTH
def test_the_first_and_the_last_octet_can_change(kernel: object) -> None:
    ring = np.zeros((1, PAGE), np.uint8)
    pages = ring.copy()
    pages[0, [0, PAGE - 1]] = 255
    counts, runs, changed = kernel.delta_encode(pages, ring, np.zeros(1, np.int64), PAGE)
    assert (counts.tolist(), runs.tolist()) == ([2], [[0, 1], [PAGE - 2, 1]])
    assert changed.tolist() == [255, 255]


@BOTH
def test_the_threshold_counts_runs_and_octets(kernel: object) -> None:
    ring = np.zeros((1, PAGE), np.uint8)
    pages = ring.copy()
    pages[0, 100:110] = 1
    pages[0, 200:210] = 1
    slots = np.zeros(1, np.int64)
    assert kernel.delta_encode(pages, ring, slots, 28)[0].tolist() == [2]
    assert kernel.delta_encode(pages, ring, slots, 27)[0].tolist() == [-1]


@pytest.mark.parametrize("size", [256, 1024, 4096])
def test_fingerprints_and_comparison_are_the_same(size: int) -> None:
    random = np.random.default_rng(size)
    blocks = random.integers(0, 256, (500, size), np.uint8)
    ring = random.permutation(blocks)
    slots = random.integers(-1, 500, 500)
    np.testing.assert_array_equal(portable.fingerprints(blocks), native.fingerprints(blocks))
    np.testing.assert_array_equal(
        portable.equal_rows(blocks, ring, slots), native.equal_rows(blocks, ring, slots)
    )
    assert len(np.unique(portable.fingerprints(blocks))) == 500


def test_the_compiled_kernel_is_not_led_astray() -> None:
    pages = np.zeros((2, PAGE), np.uint8)
    ring = np.zeros((3, PAGE), np.uint8)
    with pytest.raises(ValueError, match="slot 3"):
        native.delta_encode(pages, ring, np.array([0, 3]), 100)
    with pytest.raises(ValueError, match="slots of shape"):
        native.equal_rows(pages, ring, np.array([0]))
    with pytest.raises(ValueError, match="a ring of shape"):
        native.equal_rows(pages, ring[:, :1024], np.array([0, 1]))
    with pytest.raises(ValueError, match="2 counts"):
        native.delta_apply(pages[:1], np.zeros(2, np.uint16), np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(ValueError, match="blocks of 20 octets"):
        native.fingerprints(np.zeros((2, 20), np.uint8))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    spread=st.sampled_from([1, 4]),
    batches=st.lists(st.integers(0, 30), max_size=12),
)
def test_indexes_are_the_same_and_never_lie(seed: int, spread: int, batches: list[int]) -> None:
    capacity = 32
    random = np.random.default_rng(seed)
    # Few prints, so that they come again and meet in buckets.
    pool = random.integers(0, 2**64, 60, np.uint64)
    tables = [
        (np.zeros(capacity * spread, np.uint32), np.zeros(capacity * spread, np.uint32),
         np.zeros(capacity, np.uint64))
        for _ in range(2)
    ]  # fmt: skip
    position = 0
    for count in batches:
        prints = random.choice(pool, count)
        slots = (position + np.arange(count)) % capacity
        position += count
        for kernel, (first, second, kept) in zip((portable, native), tables, strict=True):
            kernel.index_put(first, second, kept, prints, slots)
        for ours, theirs in zip(*tables, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        found = portable.index_find(*tables[0], pool)
        np.testing.assert_array_equal(found, native.index_find(*tables[1], pool))
        kept = tables[0][2]
        np.testing.assert_array_equal(kept[found[found >= 0]], pool[found >= 0])


@BOTH
def test_an_index_that_is_full_forgets_few(kernel: object) -> None:
    capacity = 20_000
    prints = np.random.default_rng(1).integers(0, 2**64, 3 * capacity, np.uint64)
    first, second = np.zeros((2, 4 * capacity), np.uint32)
    kept = np.zeros(capacity, np.uint64)
    for begin in range(0, 3 * capacity, 500):
        slots = np.arange(begin, begin + 500) % capacity
        kernel.index_put(first, second, kept, prints[begin : begin + 500], slots)
    found = kernel.index_find(first, second, kept, prints)
    assert (found[: 2 * capacity] < 0).all()
    assert (found[2 * capacity :] < 0).mean() < 1 / 200


def test_the_compiled_index_is_not_led_astray() -> None:
    first, second = np.zeros((2, 8), np.uint32)
    kept = np.zeros(2, np.uint64)
    with pytest.raises(ValueError, match="slots 0 to 2 of 2"):
        native.index_put(first, second, kept, np.zeros(2, np.uint64), np.array([0, 2]))
    with pytest.raises(ValueError, match="prints for"):
        native.index_put(first, second, kept, np.zeros(1, np.uint64), np.array([0, 1]))
