"""What a file is, and what is said of files that are neither."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sidecar.analysis.files import disk_file, noise, nothing, stream_file
from tests.support.streams import PAGE
from vpnctl.errors import StreamRefusedError, UsageError
from vpnctl.sidecar.analysis.source import Kind, Source
from vpnctl.sidecar.stream.events import Opaque, Pages
from vpnctl.sidecar.stream.writer import octets_of


def test_a_stream_is_read_as_it_was_sent(tmp_path: Path) -> None:
    source = stream_file(tmp_path / "a", [(n, noise(PAGE, n)) for n in range(600)])
    assert source.kind is Kind.STREAM
    octets = b"".join(bytes(octets_of(event)) for event in source.events(nothing))
    assert octets == source.path.read_bytes()
    assert len(octets) == source.size


def test_a_disk_is_one_block_of_pages(tmp_path: Path) -> None:
    whole = noise(300 * PAGE) + bytes(200 * PAGE) + noise(20 * PAGE, 2)
    source = disk_file(tmp_path / "a", whole + b"the last sector")
    assert source.kind is Kind.DISK
    rebuilt = bytearray(len(whole))
    names = []
    rest = b""
    for event in source.events(nothing):
        if isinstance(event, Opaque):
            rest += event.octets
            continue
        assert isinstance(event, Pages)
        names.append(event.names_block)
        for address, content in zip(event.full_addresses.tolist(), event.contents, strict=True):
            rebuilt[address : address + PAGE] = content.tobytes()
        assert not event.fills.strip(b"\0")
        assert all(
            not any(whole[address : address + PAGE]) for address in event.zero_addresses.tolist()
        )
    assert bytes(rebuilt) == whole
    assert rest == b"the last sector"
    assert names == [True, False, False]


def test_it_is_told_how_far_the_reading_is(tmp_path: Path) -> None:
    source = disk_file(tmp_path / "a", noise(3_000_000))
    told: list[int] = []
    for _ in source.events(told.append):
        pass
    assert len(told) == 3
    assert sum(told) == source.size


@pytest.mark.parametrize(
    ("begin", "form"), [(b"QFI\xfb", "qcow2"), (b"KDMV", "vmdk"), (b"vhdxfile", "vhdx")]
)
def test_images_that_are_not_raw_are_refused(tmp_path: Path, begin: bytes, form: str) -> None:
    with pytest.raises(UsageError, match=f"in the format {form}") as refused:
        disk_file(tmp_path / "a", begin + bytes(5000))
    assert "qemu-img convert -O raw" in refused.value.hint


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        Source(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UsageError, match="neither a file nor a block device"):
            Source(path)
    with pytest.raises(UsageError, match="is empty"):
        disk_file(tmp_path / "a", b"")


def test_a_stream_that_was_cut_is_refused(tmp_path: Path) -> None:
    whole = stream_file(tmp_path / "a", [(0, noise(PAGE))]).path.read_bytes()
    source = disk_file(tmp_path / "b", whole[:3000])
    with pytest.raises(StreamRefusedError, match="the stream ends after 3000 octets"):
        list(source.events(nothing))
