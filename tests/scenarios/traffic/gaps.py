"""How long nothing came."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise


def longest_gap(moments: Iterable[float], begin: float, end: float) -> float:
    """Seconds of the longest time within ``begin`` and ``end`` in which no moment lies."""
    inside = [moment for moment in sorted(moments) if begin < moment < end]
    return max(later - earlier for earlier, later in pairwise((begin, *inside, end)))
