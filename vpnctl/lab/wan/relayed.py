"""A link with a relay between two tap devices, for kernels without netem."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

from vpnctl.errors import LabError
from vpnctl.lab.wan import devices, wire
from vpnctl.lab.wan.devices import LinkEnd
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.status import Direction, Method, WanStatus

#: Seconds that a relay has to start, to answer, and to end.
PATIENCE = 10.0
_CREDENTIALS = struct.Struct("3i")


class RelayedLink:
    """A `vpnctl.lab.wan.link.WanLink` whose relay listens in ``directory``."""

    def __init__(self, directory: Path, ends: tuple[LinkEnd, LinkEnd], mtu: int) -> None:
        self._control = directory / "control"
        self._log = directory / "relay.log"
        self._ends = ends
        self._mtu = mtu

    def start(self, figures: WanFigures) -> None:
        """Start the relay and bring its devices up; nothing is left when that fails."""
        command = [sys.executable, "-m", "vpnctl.lab.wan.relay", "--control", str(self._control)]
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [*command, *map(str, self._ends)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(process)
            # The devices are there, and ours.
            try:
                for end in self._ends:
                    devices.bring_up(end, self._mtu)
                self.change(figures)
            except BaseException:
                self._delete_devices()
                raise
        except BaseException:
            process.kill()
            process.wait()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as said:
            readable, _, _ = select.select([said], (), (), PATIENCE)
            if not readable or said.readline() != b"ready\n":
                raise LabError(f"the relay of {self} did not start: {self._complaint()}")

    @property
    def pid(self) -> int:
        """The relay's process id; raises `LabError` when it has ended."""
        with self._connected() as connection:
            return _pid(connection)

    def change(self, figures: WanFigures) -> None:
        """The rate at the devices, the rest in the relay."""
        for end in self._ends:
            devices.set_rate(end, figures, self._mtu)
        self._ask(wire.change(figures))

    def cut(self) -> None:
        """Let nothing pass."""
        self._ask(wire.ask("cut"))

    def heal(self) -> None:
        """Let frames pass again."""
        self._ask(wire.ask("heal"))

    def status(self) -> WanStatus:
        """Figures and counters of now."""
        state = self._ask(wire.ask("status"))
        directions = [
            Direction(
                source,
                sink,
                counters.forwarded,
                counters.octets,
                {
                    "buffer": devices.dropped_by_rate(source),
                    "loss": counters.lost,
                    "cut": counters.cut,
                    "relay": counters.overflowed,
                    "interface": counters.refused,
                },
                under_way,
            )
            for source, sink, counters, under_way in zip(
                self._ends, reversed(self._ends), state.counters, state.under_way, strict=True
            )
        ]
        return WanStatus(
            Method.RELAY, self.pid, state.figures, state.is_cut, (directions[0], directions[1])
        )

    def remove(self) -> None:
        """End the relay and delete its devices; what is gone already is fine."""
        try:
            with self._connected() as connection:
                _end(_pid(connection))
        except LabError:
            # Nobody listens: there is nobody to end.
            pass
        self._delete_devices()
        self._control.unlink(missing_ok=True)

    def __str__(self) -> str:
        return " - ".join(map(str, self._ends))

    def _delete_devices(self) -> None:
        for end in self._ends:
            devices.delete(end)

    def _complaint(self) -> str:
        said = self._log.read_text(errors="replace").strip()
        return said[-500:] or f"nothing heard in {PATIENCE:.0f} s"

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(self._control))
        except OSError as error:
            connection.close()
            raise LabError(
                f"the relay of {self} does not answer: {error.strerror or error}",
                hint=f"{self._log} may say why; the lab has to be taken down and up again",
            ) from error
        return connection

    def _ask(self, request: bytes) -> wire.RelayState:
        with self._connected() as connection:
            try:
                connection.send(request)
                return wire.read_answer(connection.recv(wire.MOST))
            except (OSError, ValueError) as error:
                raise LabError(f"the relay of {self} did not answer: {error}") from error


def _pid(connection: socket.socket) -> int:
    """Who listens at the other end: never another process that has got the number since."""
    octets = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(octets)[0])


def _end(pid: int) -> None:
    """End a process and wait for it, whoever started it."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if select.select([handle], (), (), PATIENCE)[0]:
                break
    finally:
        os.close(handle)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
