"""How much changed between two times that a page was sent."""

from __future__ import annotations

from pathlib import Path

from tests.sidecar.analysis.files import noise, nothing, stream_file
from tests.support.streams import PAGE
from vpnctl.sidecar.analysis.deltas import BOUNDS, histogram

MIB = 1 << 20


def changed(content: bytes, places: range) -> bytes:
    out = bytearray(content)
    for place in places:
        out[place] ^= 0xFF
    return bytes(out)


def counts(tmp_path: Path, sent: list[tuple[int, bytes]], cache: int = 16 * MIB) -> dict[int, int]:
    found = histogram(stream_file(tmp_path / "a", sent), cache, nothing)
    named = zip([*BOUNDS, -1], found.counts, strict=True)
    assert found.pages == sum(found.counts)
    return {bound: pages for bound, pages in named if pages}


def test_each_page_is_compared_with_its_last_version(tmp_path: Path) -> None:
    old = [noise(PAGE, n) for n in range(8)]
    again = [
        (0, old[0]),  # nothing
        (1, changed(old[1], range(1))),  # one run of one octet: 5
        (2, changed(old[2], range(100, 160))),  # 60 and a run of 4: 64
        (3, changed(old[3], range(100, 161))),  # 65
        (4, changed(old[4], range(0, 4096, 32))),  # 128 runs of one: 640
        (5, noise(PAGE, 99)),  # all of it
        (1, changed(old[1], range(1))),  # as the second version was: nothing
    ]
    assert counts(tmp_path, [*enumerate(old), *again]) == {0: 2, 64: 2, 128: 1, 1024: 1, -1: 1}


def test_pages_sent_once_and_filled_pages_are_not_counted(tmp_path: Path) -> None:
    sent = [(0, noise(PAGE)), (1, b"\0"), (1, b"\0"), (2, noise(PAGE, 2))]
    assert counts(tmp_path, sent) == {}


def test_a_version_that_was_forgotten_is_not_compared(tmp_path: Path) -> None:
    # The first megabyte sent fills the cache, the second pushes it out.
    sent = [(n % 512, noise(PAGE, n % 512)) for n in range(1024)]
    assert counts(tmp_path, sent, cache=1 * MIB) == {}
    assert counts(tmp_path, sent, cache=2 * MIB) == {0: 512}
