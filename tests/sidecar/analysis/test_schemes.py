"""Octets under each scheme, against what is known of a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard

from tests.sidecar.analysis.files import disk_file, noise, nothing, stream_file
from tests.support.streams import PAGE
from vpnctl.sidecar.analysis.schemes import BATCH_PAGES, schemes
from vpnctl.sidecar.analysis.source import Source
from vpnctl.sidecar.stream.format import HEADER_SIZE

CACHE = 4 << 20


def sizes(source: Source) -> dict[str, int]:
    return {scheme.name: scheme.measure(source, nothing) for scheme in schemes(CACHE)}


def test_noise_sent_once_stays_as_large_as_it_is(tmp_path: Path) -> None:
    source = stream_file(tmp_path / "a", [(n, noise(PAGE, n)) for n in range(256)])
    found = sizes(source)
    assert found.pop("default") == source.size
    assert all(size > 256 * PAGE for size in found.values())


def test_a_page_sent_twice_is_found_by_content_and_delta(tmp_path: Path) -> None:
    once = [(n, noise(PAGE, n)) for n in range(256)]
    source = stream_file(tmp_path / "a", once * 2)
    found = sizes(source)
    for name in ("content-1", "content-4", "content-16", "delta", "delta+content-4"):
        assert 256 * PAGE < found[name] < 1.2 * 256 * PAGE, name
    # The second megabyte is beyond the window of plain zstd.
    assert found["zstd"] > 1.9 * 256 * PAGE
    assert found["zstd-long"] < 1.1 * 256 * PAGE


def test_the_same_content_elsewhere_is_found_by_content_only(tmp_path: Path) -> None:
    pages = [(n, noise(PAGE, n % 512)) for n in range(1024)]
    found = sizes(stream_file(tmp_path / "a", pages))
    assert found["content-1"] < 0.6 * 1024 * PAGE
    assert found["delta"] > 1024 * PAGE


def test_smaller_blocks_find_what_lies_within_pages(tmp_path: Path) -> None:
    shared = noise(PAGE // 4)
    pages = [(n, shared + noise(PAGE * 3 // 4, n)) for n in range(1024)]
    found = sizes(stream_file(tmp_path / "a", pages))
    assert found["content-1"] > 1024 * PAGE
    # Three quarters of each page, and all of those in the first batch, of a megabyte.
    assert found["content-4"] < 0.83 * 1024 * PAGE


def test_zstd_is_what_zstd_makes_of_the_file(tmp_path: Path) -> None:
    pages = [(n, noise(PAGE // 2, n % 9) * 2) for n in range(500)]
    source = stream_file(tmp_path / "a", pages)
    octets = source.path.read_bytes()
    frame = zstandard.ZstdCompressor(level=1).compressobj()
    expected = len(frame.compress(octets)) + len(frame.flush())
    found = sizes(source)["zstd"]
    # The octets are the same; only how they are handed over differs.
    assert found == pytest.approx(expected, rel=0.01)


def test_batches_are_compressed_each_for_itself(tmp_path: Path) -> None:
    contents = [noise(PAGE // 2, n % 9) * 2 for n in range(BATCH_PAGES * 2 + 50)]
    source = stream_file(tmp_path / "a", list(enumerate(contents)))
    compressor = zstandard.ZstdCompressor(level=1)
    batches = [contents[begin : begin + BATCH_PAGES] for begin in range(0, 306, BATCH_PAGES)]
    compressed = sum(len(compressor.compress(b"".join(batch))) for batch in batches)
    assert sizes(source)["zstd-batch"] == source.size - len(contents) * PAGE + compressed


def test_zeros_of_a_disk_are_sent_as_marks(tmp_path: Path) -> None:
    source = disk_file(tmp_path / "a", noise(100 * PAGE) + bytes(400 * PAGE))
    default = sizes(source)["default"]
    name = len(b"\x04disk")
    assert default == 100 * (HEADER_SIZE + PAGE) + 400 * (HEADER_SIZE + 1) + name
