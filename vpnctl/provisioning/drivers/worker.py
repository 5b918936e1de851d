"""A thread for one session of a blocking library.

ncclient and PyEZ are used from one thread per session only: two threads on one session are known
to mix up each other's answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """``name``: of the thread, for who looks at the process; ``abort`` ends the session roughly,
    from any thread, so that a call which waits for it returns.
    """

    def __init__(self, name: str, abort: Callable[[], None]) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._abort = abort

    async def call(self, work: Callable[[], T], *, limit: float | None = None) -> T:
        """Do it there.  Raises `TimeoutError` after ``limit`` seconds; the session is over then,
        as it is when the waiting task is cancelled.
        """
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            return await asyncio.wait_for(asyncio.shield(future), limit)
        except (TimeoutError, asyncio.CancelledError):
            if not future.done():
                self._abort()
                future.add_done_callback(_forget)
            raise

    def stop(self) -> None:
        """The thread ends with what it is doing."""
        self._executor.shutdown(wait=False)


def _forget(future: asyncio.Future[T]) -> None:
    """Nobody waits for it any more; its error has been told as a timeout."""
    if not future.cancelled():
        future.exception()
