"""Processes by the network namespace they are in, and their end."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vpnctl.errors import LabError

_PROC = Path("/proc")
#: Seconds that processes have to end in order, and to be gone after SIGKILL.
_GRACE_S, _GONE_S = 5.0, 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process; ``started``: clock ticks from the machine's start to its own.

    With ``started`` a ``pid`` is unique; alone it may come to mean another process.
    """

    pid: int
    started: int
    command: str


def process(pid: int) -> Process | None:
    """What runs under a process id now; `None` for nothing, or for what only awaits its parent."""
    try:
        status = (_PROC / str(pid) / "stat").read_text()
        command = (_PROC / str(pid) / "cmdline").read_bytes()
    except (OSError, UnicodeDecodeError):
        return None
    # The name in parentheses may hold anything.
    name, _, rest = status.partition("(")[2].rpartition(")")
    fields = rest.split()
    if fields[0] in "ZX":
        return None
    words = command.decode(errors="replace").replace("\0", " ").strip()
    return Process(pid, int(fields[19]), words or f"[{name}]")


def within(namespaces: Collection[int]) -> Iterator[tuple[int, Process]]:
    """Processes in network namespaces of these inodes, each with its namespace's."""
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        inode = _namespace_of(int(entry.name))
        if inode in namespaces and (found := process(int(entry.name))) is not None:
            yield inode, found


def _namespace_of(pid: int) -> int:
    try:
        return os.stat(_PROC / str(pid) / "ns" / "net").st_ino  # noqa: PTH116  not followed
    except OSError:
        return 0


def end_all(namespaces: Collection[int], known: Collection[Process]) -> None:
    """End every process in these namespaces and every one of ``known`` that is still the same.

    SIGTERM, time to end in order, SIGKILL.  Raises `LabError` when one stays.
    """
    for number, patience in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, _GONE_S)):
        deadline = time.monotonic() + patience
        # What is started meanwhile is ended as well, hence again and again.
        while left := _those(namespaces, known):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            _signal_and_wait(left, number, remaining)
        else:
            return
    names = ", ".join(f"{one.command.split(' ')[0]} ({one.pid})" for one in left)
    raise LabError(f"these processes do not end: {names}", hint="see what holds them: ps -fp PID")


def _those(namespaces: Collection[int], known: Collection[Process]) -> set[Process]:
    found = {one for _, one in within(namespaces) if one.pid != os.getpid()}
    return found | {one for one in known if process(one.pid) == one}


def _signal_and_wait(those: Collection[Process], number: int, patience: float) -> None:
    """Signal each once and wait until all are gone, or patience ends."""
    deadline = time.monotonic() + patience
    with ExitStack() as stack:
        poll = select.poll()
        left = set()
        for one in those:
            try:
                descriptor = os.pidfd_open(one.pid)
            except OSError:
                continue
            stack.callback(os.close, descriptor)
            # Only now is it certain that the signal goes to the process that was looked at.
            if process(one.pid) != one:
                continue
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                continue
            poll.register(descriptor, select.POLLIN)
            left.add(descriptor)
        while left and (remaining := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(remaining * 1000):
                poll.unregister(descriptor)
                left.discard(descriptor)
