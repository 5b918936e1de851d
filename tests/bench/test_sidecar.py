"""The sidecar's benchmark measures what it says; no times."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.bench import codec, report, sidecar
from tests.sidecar.stream.samples import sample
from vpnctl.sidecar.elimination import Options

MIB = 1 << 20
SMALL = replace(Options(), cache_size=4 * MIB, window_log=20)


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Two small streams of real guests."""
    directory = tmp_path / "captures"
    directory.mkdir()
    (directory / "first.stream").write_bytes(sample("q35-7.2"))
    (directory / "second.stream").write_bytes(sample("pc-i440fx-5.2"))
    return directory


def test_one_and_two_threads_make_the_same(captures: Path, tmp_path: Path) -> None:
    first = captures / "first.stream"
    run = codec.encode_and_decode(first, SMALL, tmp_path / "one")
    wire, _ = codec.encode_in_two_threads(first, SMALL, tmp_path / "two")
    assert run.wire == wire
    assert run.stages["stream"] == first.stat().st_size
    again = codec.encode_and_decode(first, SMALL, tmp_path / "one")
    assert again.stages["site"]["hits"] > 0
    assert again.wire < run.wire


def test_multifd_sends_every_page_and_looks_back_little(captures: Path) -> None:
    first = captures / "first.stream"
    whole = codec.encode_and_decode(first, Options.zstd_long(), None).wire
    assert whole < codec.multifd_size(first) < first.stat().st_size


def test_a_long_stream_is_counted_to_its_end(captures: Path) -> None:
    found = codec.soak(captures / "first.stream", SMALL, 3 * MIB)
    assert found.keys() == {"encoder", "decoder"}
    assert all(0 < early <= late for early, late in found.values())


@pytest.mark.daemon
def test_the_case_of_bytes_runs_and_is_reported(captures: Path, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    out = tmp_path / "sidecar.json"
    arguments = ["--captures", str(captures), "--only", "bytes", "--out", str(out)]
    assert sidecar.main(arguments) == 0
    rows = json.loads(out.read_text())
    by_key = {(row["case"], row["subject"]): row["figure"] for row in rows}
    ours = by_key["bytes/first guest, cold cache", "vpnctl"]
    theirs = by_key["bytes/first guest, cold cache", "zstd -1 --long=27"]
    ratio = by_key["ratio to zstd -1 --long=27/first guest, cold cache", "vpnctl"]
    assert ratio == pytest.approx(ours / theirs)
    assert "second guest, warm cache" in report.render([out])
