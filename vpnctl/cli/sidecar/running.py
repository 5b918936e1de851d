"""Runs a sidecar in the foreground, with all that looks at it, until it ends or a signal comes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

from vpnctl.cli.sidecar.report import report_for
from vpnctl.sidecar.run.progress import Progress
from vpnctl.sidecar.wan.address import Address


class Sidecar(Protocol):
    """Either end."""

    def progress(self) -> Progress: ...

    def set_rate(self, bits_per_s: int | None) -> None: ...

    def pause_is_far(self, far: bool) -> None: ...


def run_until_ended(running: Coroutine[Any, Any, None]) -> None:
    """Run a whole sidecar; on uvloop, which takes less of the processor than asyncio's own."""
    import gc

    import uvloop

    # What was imported stays: it need not be looked at again and again while octets move.
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(running)


async def supervise(
    sidecar: Sidecar,
    run: Callable[[], Coroutine[Any, Any, None]],
    *,
    control: Path | None,
    metrics: Address | None,
    as_json: bool,
) -> None:
    """Raises what ``run`` raises, and `KeyboardInterrupt` after SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(run())
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    async with AsyncExitStack() as held:
        held.push_async_callback(_ended, running)
        if control is not None:
            from vpnctl.sidecar.run.control import controlled

            await held.enter_async_context(controlled(sidecar, control))
        if metrics is not None:
            from vpnctl.sidecar.run.metrics import scraped

            held.enter_context(scraped(sidecar.progress, metrics))
        showing = asyncio.create_task(report_for(as_json).show(sidecar.progress))
        held.push_async_callback(_ended, showing)
        await asyncio.wait((running,))
    if stopped and running.cancelled():
        raise KeyboardInterrupt
    running.result()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
