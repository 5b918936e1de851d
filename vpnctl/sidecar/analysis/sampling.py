"""Few fingerprints instead of all of them, for files that are large.

A fingerprint is kept or not by its own value, so that all blocks of one content are kept or none:
the share of repeated ones among those kept is an estimate of the share among all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Octets of files whose fingerprints are all kept, which takes an eighth of that in memory.
ALL_OF = 4 << 30

_MIX = np.uint64(0x9E3779B97F4A7C15)
# So that the fingerprint 0, which some contents share, is as likely to be kept as any other.
_SALT = np.uint64(0x5851F42D4C957F2D)


@dataclass(frozen=True)
class Sampling:
    """Keeps one distinct fingerprint in ``one_in``, a power of two."""

    one_in: int = 1

    @classmethod
    def for_octets(cls, octets: int) -> Sampling:
        """As many as may be kept of files of ``octets`` together."""
        one_in = 1
        while octets > ALL_OF * one_in:
            one_in *= 2
        return cls(one_in)

    def kept(self, prints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which fingerprints to keep, shape as given."""
        mixed = (prints ^ _SALT) * _MIX
        # The high bits have heard of all the others.
        return mixed <= np.uint64((1 << 64) // self.one_in - 1)
