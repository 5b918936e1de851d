"""The session process from outside: started, or found alive, and ended for certain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from vpnctl.bgp import door
from vpnctl.bgp.channel import Channel
from vpnctl.bgp.record import ENOUGH
from vpnctl.bgp.wire import Attach, Kind, version
from vpnctl.errors import SessionProcessError


class HeldElsewhereError(SessionProcessError):
    """Another controller is attached to the session process."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Sessions outlive the controller by up to ``seconds``.

    Another one finds them by ``directory``, which is made where it is not there.  ``octets``: how
    many are remembered of all sessions before they are made less of (`vpnctl.bgp.record`).
    """

    directory: Path
    seconds: float
    octets: int = ENOUGH


class SessionProcess:
    """A running session process and our end of the ``channel`` to it.

    ``found``: it was there before us.
    """

    def __init__(self, channel: Channel, pid: int, child: subprocess.Popen[bytes] | None) -> None:
        self.channel = channel
        self.pid = pid
        self._child = child
        # A number may be another process's later; this stands for the process itself.
        self._fd = os.pidfd_open(pid)

    @property
    def found(self) -> bool:
        return self._child is None

    async def wait(self) -> int | None:
        """Until it has ended; its exit status, None where only its parent could tell."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._fd)
        return self._child.wait() if self._child is not None else None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def close(self) -> None:
        """Give up our end of the channel."""
        self.channel.close()

    def forget(self) -> None:
        """It has ended, or goes on without us."""
        self.close()
        os.close(self._fd)
        if self._child is not None and self._child.returncode is None:
            # It goes on, and is nobody's child who would miss it.
            self._child.returncode = 0


def start(*, first_session: int, open_wait: int, keep: Keep | None) -> SessionProcess:
    """Start one.  Raises `SessionProcessError`."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    command = [
        *(sys.executable, "-m", "vpnctl.bgp.exabgp_session"),
        *("--fd", str(theirs.fileno()), "--first-session", str(first_session)),
        *("--open-wait", str(open_wait)),
    ]
    try:
        if keep is not None:
            door.prepare(keep.directory)
            command += ["--door", str(keep.directory), "--keep", str(keep.seconds)]
            command += ["--remember", str(keep.octets)]
        # In a session of its own, so that ^C in a terminal ends the controller only, which
        # then says goodbye to the peers.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        channel.close()
        raise SessionProcessError(
            f"cannot start the BGP session process: {error}",
            hint=f"is {sys.executable} there and executable?",
        ) from error
    except SessionProcessError:
        channel.close()
        raise
    finally:
        theirs.close()
    return SessionProcess(channel, child.pid, child)


def find(keep: Keep) -> SessionProcess | None:
    """Knock at one that outlived its controller; None where there is none.

    It answers with READY, or with FAILED.  Raises `SessionProcessError` where one is there that
    must not be talked to.
    """
    found = door.knock(keep.directory)
    if found is None:
        return None
    sock, pid = found
    channel = Channel(sock)
    channel.put(Kind.ATTACH, 0, Attach(version()).to_json())
    try:
        channel.flush()
        return SessionProcess(channel, pid, None)
    except OSError:  # it has just ended
        channel.close()
        return None


def _environment() -> dict[str, str]:
    """Ours, without what the user has there for an ExaBGP of their own."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().startswith("exabgp")}
    return {**kept, "EXABGP_ENVFILE": os.devnull}


def died(status: int | None) -> str:
    """How a process ended, in words."""
    if status is None:
        return "is gone"
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
