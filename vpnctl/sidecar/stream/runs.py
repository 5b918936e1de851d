"""Runs of page records, found by looking at many headers at once.

Records of one kind follow each other at a fixed distance: 4,104 octets from header to header for
pages with contents, 9 for pages filled with one octet.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.stream.cursor import Cursor, NeedMoreError
from vpnctl.sidecar.stream.events import Pages
from vpnctl.sidecar.stream.format import FLAG_MASK, HEADER_SIZE, PAGE_SIZE, RamFlag

#: Flags that a record of a run may have: the block is the one before, the page full or filled.
FULL = int(RamFlag.PAGE | RamFlag.CONTINUE)
FILLED = int(RamFlag.ZERO | RamFlag.CONTINUE)
FULL_WIDTH = HEADER_SIZE + PAGE_SIZE
FILLED_WIDTH = HEADER_SIZE + 1

# How many headers are looked at first; each further look is four times as far.
_FIRST_LOOK = 16

_Item = TypeVar("_Item", bound=np.generic)


def run_length(octets: memoryview, position: int, flags: int, width: int) -> int:
    """How many whole records with ``flags`` follow each other from ``position`` on."""
    possible = (len(octets) - position) // width
    found, look = 0, _FIRST_LOOK
    while found < possible:
        count = min(look, possible - found)
        # The flags are in the last two octets of a header.
        low = np.ndarray(
            (count,), ">u2", octets, position + found * width + HEADER_SIZE - 2, (width,)
        )
        other = (low & FLAG_MASK) != flags
        first = int(other.argmax())
        if other[first]:
            return found + first
        found += count
        look *= 4
    return found


def read_runs(cursor: Cursor, block: bytes) -> Pages:
    """As many records of ``block`` as follow each other, all with `RamFlag.CONTINUE`.

    Raises `NeedMoreError` if not even the first one is whole.
    """
    octets, position = cursor.source, cursor.position
    headers: list[NDArray[np.uint64]] = []
    fills: list[bytes] = []
    contents: list[NDArray[np.uint8]] = []
    while position + HEADER_SIZE <= len(octets):
        body = position + HEADER_SIZE
        flags = (octets[body - 2] << 8 | octets[body - 1]) & FLAG_MASK
        width = FULL_WIDTH if flags == FULL else FILLED_WIDTH
        count = run_length(octets, position, flags, width) if flags in (FULL, FILLED) else 0
        if not count:
            break
        if flags == FULL:
            contents.append(np.ndarray((count, PAGE_SIZE), np.uint8, octets, body, (width, 1)))
        else:
            fills.append(bytes(octets[body : body + (count - 1) * width + 1 : width]))
        run = np.ndarray((count,), ">u8", octets, position, (width,))
        headers.append(run.astype(np.uint64))
        position += count * width
    if not headers:
        raise NeedMoreError
    cursor.position = position
    return Pages(
        block,
        _joined(headers),
        b"".join(fills),
        _joined(contents) if contents else np.empty((0, PAGE_SIZE), np.uint8),
    )


def _joined(parts: list[NDArray[_Item]]) -> NDArray[_Item]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
