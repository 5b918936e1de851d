"""Pages as they were last sent, by address: what deltas and indexes of blocks refer to."""

from __future__ import annotations

import contextlib
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.elimination import kernel
from vpnctl.sidecar.elimination.index import Index
from vpnctl.sidecar.elimination.kernel.portable import PAGE_SIZE

#: ``madvise(2)``; Python's `mmap` has no name for it.
_MADV_POPULATE_WRITE = 23
_STEP = 2 << 20
_SPREAD = 16
_BLOCK_SPREAD = 4
#: RAM blocks that are told apart; a guest has about ten.
_MAX_BLOCKS = 4096


class BlockNumbers:
    """A number for each RAM block's name, in the order in which they appear in a migration."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def keys(self, block: bytes, addresses: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """A number for each page of RAM block ``block``, by its address; shape as given."""
        number = self._numbers.get(block)
        if number is None:
            number = len(self._numbers)
            if number < _MAX_BLOCKS:
                self._numbers[block] = number
        # Addresses are below 2**52 in a real guest.  A liar's may coincide with another block's,
        # at both ends alike, and are then each other's reference, which is correct, if useless.
        return (addresses >> np.uint64(12)) + np.uint64(number << 40)


class References:
    """The last version of each page, the first page in being the first out.

    Both ends call `find` and `remember` in the same order and so hold the same.
    """

    def __init__(self, octets: int) -> None:
        self.capacity = octets // PAGE_SIZE
        #: Shape ``(capacity, 4096)``.
        self._room = Room(self.capacity * PAGE_SIZE)
        self.pages = self._room.octets.reshape(self.capacity, PAGE_SIZE)
        self._index = Index(self.capacity, _SPREAD)
        self._next = 0
        #: Rows of ``pages`` in use: the first ones.
        self.filled = 0

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Rows of ``pages`` that hold an earlier version, or -1; shape ``(n,)``."""
        return self._index.find(keys)

    def remember(
        self, keys: NDArray[np.uint64], slots: NDArray[np.int64], contents: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        """``contents[i]`` is now at the address of ``keys[i]``; ``slots``: what `find` said.

        Returns the row where each page is now, or -1 for one that found no room beside the others
        of this call; shape ``(n,)``.  Of pages at one address, the last one stays.
        """
        new = np.flatnonzero(slots < 0)
        if len(new):
            _, last = np.unique(keys[new[::-1]], return_index=True)
            new = np.sort(new[len(new) - 1 - last])[-self.capacity :]
            taken = (self._next + np.arange(len(new))) % self.capacity
            self._next = int(self._next + len(new)) % self.capacity
            self.filled = min(self.filled + len(new), self.capacity)
            self._room.take(self.filled * PAGE_SIZE)
            self._index.put(keys[new], taken)
            slots = self._index.find(keys)
            known = slots >= 0
            if not known.all():
                self.pages[slots[known]] = contents[known]
                return slots
        self.pages[slots] = contents
        return slots


class Room:
    """``octets`` that take memory as they are needed, in small pages.

    numpy asks the kernel for huge ones, whose first use costs some three times as much where
    contiguous memory is rare, and here every octet of a migration may be a first use.
    """

    def __init__(self, octets: int) -> None:
        self._memory = mmap(-1, octets, MAP_PRIVATE | MAP_ANONYMOUS)
        self.octets: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)
        self._taken = 0

    def take(self, octets: int) -> None:
        """The first ``octets`` are about to be used: have their pages made many at a time, which
        spares the processor an exception for each."""
        while self._taken < min(octets, len(self.octets)):
            step = min(_STEP, len(self.octets) - self._taken)
            # A kernel before 5.14 does not know it, and makes pages one by one.
            with contextlib.suppress(OSError):
                self._memory.madvise(_MADV_POPULATE_WRITE, self._taken, step)
            self._taken += step


class BlockIndex:
    """Finds the blocks of the pages in a `References`; the encoder's business alone."""

    def __init__(self, references: References, block_size: int) -> None:
        self._blocks = references.pages.reshape(-1, block_size)
        self._per_page = PAGE_SIZE // block_size
        self._index = Index(len(self._blocks), _BLOCK_SPREAD)

    def find(
        self, blocks: NDArray[np.uint8], prints: NDArray[np.uint64], wanted: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """The number of a block with the very content of each wanted block, or -1; shape ``(n,)``.

        Blocks are numbered from the first of the first row on.
        """
        numbers = self._index.find(prints)
        numbers[~wanted] = -1
        numbers[~kernel.equal_rows(blocks, self._blocks, numbers)] = -1
        return numbers

    def put(self, prints: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
        """Pages whose blocks have ``prints`` are now in ``rows``, -1 for nowhere.

        Shapes ``(n * blocks per page,)`` and ``(n,)``.
        """
        kept = rows >= 0
        numbers = rows[kept, None] * self._per_page + np.arange(self._per_page)
        self._index.put(prints.reshape(-1, self._per_page)[kept].reshape(-1), numbers.reshape(-1))
