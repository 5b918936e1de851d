"""When following a machine's disks ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vpnctl.errors import MigrationError
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


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("BLOCK_JOB_COMPLETED", {}),
        ("BLOCK_JOB_COMPLETED", {"error": "No space left on device"}),
        ("BLOCK_JOB_CANCELLED", {}),
        ("BLOCK_JOB_ERROR", {"operation": "read"}),
        ("BLOCK_JOB_ERROR", {"operation": "write"}),
    ],
)
def test_a_mirror_that_ends_or_fails_is_noticed(name: str, told: dict[str, str]) -> None:
    """Nothing follows any more; and that others' jobs end is none of our business."""

    async def story() -> None:
        qemu = _Qemu()
        mirrors = Mirrors(qemu, (0,), {0: 0}, lambda _: None)  # type: ignore[arg-type]  # as much of a guest as it needs
        following = asyncio.create_task(mirrors.follow(synchronously=False))
        await asyncio.sleep(0.01)
        for device in ("commit0", "mirror0"):
            assert not following.done()
            qemu.events.put_nowait({"event": name, "data": {"device": device} | told})
            await asyncio.sleep(0.01)
        with pytest.raises(MigrationError, match="disk 0"):
            await following

    asyncio.run(story())
