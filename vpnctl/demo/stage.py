"""The stage of the demo: ``vpnctl serve`` and its PEs on loopback, ended whatever happens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vpnctl.cli.client import Client
from vpnctl.cli.settings import Settings
from vpnctl.demo.pes import ExaBgpPe, Held
from vpnctl.demo.story import ADDRESSES, ANNOUNCED, policy_files
from vpnctl.errors import ControllerError, UsageError

#: Seconds until waiting for the routes of a policy is given up.
PATIENCE_S = 30.0
_POLL_S = 0.02


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(path: Path) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


class Daemon:
    """``vpnctl serve`` as a process; its log and its store lie in ``scratch``.

    ``where``: the directory in which it and the operator's commands run; ``policies`` is a path
    from there.
    """

    def __init__(self, scratch: Path, where: Path, policies: str, control: Path) -> None:
        self.where = where
        self.control = control
        self._log = scratch / "controller.log"
        store = {"VPNCTL_STORE": f"sqlite:///{scratch / 'store.db'}"}
        self.environment = {**os.environ, **store, "VPNCTL_SOCKET": str(control)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vpnctl", "serve", "--policies", policies],
                cwd=where,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def check(self) -> None:
        """Raises `ControllerError` when the daemon has ended."""
        if self._process.poll() is not None:
            log = self._log.read_text(errors="replace")[-800:].strip()
            raise ControllerError(f"the controller ended: {log}")

    def port(self) -> int:
        """The TCP port on which it listens for BGP."""
        listening = Client(Settings(self.control)).get("status")["status"]["listening"]
        return int(listening[0].rpartition(":")[2])

    def command(self, *words: str) -> None:
        """Run a command as the operator would, its output going where ours goes."""
        done = subprocess.run(
            [sys.executable, "-m", "vpnctl", *words],
            cwd=self.where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise ControllerError(f"'vpnctl {words[0]}' ended with exit code {done.returncode}")

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True)
class Stage:
    """The controller and the PEs, running."""

    daemon: Daemon
    pes: tuple[ExaBgpPe, ...]

    def check(self) -> None:
        """Raises `ControllerError` when the controller or a PE has ended."""
        self.daemon.check()
        for pe in self.pes:
            if pe.failed:
                raise ControllerError(f"{pe.name} ended: {pe.failed}")

    def held(self) -> dict[str, set[Held]]:
        """What each PE holds now."""
        return {pe.name: set(pe.held()) for pe in self.pes}

    def wait_for(self, wanted: Mapping[str, set[Held]], what: str) -> None:
        """Wait until the PEs hold exactly this; raises `ControllerError` when they never do."""
        _wait(lambda: self.held() == wanted, what, self.check)

    def wait_for_routes(self) -> None:
        """Wait until every PE holds something; raises `ControllerError` when one never does."""
        _wait(lambda: all(self.held().values()), "routes at every PE", self.check)


def _wait(condition: Callable[[], bool], what: str, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise ControllerError(f"the demo waited {PATIENCE_S:.0f} s in vain for {what}")
        time.sleep(_POLL_S)


def write_policies(directory: Path) -> None:
    """Write the policy of the story; raises `UsageError` where that cannot be done."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in policy_files(free_port()).items():
            (directory / name).write_text(text)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written: {error.strerror}", hint="choose another directory"
        ) from error


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory that is gone in the end."""
    with tempfile.TemporaryDirectory(prefix="vpnctl-demo-") as name:
        yield Path(name)


@contextmanager
def stage(scratch: Path, where: Path, policies: str, control: Path) -> Iterator[Stage]:
    """Controller and PEs, running; ended in the end, whatever happens.

    Raises `ControllerError` when the controller does not come up.
    """
    with ExitStack() as stack:
        daemon = Daemon(scratch, where, policies, control)
        stack.callback(daemon.stop)
        _wait(lambda: answers(control), "the controller to answer", daemon.check)
        port = daemon.port()
        pes = tuple(
            ExaBgpPe(scratch, name, address, port, ANNOUNCED[name])
            for name, address in ADDRESSES.items()
        )
        for pe in pes:
            pe.start()
            stack.callback(pe.stop)
        yield Stage(daemon, pes)
