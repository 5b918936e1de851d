"""The demo, act by act."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vpnctl.demo.pes import ExaBgpPe, Held
from vpnctl.demo.story import ADDRESSES, AFTER, ANNOUNCED, BEFORE, IMPORTED_BY, policy_files
from vpnctl.errors import ControllerError

_PATIENCE_S = 30.0
_POLL_S = 0.02


def _wait(condition: Callable[[], bool], what: str, check: Callable[[], None]) -> None:
    """Wait for something; raises `ControllerError` when it does not come about."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise ControllerError(f"the demo waited {_PATIENCE_S:.0f} s in vain for {what}")
        time.sleep(_POLL_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Daemon:
    """``vpnctl serve`` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "vpnctl.sock"
        self._log = directory / "controller.log"
        store = {"VPNCTL_STORE": f"sqlite:///{directory / 'store.db'}"}
        self.environment = {**os.environ, **store, "VPNCTL_SOCKET": str(self._socket)}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vpnctl", "serve", "--policies", "policies"],
                cwd=directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def check(self) -> None:
        """Raises `ControllerError` when the daemon has ended."""
        if self.process.poll() is not None:
            log = self._log.read_text(errors="replace")[-800:]
            raise ControllerError(f"the controller ended: {log}")

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket))
            except OSError:
                return False
        return True

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def _stage(directory: Path) -> Iterator[tuple[_Daemon, tuple[ExaBgpPe, ...]]]:
    """Controller and PEs, running; ended in the end, whatever happens."""
    port = _free_port()
    policies = directory / "policies"
    policies.mkdir()
    for name, text in policy_files(port).items():
        (policies / name).write_text(text)
    with ExitStack() as stack:
        daemon = _Daemon(directory)
        stack.callback(daemon.stop)
        _wait(daemon.answers, "the controller to answer", daemon.check)
        pes = tuple(
            ExaBgpPe(directory, name, address, port, ANNOUNCED[name])
            for name, address in ADDRESSES.items()
        )
        for pe in pes:
            pe.start()
            stack.callback(pe.stop)
        yield daemon, pes


def _table(title: str, pes: tuple[ExaBgpPe, ...], new: Mapping[str, set[Held]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("PE", "received", "RD", "target", "imported by"):
        table.add_column(heading)
    for pe in pes:
        for position, route in enumerate(pe.held()):
            fresh = route in new.get(pe.name, set())
            table.add_row(
                pe.name if position == 0 else "",
                ("+ " if fresh else "  ") + route.prefix,
                route.rd,
                route.targets,
                " ".join(IMPORTED_BY.get(target, "nobody") for target in route.targets.split()),
                style="green" if fresh else "",
            )
    return table


def _command(daemon: _Daemon, directory: Path, *words: str) -> None:
    """Run a command as the operator would, its output going where ours goes."""
    subprocess.run(
        [sys.executable, "-m", "vpnctl", *words],
        cwd=directory,
        env=daemon.environment,
        stdin=subprocess.DEVNULL,
        check=True,
    )


def _hold(pes: tuple[ExaBgpPe, ...], wanted: Mapping[str, set[Held]]) -> bool:
    return all(set(pe.held()) == wanted[pe.name] for pe in pes)


def run(console: Console | None = None) -> int:
    """Play the demo; 0 when every PE received exactly what the policy says, else 1."""
    screen = console or Console()

    def say(text: str) -> None:
        screen.print(f"\n{text}", highlight=False)
        # What the commands print goes to the same place past this console.
        screen.file.flush()

    with tempfile.TemporaryDirectory(prefix="vpnctl-demo-") as name:
        directory = Path(name)
        say("[bold]Starting[/] the controller and three PEs (ExaBGP) on loopback ...")
        with _stage(directory) as (daemon, pes):

            def check() -> None:
                daemon.check()
                for pe in pes:
                    if pe.failed:
                        raise ControllerError(f"{pe.name} ended: {pe.failed}")

            try:
                _wait(lambda: _hold(pes, BEFORE), "the routes of the first policy", check)
                say("E1 is at its headquarters and cloud1, E2 at its own and cloud2; both use")
                screen.print(
                    "10.1.0.0/24 and 10.2.0.0/24. Nobody hears E1's 10.3.0.0/24 in cloud2:"
                )
                screen.print(_table("Before", pes, {}))
                say("[bold]$ vpnctl explain 65000:31:10.3.0.0/24 --peer pe-c1[/]")
                _command(daemon, directory, "explain", "65000:31:10.3.0.0/24", "--peer", "pe-c1")
                say("[bold]$ vpnctl extend E1 --site cloud2[/]")
                _command(daemon, directory, "extend", "E1", "--site", "cloud2", "--yes")
                _wait(lambda: _hold(pes, AFTER), "the routes of the new policy", check)
            except ControllerError as error:
                say(f"[red]FAILED[/] {error.message}")
                screen.print(_table("What the PEs hold", pes, {}))
                return 1
            except subprocess.CalledProcessError as error:
                say(f"[red]FAILED[/] vpnctl ended with exit code {error.returncode}")
                return 1
            fresh = {pe: AFTER[pe] - BEFORE[pe] for pe in AFTER}
            screen.print()
            screen.print(_table("After", pes, fresh))
            return _verdict(screen, pes)


def _verdict(screen: Console, pes: tuple[ExaBgpPe, ...]) -> int:
    """Say whether E2 was left alone; it is checked on what the PEs hold, not on what was sent."""
    for pe in pes:
        of_e2 = {route for route in pe.held() if "65000:202" in route.targets.split()}
        if of_e2 != {route for route in BEFORE[pe.name] if "65000:202" in route.targets.split()}:
            screen.print(f"\n[red]FAILED[/] E2's VRF at {pe.name} heard something: {of_e2}")
            return 1
    screen.print(
        "\nE2 heard nothing of it: its VRFs import 65000:202 only, and hold what they held.\n"
        "[green]Every PE received exactly what the policy says.[/] "
        "Next: vpnctl init my-network, then read README.md."
    )
    return 0
