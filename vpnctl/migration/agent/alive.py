"""Something long, given up as soon as anything that it depends on fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from vpnctl.errors import MigrationError
from vpnctl.migration.agent.sidecars import Sidecar
from vpnctl.migration.hypervisor.driver import Guest


async def while_all_live(
    moving: Coroutine[Any, Any, None],
    machine: str,
    qemu: Guest,
    sidecar: Sidecar | None = None,
    watches: Iterable[Coroutine[Any, Any, None]] = (),
) -> None:
    """``moving`` to its end, unless the QEMU or the sidecar of ``machine`` ends before, or one of
    ``watches`` raises; raises what was wrong.  ``sidecar``: None where there is none."""
    move = asyncio.create_task(moving)
    broken = asyncio.create_task(sidecar.ended.wait() if sidecar else asyncio.Event().wait())
    dead = asyncio.create_task(qemu.gone.wait())
    watching = [asyncio.create_task(watch) for watch in watches]
    tasks = (move, broken, dead, *watching)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not move.done() and broken.done() and sidecar is not None and sidecar.code == 0:
            # It saw the guest loaded a moment before QEMU says so here.
            await asyncio.wait((move, dead), return_when=asyncio.FIRST_COMPLETED)
        if dead.done() and not move.done():
            raise MigrationError(f"the QEMU of {machine} has ended")
        if broken.done() and sidecar is not None and sidecar.code != 0:
            raise sidecar.error()
        for watch in watching:
            if watch.done() and not move.done():
                watch.result()
        await move
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
