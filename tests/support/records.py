"""The numbered records that a test guest writes to its disk; see tests/guests/services.c."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

SIZE = 4096
_HEAD, _TAIL = struct.Struct("!QQQ"), struct.Struct("!I")
_MAGIC = 0x7265636F72642031
#: Seconds between two looks at a disk that is being written to, and how many there are.
_LOOK_S, _LOOKS = 0.05, 3


class RecordError(Exception):
    """A record is damaged or missing, or two machines wrote."""


@dataclass(frozen=True, slots=True)
class Record:
    """``nonce``: of the boot that wrote it; ``octets``: all of it."""

    number: int
    nonce: int
    octets: bytes


def read_records(disk: Path, slots: int) -> dict[int, Record]:
    """The records of a raw disk by their numbers; raises `RecordError` for a damaged one."""
    found = {}
    with disk.open("rb") as file:
        for slot in range(slots):
            octets = file.read(SIZE)
            if not octets.strip(b"\0"):
                continue
            magic, number, nonce = _HEAD.unpack_from(octets)
            (told,) = _TAIL.unpack_from(octets, SIZE - _TAIL.size)
            if magic != _MAGIC or told != zlib.crc32(octets[: -_TAIL.size]):
                raise RecordError(f"the record in slot {slot} is damaged")
            if number % slots != slot:
                raise RecordError(f"record {number} is in slot {slot}")
            found[number] = Record(number, nonce, octets)
    return found


async def read_while_written(disk: Path, slots: int) -> dict[int, Record]:
    """As `read_records`, of a disk on which a record may be half written at any moment."""
    for _ in range(_LOOKS):
        with contextlib.suppress(RecordError):
            return read_records(disk, slots)
        await asyncio.sleep(_LOOK_S)
    return read_records(disk, slots)


def check_complete(records: Mapping[int, Record], slots: int, written: int) -> None:
    """Raise `RecordError` unless every record up to ``written`` is there, or one after it took its
    place: the guest told somebody that they were on the disk."""
    highest = max(records, default=0)
    if highest < written:
        raise RecordError(f"record {written} was written, and the last one here is {highest}")
    # One more may be under way, or have been when the guest died.
    for number in range(max(1, highest - slots + 2), highest + 1):
        if number not in records:
            raise RecordError(f"record {number} is missing, {highest} is there")


def check_kept(
    records: Mapping[int, Record], slots: int, boots: Collection[int], written: int
) -> None:
    """Raise `RecordError` unless a guest that was started again found every record up to
    ``written``.

    ``boots``: nonces of all boots before.  A guest goes on after the last record that it finds, so
    one up to ``written`` that another boot wrote had been lost.
    """
    check_complete(records, slots, written)
    again = [one.number for one in records.values() if one.nonce not in boots]
    if again and min(again) <= written:
        raise RecordError(f"record {min(again)} was written, lost, and written again")


def check_left_behind(old: Mapping[int, Record], new: Mapping[int, Record]) -> None:
    """Raise `RecordError` unless an old copy is a disk as it once was: nobody wrote to it after."""
    for number, record in old.items():
        if number > max(new, default=0):
            raise RecordError(f"record {number} was written where the machine is not")
        if number in new and new[number].octets != record.octets:
            raise RecordError(f"record {number} was written twice")
