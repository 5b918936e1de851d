"""Tasks that live and die together, and work in threads beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

#: The codec deals with so many octets, short of compressing them, in about the time that it may
#: take to go to another thread and back while the processor is busy.
LIGHT = 512 * 1024

_Thing = TypeVar("_Thing")
_In = TypeVar("_In")
_Out = TypeVar("_Out")


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all to their ends; when one fails, or we are cancelled, the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one has ended, and cancel the others; raises what that one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def either(wanted: Coroutine[Any, Any, _Out], failing: Coroutine[Any, Any, None]) -> _Out:
    """What ``wanted`` gives, unless ``failing`` raises first."""
    tasks = asyncio.create_task(wanted), asyncio.create_task(failing)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[1].done():
            tasks[1].result()
        return await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def worker(name: str) -> AsyncIterator[ThreadPoolExecutor]:
    """One thread; what it is doing when the block ends is waited for, what is queued is not."""
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        yield pool
    finally:
        await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)


class Pipe(Generic[_Thing]):
    """From one task to another, one thing at a time: who puts waits for who takes."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[_Thing] | tuple[()]] = asyncio.Queue(1)
        self._undone = 0

    async def put(self, thing: _Thing) -> None:
        """Wait for room."""
        self._undone += 1
        await self._queue.put((thing,))

    async def close(self) -> None:
        """Nothing more will be put."""
        await self._queue.put(())

    async def __aiter__(self) -> AsyncIterator[_Thing]:
        """Everything until the pipe is closed; a thing is done with when the next is asked for."""
        while thing := await self._queue.get():
            yield thing[0]
            self._undone -= 1
            self._queue.task_done()

    @property
    def is_empty(self) -> bool:
        """Whether everything that was put is done with."""
        return not self._undone

    async def emptied(self) -> None:
        """Return when everything that was put is done with."""
        await self._queue.join()


async def done_by(
    pool: ThreadPoolExecutor, is_light: bool, work: Callable[..., _Out], *arguments: object
) -> _Out:
    """``work(*arguments)`` in the pool's thread; at once if it takes less than going there does."""
    if is_light:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


async def stage(
    inbox: Pipe[_In],
    pool: ThreadPoolExecutor,
    work: Callable[[_In], _Out],
    outbox: Pipe[_Out],
    is_light: Callable[[_In], bool],
) -> None:
    """Put ``work`` of each thing from ``inbox`` into ``outbox``, in order, until it is closed.

    ``is_light``: see `done_by`.
    """
    async for thing in inbox:
        await outbox.put(await done_by(pool, is_light(thing), work, thing))
    await outbox.close()
