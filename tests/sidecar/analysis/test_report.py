"""All parts together, and how far they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sidecar.analysis.files import disk_file, noise, nothing, stream_file
from tests.support.streams import PAGE
from vpnctl.sidecar.analysis.parts import Part
from vpnctl.sidecar.analysis.report import analyze, octets_to_read
from vpnctl.sidecar.analysis.source import Passed, Source

CACHE = 4 << 20


@pytest.mark.parametrize("parts", [list(Part), *([part] for part in Part)])
def test_it_is_told_how_far_it_is_to_the_end(tmp_path: Path, parts: list[Part]) -> None:
    sources = [
        stream_file(tmp_path / "a", [(n, noise(PAGE, n)) for n in range(300)]),
        disk_file(tmp_path / "b", noise(700_001)),
    ]
    told: list[int] = []
    begun: list[tuple[str, str]] = []

    def begin(source: Source, what: str) -> Passed:
        begun.append((source.path.name, what))
        return told.append

    report = analyze(sources, parts, CACHE, begin)
    assert sum(told) == octets_to_read(sources, parts, CACHE)
    assert len(begun) == len(set(begun))
    assert [bool(file.schemes) for file in report.files] == [Part.SCHEMES in parts] * 2
    assert [bool(file.blocks) for file in report.files] == [Part.BLOCKS in parts] * 2
    assert bool(report.across) == (Part.BLOCKS in parts)
    assert [file.deltas is not None for file in report.files] == [Part.DELTAS in parts, False]
    assert [bool(file.chunks) for file in report.files] == [Part.CHUNKS in parts] * 2


def test_one_file_has_nothing_in_common_with_others(tmp_path: Path) -> None:
    source = disk_file(tmp_path / "a", noise(10 * PAGE))
    report = analyze([source], [Part.BLOCKS], CACHE, lambda *_: nothing)
    assert report.across == ()
