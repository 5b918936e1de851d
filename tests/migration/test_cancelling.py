"""Who follows a machine's disks ends when told to, whatever its QEMU says at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vpnctl.migration.agent.mirrors import Mirrors

READY = {"event": "BLOCK_JOB_READY", "data": {"device": "mirror0"}}


class _Qemu:
    """One that says what is put into ``events``."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    async def ask(self, *_: Any, **__: Any) -> list[Any]:
        return []

    @contextmanager
    def listen(self, *_: str) -> Iterator[asyncio.Queue[Any]]:
        yield self.events


@pytest.mark.parametrize("turns", range(5))
def test_a_cancellation_that_comes_with_an_event_is_heard(turns: int) -> None:
    async def story() -> None:
        qemu = _Qemu()
        mirrors = Mirrors(qemu, (0,), {0: 0}, lambda _: None)  # type: ignore[arg-type]  # as much of a guest as it needs
        following = asyncio.create_task(mirrors.follow(synchronously=False))
        await asyncio.sleep(0.01)
        qemu.events.put_nowait(READY)
        for _ in range(turns):
            await asyncio.sleep(0)
        following.cancel()
        done, _ = await asyncio.wait((following,), timeout=2)
        for again in {following} - done:
            again.cancel()
        assert done

    asyncio.run(story())
