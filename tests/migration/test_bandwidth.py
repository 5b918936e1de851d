"""Memory and disks never take more than their one limit together."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.migration.agent.bandwidth import shares
from vpnctl.migration.disk.pace import Pace
from vpnctl.sidecar.run.control import SLOWEST


@given(st.integers(4 * SLOWEST, 10**10), st.floats(0, 1e10))
def test_together_they_keep_the_limit(rate: int, disk: float) -> None:
    for_disks, for_memory = shares(rate, disk)
    assert for_disks + for_memory == rate
    assert for_memory >= rate // 2


def test_disks_get_what_they_took_and_room_for_more() -> None:
    assert shares(100_000_000, 0) == (10_000_000, 90_000_000)
    assert shares(100_000_000, 20_000_000) == (30_000_000, 70_000_000)
    assert shares(100_000_000, 90_000_000) == (50_000_000, 50_000_000)


def test_disks_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        now, slept = 0.0, []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        pace = Pace(8_000_000)
        await pace.room(500_000)
        await pace.room(500_000)
        pace.rate = 16_000_000
        await pace.room(500_000)
        assert slept == [0.0, 0.5, 1.0]
        pace.rate = None
        await pace.room(1 << 30)
        await pace.room(1 << 30)
        assert len(slept) == 3

    asyncio.run(story())
