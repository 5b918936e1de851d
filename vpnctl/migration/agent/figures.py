"""The figures of a migration, from those who have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpnctl.migration.agent.memory import MemoryMove
from vpnctl.migration.disk.sender import Traffic


def memory_figures(
    memory: MemoryMove | None,
    told: Mapping[str, Any],
    *,
    limit: int | None,
    ran_at: float | None,
    moving: bool,
) -> dict[str, Any]:
    """Fields of `MigrationView`.

    ``told``: what the sidecar said last; ``limit``: bits per second for everything; ``ran_at``:
    when the machine ran at the other site, by the wall's clock; ``moving``: it has not ended.
    """
    rate = float(told.get("guest_rate") or 0)
    figures: dict[str, Any] = {
        "guest": told.get("guest", 0),
        "guest_rate": rate,
        "wire": told.get("wire", 0),
        "wire_rate": float(told.get("wire_rate") or 0),
        "limit": None if limit is None else limit / 8,
        "cuts": told.get("cuts", 0),
        "stages": told.get("stages", {}),
    }
    if memory is None:
        return figures
    figures |= {
        "passes": tuple(memory.passes),
        "left": memory.left,
        "dirty_rate": memory.dirty_rate,
        "stopped_at": memory.stopped_at,
    }
    if memory.stopped_at is not None and ran_at is not None:
        figures["paused_s"] = ran_at - memory.stopped_at
    if moving and memory.verdict is not None:
        figures |= {"pause_s": memory.verdict.pause_s, "advice": memory.verdict.why}
    if moving and memory.left is not None and rate > 0:
        figures["eta_s"] = memory.left / rate
    return figures


def disk_figures(traffic: Traffic | None, left: int | None) -> dict[str, Any]:
    """Fields of `MigrationView`; ``left``: octets that the mirrors have still to look at."""
    if traffic is None:
        return {}
    return {
        "disk_left": left,
        "disk": traffic.disk,
        "disk_wire": traffic.wire,
        "disk_kept": traffic.kept,
        "disk_cuts": traffic.cuts,
    }
