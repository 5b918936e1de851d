"""``vpnctl analyze`` on a stream and a disk that have something in common."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.sidecar.analysis.files import disk_file, noise, stream_file
from tests.support.streams import PAGE


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A guest that sent 64 pages twice, and its disk, which has half of them."""
    pages = [(n, noise(PAGE, n)) for n in range(64)]
    guest = stream_file(tmp_path / "guest.stream", pages * 2)
    disk = disk_file(tmp_path / "disk.raw", b"".join(content for _, content in pages[:32]))
    return str(guest.path), str(disk.path)


def test_the_tables_say_what_was_found(vpnctl: Any, files: tuple[str, str]) -> None:
    result = vpnctl("analyze", *files)
    assert (result.exit_code, result.stderr) == (0, "")
    text = result.stdout
    assert re.search(r"guest\.stream: stream, 0\.5 MB", text)
    assert re.search(r"disk\.raw: disk, 0\.1 MB", text)
    assert re.search(r"^default +0\.5 +100\.0 %", text, re.M)
    assert re.search(r"^4 +1024 +50\.0 %", text, re.M)
    assert re.search(r"^none +64 +100\.0 %", text, re.M)
    # 128 and 32 pages; 64 distinct with one cache, 96 with one each.
    assert re.search(r"^1 +40\.0 % +60\.0 % +20\.0 %", text, re.M)


def test_json_has_the_same(vpnctl: Any, files: tuple[str, str]) -> None:
    answer = json.loads(vpnctl("analyze", *files, "-o", "json").stdout)
    guest, disk = answer["files"]
    assert (guest["kind"], disk["kind"]) == ("stream", "disk")
    assert guest["schemes"][0]["octets"] == guest["octets"]
    assert guest["deltas"]["counts"][0] == 64
    assert disk["deltas"] is None
    assert answer["across"][0] == {
        "per_page": 1,
        "apart": pytest.approx(0.4),
        "together": pytest.approx(0.6),
    }


def test_only_what_is_asked_for_is_done(vpnctl: Any, files: tuple[str, str]) -> None:
    answer = json.loads(vpnctl("analyze", files[0], "--only", "deltas", "-o", "json").stdout)
    assert answer["files"][0]["deltas"]["counts"][0] == 64
    assert not answer["files"][0]["schemes"]
    assert not answer["files"][0]["blocks"]
    assert not answer["files"][0]["chunks"]
    assert not answer["across"]


def test_pictures_are_written(vpnctl: Any, files: tuple[str, str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    figures = tmp_path / "figures"
    result = vpnctl("analyze", *files, "--plots", str(figures))
    assert result.exit_code == 0, result.stderr
    names = {"schemes", "blocks", "deltas", "chunks", "across"}
    assert {path.stem for path in figures.iterdir()} == names
    for path in figures.iterdir():
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert f"wrote {path}" in result.stderr
    vpnctl("analyze", files[0], "--only", "blocks", "--plots", str(figures), "--plot-format", "png")
    assert (figures / "blocks.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named(
    vpnctl: Any, files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = vpnctl("analyze", files[0], "--plots", str(tmp_path / "figures"))
    assert result.exit_code == 2
    assert "pip install 'vpnctl[plots]'" in result.stderr
    assert not (tmp_path / "figures").exists()


def test_every_file_that_cannot_be_read_is_named(
    vpnctl: Any, files: tuple[str, str], tmp_path: Path
) -> None:
    result = vpnctl("analyze", files[0], str(tmp_path / "x"), str(tmp_path / "y"))
    assert result.exit_code == 2
    assert f"{tmp_path}/x cannot be read: No such file or directory" in result.stderr
    assert f"{tmp_path}/y cannot be read: No such file or directory" in result.stderr


def test_a_cut_stream_is_refused(vpnctl: Any, files: tuple[str, str], tmp_path: Path) -> None:
    cut = tmp_path / "cut.stream"
    cut.write_bytes(Path(files[0]).read_bytes()[:5000])
    result = vpnctl("analyze", str(cut))
    assert result.exit_code == 10
    assert "the stream ends after 5000 octets" in result.stderr
