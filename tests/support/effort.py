"""How many examples the longest property tests go through: all, but a part where time is short."""

from __future__ import annotations

import os


def examples(count: int) -> int:
    """``count``, or a third with ``VPNCTL_BRIEF`` set, as ``make check`` does to end in time."""
    return -(-count // 3) if os.environ.get("VPNCTL_BRIEF") else count
