"""Redundancy, against what sets of blocks say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sidecar.analysis.files import disk_file, noise, nothing, stream_file
from tests.support.streams import PAGE
from vpnctl.sidecar.analysis.redundancy import PER_PAGE, across, prints_of
from vpnctl.sidecar.analysis.sampling import Sampling

ALL = Sampling()


def pages(seed: int) -> list[bytes]:
    """Pages of eighths, some of which many pages have."""
    eighths = [noise(PAGE // 8, 1000 + n) for n in range(60)]
    own = [noise(PAGE // 8, seed * 100_000 + n) for n in range(300)]
    choice = noise(8 * 200, seed)
    return [
        b"".join(
            eighths[octet % 60] if octet < 128 else own[(n * 8 + octet) % 300]
            for octet in choice[n * 8 : n * 8 + 8]
        )
        for n in range(200)
    ]


def blocks(contents: list[bytes], per_page: int) -> list[bytes]:
    size = PAGE // per_page
    whole = b"".join(contents)
    return [whole[begin : begin + size] for begin in range(0, len(whole), size)]


def test_it_is_what_a_set_of_blocks_says(tmp_path: Path) -> None:
    contents = pages(1)
    source = stream_file(tmp_path / "a", [*enumerate(contents), (900, b"\0")])
    for prints in prints_of(source, PER_PAGE, ALL, nothing):
        all_blocks = blocks(contents, prints.per_page)
        assert prints.blocks == len(all_blocks)
        assert prints.repeated == pytest.approx(1 - len(set(all_blocks)) / len(all_blocks))


def test_files_together_are_what_one_set_says(tmp_path: Path) -> None:
    first, second = pages(1), pages(2)
    found = [
        prints_of(stream_file(tmp_path / "a", list(enumerate(first))), PER_PAGE, ALL, nothing),
        prints_of(disk_file(tmp_path / "b", b"".join(second)), PER_PAGE, ALL, nothing),
    ]
    rows = across(found)
    assert [row.per_page for row in rows] == list(PER_PAGE)
    for row in rows:
        a, b = blocks(first, row.per_page), blocks(second, row.per_page)
        total = len(a) + len(b)
        assert row.apart == pytest.approx(1 - (len(set(a)) + len(set(b))) / total)
        assert row.together == pytest.approx(1 - len(set(a) | set(b)) / total)
    assert rows[3].together > rows[3].apart > 0


def test_a_disk_of_zeros_has_none(tmp_path: Path) -> None:
    prints = prints_of(disk_file(tmp_path / "a", bytes(50 * PAGE)), (4,), ALL, nothing)
    assert (prints[0].blocks, prints[0].repeated) == (0, 0.0)
    assert across([prints, prints]) == ()
