"""What a migration stream is made of.

A stream is a sequence of two kinds of events, in order:

- `Opaque`: octets that pass as they are (the file's header, the machine's configuration, headers
  and footers of sections, the list of RAM blocks, the state of the devices);
- `Pages`: a run of consecutive page records of one RAM block.

`vpnctl.sidecar.stream.writer` turns events back into the very octets they came from, provided that
nobody changed them.  Pages are held in arrays, never as one object each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.stream.format import FLAG_MASK, HEADER_SIZE, PAGE_SIZE, RamFlag

# Operators of an enum take a microsecond each, and these are asked for with each run of pages.
_PAGE = np.uint64(RamFlag.PAGE)
_CONTINUE = int(RamFlag.CONTINUE)

Octets: TypeAlias = bytes | memoryview


@dataclass(frozen=True, eq=False, slots=True)
class Opaque:
    """Octets that pass as they are.

    ``octets`` may be a view of what the parser was fed.
    """

    octets: Octets

    @property
    def size(self) -> int:
        """Octets in the stream."""
        return len(self.octets)


@dataclass(frozen=True, eq=False)
class Pages:
    """A run of page records of one RAM block, in the order of the stream; at least one.

    ``block``: name of the RAM block (``idstr``), 1 to 255 octets.
    ``headers``: shape ``(n,)``, uint64 in host order: address in the block, with `RamFlag` bits in
    its low 12 bits.  Each record is either `RamFlag.ZERO` or `RamFlag.PAGE`; only the first one may
    lack `RamFlag.CONTINUE`, and then the stream repeats the block's name behind its header.
    ``fills``: for each ZERO record, in order, the octet that the whole page is filled with.
    ``contents``: shape ``(m, PAGE_SIZE)``, uint8: for each PAGE record, in order, what is in it.

    The arrays may be read-only views of what the parser was fed: who fed a buffer must not write
    into it while events made of it are in use, and who keeps few pages for long should copy them.
    """

    block: bytes
    headers: NDArray[np.uint64]
    fills: bytes
    contents: NDArray[np.uint8]

    @cached_property
    def addresses(self) -> NDArray[np.uint64]:
        """Addresses in the block of all records, shape ``(n,)``: multiples of the page size."""
        return self.headers & np.uint64(~FLAG_MASK & 0xFFFF_FFFF_FFFF_FFFF)

    @cached_property
    def is_full(self) -> NDArray[np.bool_]:
        """Which records have contents, shape ``(n,)``."""
        found: NDArray[np.bool_] = (self.headers & _PAGE) != 0
        return found

    @cached_property
    def full_addresses(self) -> NDArray[np.uint64]:
        """Addresses of the pages in ``contents``, shape ``(m,)``."""
        return (
            self.addresses
            if len(self.contents) == len(self.headers)
            else (self.addresses[self.is_full])
        )

    @cached_property
    def zero_addresses(self) -> NDArray[np.uint64]:
        """Addresses of the pages in ``fills``, shape ``(n - m,)``."""
        return self.addresses[~self.is_full]

    @property
    def names_block(self) -> bool:
        """Whether the stream has the block's name behind the first header."""
        return not int(self.headers[0]) & _CONTINUE

    @property
    def size(self) -> int:
        """Octets in the stream."""
        name = 1 + len(self.block) if self.names_block else 0
        return (
            name
            + len(self.headers) * HEADER_SIZE
            + len(self.fills)
            + len(self.contents) * PAGE_SIZE
        )


Event: TypeAlias = Opaque | Pages
