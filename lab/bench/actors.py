"""Sender and sinks, each a process of its own, and the handles that the benchmark holds.

All times are nanoseconds of CLOCK_MONOTONIC, which every process of the machine shares.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from lab.bench.rawbgp import (
    KEEPALIVE_MESSAGE,
    SessionLostError,
    Table,
    close,
    establish,
    receive_timeout,
)
from lab.bench.workload import Workload

_CONTEXT = multiprocessing.get_context("fork")
_CHUNK = 1 << 18
_PIECE = 1 << 17
#: Longest silence before a sink looks at its orders (s).
_TURN = 0.02


@dataclass(frozen=True)
class Place:
    """Where an actor connects from and to, and the session it wants."""

    source: str
    target: tuple[str, int]
    hold_time: int


@dataclass(frozen=True)
class Sent:
    """The sender's account of one table: first and last byte (ns)."""

    first_byte: int
    last_byte: int


@dataclass(frozen=True)
class Expect:
    """What a sink is to wait for, for at most ``bound`` seconds.

    ``versions``: of the customers' rules; ``whole``: the whole table, not only these changes.
    ``settle``: seconds of silence after which what came in is read, and after which a table that
    is right is final.
    """

    versions: dict[int, int]
    bound: float
    settle: float
    whole: bool = False


@dataclass(frozen=True)
class Arrival:
    """A sink's account of one expectation.

    ``complete_at``: when its table became right (ns), ``None`` if it never did within the bound;
    ``announced``, ``withdrawn``, ``updates``: what it was sent meanwhile; ``difference``: the
    first route that was not as expected, for the reader.
    """

    complete_at: int | None
    announced: int
    withdrawn: int
    updates: int
    wrong: int
    difference: str


class _Actor:
    """A process with a pipe; ended by its own process id."""

    def __init__(self, main: Any, *arguments: Any) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=main, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def _answer(self, timeout: float) -> Any:
        """The next message; raises `SessionLostError` when the actor lost its session."""
        try:
            if not self._pipe.poll(timeout):
                raise SessionLostError("the actor gives no answer")
            answer = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise SessionLostError("the actor ended") from error
        if isinstance(answer, str):
            raise SessionLostError(answer)
        return answer

    def wait_up(self, timeout: float) -> int:
        """Until the session is established; the time of that."""
        return int(self._answer(timeout))

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


class Sink(_Actor):
    """Receives, records, and compares with what it should hold."""

    def __init__(self, place: Place, workload: Workload, expect: Expect | None = None) -> None:
        """``expect``: armed with this already when it connects, and loose about attributes."""
        super().__init__(_sink, place, workload, expect)

    def expect(self, what: Expect) -> None:
        """Arm it; `arrival` gives the outcome."""
        self._pipe.send(what)
        self._answer(120)

    def has_arrived(self) -> bool:
        """Whether `arrival` would answer at once."""
        return self._pipe.poll(0)

    def arrival(self, timeout: float) -> Arrival:
        """The outcome of the last `Expect`."""
        answer = self._answer(timeout)
        assert isinstance(answer, Arrival)
        return answer

    def longest_silence(self) -> float:
        """Seconds of the longest time without a byte since the last call."""
        self._pipe.send("silence")
        return float(self._answer(10))


class Sender(_Actor):
    """Holds the whole table as bytes and sends it when told."""

    def __init__(self, place: Place, workload: Workload) -> None:
        super().__init__(_sender, place, workload)

    def connect(self, timeout: float) -> None:
        """Bring the session up; the routes are not sent yet."""
        self._pipe.send("connect")
        self._answer(timeout)

    def start(self) -> None:
        """Send the whole table and End-of-RIB."""
        self._pipe.send("go")

    def sent(self, timeout: float) -> Sent:
        """When that was done."""
        answer = self._answer(timeout)
        assert isinstance(answer, Sent)
        return answer


def _sink(pipe: Connection, place: Place, workload: Workload, expect: Expect | None) -> None:
    _quiet_process()
    table = Table(workload, loose=expect is not None)
    if expect is not None:
        table.expect_all(expect.versions)
    with _telling(pipe):
        deadline = time.monotonic() + 60
        link, rest = establish(
            place.source, place.target, workload.family, place.hold_time, deadline
        )
        receive_timeout(link, _TURN)
        _begin_keepalives(link, threading.Lock(), place.hold_time)
        _SinkLoop(pipe, link, table, rest, expect).run()


class _SinkLoop:
    """One sink at work: receive and record; read only while nothing comes in."""

    def __init__(
        self,
        pipe: Connection,
        link: socket.socket,
        table: Table,
        rest: bytes,
        expect: Expect | None,
    ) -> None:
        self._pipe, self._link, self._table = pipe, link, table
        now = time.monotonic_ns()
        self._chunks: list[tuple[int, bytes]] = [(now, rest)] if rest else []
        self._last_arrival = now
        self._silence = 0
        self._settle = 0.1
        self._deadline: float | None = None
        if expect is not None:
            self._arm(expect)

    def run(self) -> None:
        """Until the session or the pipe ends."""
        self._pipe.send(time.monotonic_ns())
        receive, clock = self._link.recv, time.monotonic_ns
        while True:
            try:
                chunk = receive(_CHUNK)
            except BlockingIOError:
                self._idle()
            else:
                now = clock()
                if not chunk:
                    self._read()
                    raise SessionLostError("the daemon closed the session")
                self._silence = max(self._silence, now - self._last_arrival)
                self._last_arrival = now
                self._chunks.append((now, chunk))
                if self._deadline and now > self._deadline * 1e9:
                    self._idle(now)

    def _idle(self, now: int | None = None) -> None:
        quiet = time.monotonic_ns() - self._last_arrival > self._settle * 1e9
        late = self._deadline is not None and time.monotonic() > self._deadline
        if (quiet or late) and self._chunks:
            self._read()
        if self._deadline is not None and (late or (quiet and not self._table.wrong)):
            self._report()
        if now is None and self._pipe.poll():
            self._order(self._pipe.recv())

    def _read(self) -> None:
        chunks, self._chunks = self._chunks, []
        for arrived, chunk in chunks:
            self._table.read(chunk, arrived)

    def _order(self, order: Any) -> None:
        if order == "silence":
            silence = max(self._silence, time.monotonic_ns() - self._last_arrival)
            self._silence = 0
            self._pipe.send(silence / 1e9)
            return
        assert isinstance(order, Expect)
        self._read()
        self._table.loose = False
        if order.whole:
            self._table.expect_all(order.versions)
        else:
            self._table.expect_changes(order.versions)
        self._arm(order)
        self._pipe.send(True)

    def _arm(self, expect: Expect) -> None:
        # The clock of silence starts anew, or an armed sink could report before the first byte.
        self._last_arrival = time.monotonic_ns()
        self._settle = expect.settle
        self._deadline = time.monotonic() + expect.bound

    def _report(self) -> None:
        table, self._deadline = self._table, None
        self._pipe.send(
            Arrival(
                None if table.wrong else table.complete_at,
                table.announced,
                table.withdrawn,
                table.updates,
                table.wrong,
                table.first_difference if table.wrong else "",
            )
        )


def _sender(pipe: Connection, place: Place, workload: Workload) -> None:
    _quiet_process()
    pieces = list(_pieces(workload))
    with _telling(pipe):
        pipe.send(True)
        pipe.recv()
        link, _ = establish(
            place.source, place.target, workload.family, place.hold_time, time.monotonic() + 60
        )
        pipe.send(True)
        turn = threading.Lock()
        _begin_keepalives(link, turn, place.hold_time)
        threading.Thread(target=_discard, args=(link,), daemon=True).start()
        while pipe.recv() == "go":
            first = time.monotonic_ns()
            for piece in pieces:
                with turn:
                    link.sendall(piece)
            pipe.send(Sent(first, time.monotonic_ns()))


def _pieces(workload: Workload) -> Iterator[bytes]:
    """The table in pieces of whole messages, between which a KEEPALIVE may go out."""
    piece: list[bytes] = []
    size = 0
    for update in workload.updates():
        piece.append(update)
        size += len(update)
        if size >= _PIECE:
            yield b"".join(piece)
            piece, size = [], 0
    piece.append(workload.end_of_rib())
    yield b"".join(piece)


def _begin_keepalives(link: socket.socket, turn: threading.Lock, hold_time: int) -> None:
    """In a thread: reading a large table must not cost the session."""
    threading.Thread(target=_keep_alive, args=(link, turn, hold_time / 3), daemon=True).start()


def _keep_alive(link: socket.socket, turn: threading.Lock, every: float) -> None:
    with contextlib.suppress(OSError):
        while True:
            time.sleep(every)
            with turn:
                link.sendall(KEEPALIVE_MESSAGE)


def _discard(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while link.recv(_CHUNK):
            pass
    close(link)


def _quiet_process() -> None:
    """Children leave Ctrl-C to the parent, and do not stop to collect garbage."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()


@contextlib.contextmanager
def _telling(pipe: Connection) -> Iterator[None]:
    """Send the reason of an end to the parent instead of printing a traceback."""
    try:
        yield
    except (EOFError, BrokenPipeError):
        return
    except (OSError, SessionLostError) as error:
        with contextlib.suppress(OSError):
            pipe.send(str(error) or type(error).__name__)
