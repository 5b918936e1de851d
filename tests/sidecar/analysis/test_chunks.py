"""Cuts that the content decides."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sidecar.analysis.files import disk_file, noise, nothing
from vpnctl.sidecar.analysis import chunks
from vpnctl.sidecar.analysis.chunks import WINDOW, chunkings, cuts, rolling_hash
from vpnctl.sidecar.analysis.sampling import Sampling


def array(octets: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(octets, np.uint8)


@given(st.binary(min_size=1, max_size=300))
def test_the_hash_rolls(octets: bytes) -> None:
    expected = []
    rolled = 0
    for octet in octets:
        rolled = ((rolled << 1) + int(chunks._GEAR[octet])) % (1 << 32)
        expected.append(rolled)
    assert rolling_hash(array(octets)).tolist() == expected


def test_the_hash_forgets_what_is_behind_its_window() -> None:
    same = noise(WINDOW)
    assert rolling_hash(array(b"x" * 99 + same))[-1] == rolling_hash(array(b"y" * 77 + same))[-1]


@given(
    st.integers(0, 20_000),
    st.integers(0, 9),
    st.sampled_from([256, 1024]),
    st.sampled_from([b"", bytes(9000)]),
)
def test_chunks_cover_everything_within_their_bounds(
    length: int, seed: int, size: int, zeros: bytes
) -> None:
    octets = noise(length, seed) + zeros
    ends = cuts(array(octets), size)
    assert (ends[-1] if ends else 0) == len(octets)
    lengths = [end - begin for begin, end in pairwise([0, *ends])]
    assert all(size // 4 <= each <= size * 4 for each in lengths[:-1])
    assert all(0 < each <= size * 4 for each in lengths[-1:])


def test_cuts_move_with_the_content() -> None:
    content = noise(200_000)
    ends = set(cuts(array(content), 1024))
    moved = {end - 100 for end in cuts(array(noise(100, 7) + content), 1024)}
    assert len(ends & moved) > 0.95 * len(ends)


def test_moved_content_is_found_by_chunks_and_not_by_blocks(tmp_path: Path) -> None:
    content = noise(400 * 1024)
    found = chunkings(
        disk_file(tmp_path / "a", content + noise(100, 7) + content), Sampling(), nothing
    )
    for each in found:
        assert each.fixed == 0
        assert each.chunked > 0.45
        assert each.mean == pytest.approx(each.size, rel=0.5)


def test_nothing_is_said_of_a_file_without_pages(tmp_path: Path) -> None:
    assert chunkings(disk_file(tmp_path / "a", b"short"), Sampling(), nothing) == ()
