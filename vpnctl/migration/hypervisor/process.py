"""A process that may outlive us: named by its number and its birth, watched by a pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

#: The field of ``/proc/PID/stat`` that has the birth, counted from the one after the name.
_STATE, _STARTTIME = 0, 19


def born(pid: int) -> int | None:
    """When ``pid`` was started, in clock ticks since the kernel was; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may have anything in it, parentheses included.
    fields = stat.rpartition(")")[2].split()
    return None if fields[_STATE] in "ZX" else int(fields[_STARTTIME])


class Process:
    """A living process; `gone` is set when it has ended."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(handle, self._ended)

    @classmethod
    def find(cls, pid: int, birth: int) -> Process | None:
        """The process of that number and birth; None if it is gone."""
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return None
        # The number may have a new owner, but not the handle: look after it was taken.
        if born(pid) != birth:
            os.close(handle)
            return None
        return cls(handle)

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if not self.gone.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def close(self) -> None:
        """Stop watching."""
        if self._handle >= 0:
            asyncio.get_running_loop().remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1

    def _ended(self) -> None:
        self.gone.set()
        asyncio.get_running_loop().remove_reader(self._handle)
