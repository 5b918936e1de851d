"""The process between two tap devices: ``python -m vpnctl.lab.wan.relay``.

Delays and loses nothing until it is told to on its control socket (`wire`).  Says ``ready`` on
standard output when both devices are there and the control socket listens; what goes wrong before
that is one line on standard error and the error's exit code.  Ends with 0 on SIGTERM, when one of
its devices is gone, and within a second after one of its namespaces lost its name.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from vpnctl.errors import LabError, VpnctlError
from vpnctl.lab.wan import wire
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.pipe import Pipe
from vpnctl.lab.wan.tap import enter, identity, open_tap, stay

#: Frames read from one device before the other one and what is due get their turn.
BATCH = 64
#: Octets of the longest frame that a tap device gives.
_MOST = 65536
#: Where there is no real-time scheduling, as in some containers.
_NICE = -10


#: Seconds that frames gather while there is traffic: one by one, each would cost two turns of the
#: loop, and take the processor away from who sends them.
_GATHER = 0.0002
#: Seconds between two looks whether the namespaces are still there.
_LOOK = 1.0


class LinkGone(Exception):  # noqa: N818 -- an event, and the orderly end of a link
    """A device or a namespace was deleted."""


class Relay:
    """``taps``: file descriptors of the two ends; ``listener``: where it is controlled;
    ``namespaces``: names of those of the ends.
    """

    def __init__(
        self, taps: tuple[int, int], listener: socket.socket, namespaces: Sequence[str]
    ) -> None:
        self._figures = WanFigures()
        self._pipes = (
            Pipe(self._figures, chance=random.random),
            Pipe(self._figures, chance=random.random),
        )
        self._ways = tuple(zip(taps, reversed(taps), self._pipes, strict=True))
        self._taps = taps
        self._listener = listener
        self._asking: set[socket.socket] = set()
        self._namespaces = {name: identity(name) for name in namespaces}
        self._look_at = 0.0

    def run(self) -> None:
        """Carry frames until an end is gone: raises `LinkGone`."""
        while True:
            self._look()
            waited: list[int | socket.socket] = [*self._taps, self._listener, *self._asking]
            ready, _, _ = select.select(waited, (), (), self._time_to_next())
            moved = 0
            for source, sink, pipe in self._ways:
                if source in ready:
                    moved += _read(source, pipe)
                moved += _write(sink, pipe)
            for one in ready:
                if isinstance(one, socket.socket):
                    self._converse(one)
            if moved:
                time.sleep(_GATHER)

    def _look(self) -> None:
        # An open tap device keeps its namespace alive, so the end of it would never be seen here.
        now = time.monotonic()
        if now >= self._look_at:
            if any(identity(name) != then for name, then in self._namespaces.items()):
                raise LinkGone
            self._look_at = now + _LOOK

    def _time_to_next(self) -> float:
        dues = [pipe.next_due for pipe in self._pipes if pipe.next_due is not None]
        return min(_LOOK, max(0, min(dues) - time.monotonic_ns()) / 1e9) if dues else _LOOK

    def _converse(self, one: socket.socket) -> None:
        if one is self._listener:
            self._asking.add(one.accept()[0])
            return
        with contextlib.suppress(OSError):
            request = one.recv(wire.MOST)
            if request:
                answer, self._figures = wire.answer(request, self._figures, self._pipes)
                one.send(answer, socket.MSG_DONTWAIT)
                return
        self._asking.discard(one)
        one.close()


def _read(source: int, pipe: Pipe) -> int:
    """Take what an end sends; how many frames."""
    now = time.monotonic_ns()
    for number in range(BATCH):
        try:
            pipe.put(os.read(source, _MOST), now)
        except BlockingIOError:
            return number
        except OSError as error:
            _raise_if_gone(error)
            raise
    return BATCH


def _write(sink: int, pipe: Pipe) -> int:
    """Give an end what is due; how many frames."""
    now = time.monotonic_ns()
    counters = pipe.counters
    number = 0
    while (frame := pipe.take(now)) is not None:
        number += 1
        try:
            os.write(sink, frame)
        except OSError as error:
            _raise_if_gone(error)
            counters.refused += 1
        else:
            counters.forwarded += 1
            counters.octets += len(frame)
    return number


def _raise_if_gone(error: OSError) -> None:
    if error.errno == errno.EBADFD:
        raise LinkGone from error


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A control socket that only its owner may use."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        # The socket of a relay that was killed would be in the way of its successor.
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise LabError(f"{path} cannot be listened on: {error}") from error
        finally:
            os.umask(mask)
        listener.listen()
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _go_first() -> None:
    """Before all programs beside it: a line does not wait for a processor.

    The kernel leaves the others a share even where frames come faster than they can be carried
    (sched_rt_runtime_us in sched(7)).
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, attach, carry."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A Ctrl-C in the terminal of who started it is meant for somebody else.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _go_first()
    try:
        taps, namespaces = [], []
        # The control socket first: a path that cannot be used must not leave devices behind.
        with _listening(options.control) as listener:
            for end in options.ends:
                namespace, _, interface = end.partition(":")
                namespaces.append(namespace)
                enter(namespace)
                taps.append(open_tap(interface))
            # Both or none: a failure at the second end leaves no device at the first.
            for tap in taps:
                stay(tap)
            print("ready", flush=True)
            Relay((taps[0], taps[1]), listener, namespaces).run()
    except VpnctlError as error:
        print(error.message + (f"; {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    except LinkGone:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vpnctl.lab.wan.relay", description=__doc__)
    parser.add_argument("--control", type=Path, required=True, help="unix socket to listen on")
    parser.add_argument("ends", nargs=2, metavar="NAMESPACE:INTERFACE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
