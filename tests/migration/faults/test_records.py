"""What the numbered records of a guest's disk prove."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from tests.support.records import (
    SIZE,
    Record,
    RecordError,
    check_complete,
    check_kept,
    check_left_behind,
    read_records,
)

SLOTS = 8


def record(number: int, nonce: int = 7) -> bytes:
    """As services.c writes it."""
    whole = struct.pack("!8sQQ", b"record 1", number, nonce).ljust(SIZE - 4, b"x")
    return whole + struct.pack("!I", zlib.crc32(whole))


def disk(path: Path, *numbers: int, nonce: int = 7) -> dict[int, Record]:
    with path.open("wb") as file:
        file.truncate(SLOTS * SIZE)
        for number in numbers:
            file.seek(number % SLOTS * SIZE)
            file.write(record(number, nonce))
    return read_records(path, SLOTS)


def test_a_disk_that_was_written_round_and_round(tmp_path: Path) -> None:
    found = disk(tmp_path / "disk", *range(1, 21))
    assert set(found) == set(range(13, 21))
    check_complete(found, SLOTS, 20)
    check_complete(found, SLOTS, 19)


def test_a_lost_write_is_found(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="record 21 was written"):
        check_complete(disk(tmp_path / "disk", *range(1, 21)), SLOTS, 21)
    with pytest.raises(RecordError, match="record 17 is missing"):
        check_complete(disk(tmp_path / "disk", *range(1, 17), *range(18, 21)), SLOTS, 20)


def test_a_write_that_was_lost_and_made_again_is_found(tmp_path: Path) -> None:
    before = disk(tmp_path / "before", *range(1, 11))
    check_kept(before, SLOTS, {7}, 10)
    after = before | disk(tmp_path / "after", *range(11, 14), nonce=8)
    check_kept(after, SLOTS, {7}, 10)
    with pytest.raises(RecordError, match="record 11 was written, lost"):
        check_kept(after, SLOTS, {7}, 11)


def test_a_write_that_was_lost_and_is_not_made_again_yet_is_found(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="record 11 was written"):
        check_kept(disk(tmp_path / "old", *range(1, 11)), SLOTS, {7}, 11)


def test_a_damaged_record_is_found(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    disk(path, 1, 2)
    with path.open("r+b") as file:
        file.seek(2 * SIZE + 100)
        file.write(b"y")
    with pytest.raises(RecordError, match="slot 2 is damaged"):
        read_records(path, SLOTS)


def test_a_second_writer_is_found(tmp_path: Path) -> None:
    new = disk(tmp_path / "new", *range(1, 21))
    check_left_behind(disk(tmp_path / "old", *range(1, 16)), new)
    with pytest.raises(RecordError, match="record 21 was written where"):
        check_left_behind(disk(tmp_path / "ahead", *range(1, 22)), new)
    with pytest.raises(RecordError, match="written twice"):
        check_left_behind(disk(tmp_path / "other", *range(1, 16), nonce=8), new)
