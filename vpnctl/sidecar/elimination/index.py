"""Where something was put: a map that forgets, in memory of a fixed size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.elimination import kernel


class Index:
    """Slots by 64-bit prints.

    Each print has one bucket in each of two tables.  It goes into the first; who was there before
    moves to the second, and who was there is forgotten.  With all of ``capacity`` slots in use one
    in some 200 is lost at a ``spread`` of 4 buckets for each slot, one in 3,000 at 16.  Neither
    memory nor time grows whatever is put in, and equal calls make equal indexes, at both ends of a
    connection.
    """

    def __init__(self, capacity: int, spread: int) -> None:
        # A slot and one; zeros are not touched before they are used.
        self._first, self._second = np.zeros((2, capacity * spread), np.uint32)
        #: What is in each slot now.
        self.prints = np.zeros(capacity, np.uint64)

    def put(self, prints: NDArray[np.uint64], slots: NDArray[np.int64]) -> None:
        """``prints[i]`` is now in ``slots[i]``, and what was there is not; shapes ``(n,)``."""
        kernel.index_put(self._first, self._second, self.prints, prints, slots)

    def find(self, prints: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The slot of each print, or -1; shape ``(n,)``."""
        return kernel.index_find(self._first, self._second, self.prints, prints)
