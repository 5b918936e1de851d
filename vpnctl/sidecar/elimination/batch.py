"""What a batch looks like on its way: columns, as like things compress best beside each other.

::

    element count of each column, u32 | epoch, u32 | column | column | ...

in the order of `COLUMNS`, little-endian, widest elements first so that each column is aligned.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vpnctl.errors import SidecarProtocolError

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

#: A batch has no more, however small they are.
MAX_EVENTS = 4096


class How(IntEnum):
    """How a page goes."""

    BLOCKS = 0  # block by block, see `What`
    DELTA = 1  # as a delta to its last version


class What(IntEnum):
    """How a block goes."""

    LITERAL = 0  # as it is
    RECENT = 1  # as the number of a block in the pages that went before
    SITE = 2  # as an index of what both sites hold on disk
    ZERO = 3  # all zeros


#: Name and element of each column.
COLUMNS: dict[str, np.dtype[Any]] = {
    "far": np.dtype("<u8"),  # addresses of records where the step is 0
    "events": np.dtype("<u4"),  # Opaque: 2 x octets; Pages: 2 x records + 1
    "recent": np.dtype("<u4"),  # RECENT blocks: number, less the number before it in this column
    "site": np.dtype("<u4"),  # SITE blocks: number, less the number before it
    "flags": np.dtype("<u2"),  # records: low 12 bits of the header
    "counts": np.dtype("<u2"),  # DELTA pages: how many runs
    "runs": np.dtype("<u2"),  # runs: octets skipped, octets changed
    "steps": np.dtype("u1"),  # records: pages since the record before it, 0: look into far
    "names": np.dtype("u1"),  # Pages: length and name of the RAM block
    "opaque": np.dtype("u1"),  # octets of Opaque events
    "fills": np.dtype("u1"),  # records without contents: the octet
    "how": np.dtype("u1"),  # records with contents: `How`
    "what": np.dtype("u1"),  # blocks of BLOCKS pages: `What`
    "changed": np.dtype("u1"),  # octets of runs, old XOR new
    "literals": np.dtype("u1"),  # LITERAL blocks
}
_COUNTS = np.dtype("<u4")


@dataclass(frozen=True, eq=False, slots=True)
class Columns:
    """The columns of one batch, each of one dimension; elements as `COLUMNS` says."""

    far: U64
    events: U32
    recent: U32
    site: U32
    flags: U16
    counts: U16
    runs: U16
    steps: U8
    names: U8
    opaque: U8
    fills: U8
    how: U8
    what: U8
    changed: U8
    literals: U8


def pack(columns: Columns, epoch: int) -> list[memoryview]:
    """The octets of a batch, in parts; ``epoch``: of the site's cache, 0 without."""
    arrays = [np.ascontiguousarray(getattr(columns, name)) for name in COLUMNS]
    counts = np.array([*(len(array) for array in arrays), epoch], _COUNTS)
    # A view of nothing cannot be cast.
    return [array.data.cast("B") for array in (counts, *arrays) if len(array)]


def unpack(body: bytes | bytearray | memoryview, epoch: int) -> Columns:
    """Views of ``body``; raises `SidecarProtocolError` unless length and epoch are right."""
    begin = (len(COLUMNS) + 1) * _COUNTS.itemsize
    if len(body) < begin:
        raise SidecarProtocolError(f"a batch of {len(body)} octets has no room for its header")
    *counts, theirs = np.frombuffer(body, _COUNTS, len(COLUMNS) + 1).tolist()
    if theirs != epoch:
        raise SidecarProtocolError(
            f"the other sidecar refers to epoch {theirs:08x} of the site cache, agreed on was "
            f"{epoch:08x}",
            hint="start the migration again; both sides then compare their caches anew",
        )
    sizes = [n * kind.itemsize for n, kind in zip(counts, COLUMNS.values(), strict=True)]
    if begin + sum(sizes) != len(body):
        raise SidecarProtocolError(
            f"a batch of {len(body)} octets claims to have {begin + sum(sizes)}"
        )
    arrays = {}
    for (name, kind), count, size in zip(COLUMNS.items(), counts, sizes, strict=True):
        arrays[name] = np.frombuffer(body, kind, count, begin) if count else np.empty(0, kind)
        begin += size
    return Columns(**arrays)


def steps_of(addresses: U64) -> tuple[U8, U64]:
    """Columns ``steps`` and ``far`` of the addresses of all records; multiples of 4096."""
    pages = addresses >> np.uint64(12)
    strides = pages.copy()
    strides[1:] -= pages[:-1]
    near = (strides >= 1) & (strides <= 255)
    return np.where(near, strides, 0).astype(np.uint8), addresses[~near]


def addresses_of(steps: U8, far: U64) -> U64:
    """Reverse of `steps_of`; raises `SidecarProtocolError` unless all of ``far`` is used."""
    jumps = np.flatnonzero(steps == 0)
    if len(jumps) != len(far):
        raise SidecarProtocolError(f"{len(jumps)} records jump, to {len(far)} addresses")
    if not len(steps):
        return np.empty(0, np.uint64)
    walked = np.cumsum(steps, dtype=np.uint64) << np.uint64(12)
    # From each jump to the next one, addresses are those walked, moved by the same distance.
    offsets = np.concatenate((np.zeros(1, np.uint64), far - walked[jumps]))
    out: U64 = walked + offsets[np.cumsum(steps == 0)]
    return out


def differences(numbers: NDArray[np.int64]) -> U32:
    """Columns ``recent`` and ``site``: each number less the one before it, modulo 2**32."""
    modulo = numbers.astype(np.uint32)
    modulo[1:] -= modulo[:-1].copy()
    return modulo


def sums(column: U32) -> NDArray[np.int64]:
    """Reverse of `differences`."""
    return np.cumsum(column, dtype=np.uint32).astype(np.int64)
