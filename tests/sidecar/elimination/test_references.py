"""Memory for pages that went before."""

from __future__ import annotations

import numpy as np
import pytest

from vpnctl.sidecar.elimination import references
from vpnctl.sidecar.elimination.references import Room

MIB = 1 << 20


@pytest.mark.parametrize("advice", [references._MADV_POPULATE_WRITE, 9999])
def test_room_is_taken_in_steps_and_keeps_what_is_in_it(
    advice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the kernel's help, and by one that does not know how to help."""
    monkeypatch.setattr(references, "_MADV_POPULATE_WRITE", advice)
    room = Room(5 * MIB + 4096)
    room.take(1)
    room.octets[:3] = 1, 2, 3
    for octets in (2 * MIB, 5 * MIB, 9 * MIB):
        room.take(octets)
    room.octets[-1] = 4
    assert np.flatnonzero(room.octets).tolist() == [0, 1, 2, 5 * MIB + 4095]
