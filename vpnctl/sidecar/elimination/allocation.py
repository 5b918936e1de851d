"""Memory that is freed stays at hand for what is asked for next."""

from __future__ import annotations

import numpy as np

#: glibc keeps nothing larger for later (``DEFAULT_MMAP_THRESHOLD_MAX``), its own octets included.
_LARGEST_KEPT = (32 << 20) - (64 << 10)


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, up to 64 MiB at the end of its heap.

    It gives pieces of a batch's size back to the system at once, and their next use costs more than
    all that is done with them; unless a piece that is as large was freed before (``mallopt(3)``,
    "dynamic mmap threshold").  Where another library allocates, this does nothing.
    """
    np.empty(_LARGEST_KEPT, np.uint8)
