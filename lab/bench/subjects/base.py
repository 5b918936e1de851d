"""What the benchmark asks of a daemon, and the part that all of them share."""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from lab.bench.workload import Workload

LISTEN = "127.0.0.1"
SENDER = "127.0.1.1"


class UnsupportedError(Exception):
    """The daemon cannot do this; the message is the reason that the table gives."""


@dataclass(frozen=True)
class Setup:
    """One daemon's task.

    ``sinks``: peers to configure, connected or not; ``port``: a free TCP port on `LISTEN`;
    ``directory``: an empty directory that is the daemon's own; ``hold_time`` in seconds.
    """

    workload: Workload
    sinks: int
    port: int
    directory: Path
    hold_time: int = 90

    @property
    def peers(self) -> tuple[str, ...]:
        """Addresses of the sender and of every sink."""
        return (SENDER, *(self.sink(number) for number in range(self.sinks)))

    def sink(self, number: int) -> str:
        """Address of a sink, counted from 0."""
        return f"127.0.2.{number + 1}"


class Daemon(Protocol):
    """A running daemon."""

    #: Seconds to leave it alone between the last session and the first route.
    settle: float

    def pids(self) -> Sequence[int]:
        """Every process that belongs to it."""

    def prepare(self, customer: int, version: int) -> None:
        """Whatever an operator has done before the clock of a rule change starts."""

    def change(self) -> None:
        """Issue the prepared rule change; returns when the tool does."""

    def stop(self) -> None:
        """End it and every process of its own."""


class Subject(Protocol):
    """A kind of daemon."""

    name: str
    #: How the rules are expressed and how the daemon is run; shown in the table.
    configuration: str
    #: What the time of a rule change includes before the daemon acts.
    change_includes: str
    #: Whether extended communities other than route targets survive its way of rewriting.
    keeps_companions: bool

    def start(self, setup: Setup) -> Daemon:
        """Start it; raises `UnsupportedError` when it cannot do the task."""


def program(name: str, *directories: str) -> str:
    """Path of an installed program; raises `UnsupportedError` with the package to install."""
    path = shutil.which(name) or next(
        (f"{where}/{name}" for where in directories if Path(where, name).exists()), None
    )
    if path is None:
        raise UnsupportedError(f"{name} is not installed")
    return path


def _die_with_parent() -> None:
    """PR_SET_PDEATHSIG: a daemon does not outlive a benchmark that was killed.

    The kernel forgets it for a daemon that changes its user or capabilities, as bgpd does.
    """
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def spawn(
    command: Sequence[str], log: IO[bytes], env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a daemon in a session of its own, so that Ctrl-C reaches the benchmark only."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=env,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate, and kill what does not end within two seconds."""
    process.terminate()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(path: Path, lines: int = 5) -> str:
    """The end of a log, for a message."""
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""
