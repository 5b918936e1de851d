"""An operator's own templates, filled in by a process of their own with limits.

Jinja2's sandbox keeps a template from reading and doing what it must not, but not from going on for
ever or from asking for all the memory there is.  So a template that is not vpnctl's is filled in
where that harms nobody (`vpnctl.provisioning.template_process`), one after the other; the process
is started when one is needed, and again when it had to be ended.
"""

from __future__ import annotations

import atexit
import os
import pickle
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import NamedTuple

from vpnctl.provisioning.intent import RouterIntent
from vpnctl.provisioning.profile import Platform
from vpnctl.provisioning.template_limits import CPU_S, MADE, MOST_MIB, WALL_S
from vpnctl.provisioning.templates import TemplateMistakeError

#: Octets of an answer beside what the templates make.
_BESIDE = 64 * 1024
_FAREWELL_S = 5.0


class _Job(NamedTuple):
    """What `fill` is given, as what it can be remembered by."""

    intent: RouterIntent
    platform: str
    profile: bytes
    templates: tuple[tuple[str, str], ...]


def fill_confined(intent: RouterIntent, platform: Platform) -> str:
    """As `vpnctl.provisioning.templates.fill`, within limits of time, memory and length."""
    templates = tuple(platform.templates.items())
    return _filled(_Job(intent, platform.name, pickle.dumps(platform.profile), templates))


@lru_cache(maxsize=256)
def _filled(job: _Job) -> str:
    """The same for the same job, so what has been made once is not made again."""
    answer = _process.ask(pickle.dumps(tuple(job)), job.platform)
    text = answer[1:].decode()
    if answer[:1] != MADE:
        raise TemplateMistakeError(text)
    return text


class _Process:
    """The process, as long as it lives; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def ask(self, job: bytes, platform: str) -> bytes:
        """Its answer; raises `TemplateMistakeError` where there is none."""
        with self._lock:
            if self._child is not None and self._child.poll() is not None:
                self._end()  # somebody has ended it while it had nothing to do
            try:
                connection = self._connection or self._start()
                connection.send_bytes(job)
                if not connection.poll(WALL_S):
                    raise TemplateMistakeError(
                        f"{platform}: the templates are not filled in after {WALL_S:g} s"
                    )
                return connection.recv_bytes((MOST_MIB << 20) + _BESIDE)
            except (EOFError, OSError) as error:
                self._end()
                raise TemplateMistakeError(
                    f"{platform}: filling in the templates has ended the process that did it:"
                    f" they may take {CPU_S} s and make {MOST_MIB} MiB"
                ) from error
            except BaseException:
                self._end()
                raise

    def end(self) -> None:
        """End it; it is started again when it is needed."""
        with self._lock:
            self._end()

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            # Nothing of the controller's environment, where secrets may be.
            kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
            program = [sys.executable, "-m", "vpnctl.provisioning.template_process"]
            self._child = subprocess.Popen(
                [*program, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=kept,
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        return self._connection

    def _end(self) -> None:
        child, self._child = self._child, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if child is not None:
            child.kill()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_FAREWELL_S)


_process = _Process()
atexit.register(_process.end)
