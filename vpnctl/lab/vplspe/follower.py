"""A program that does what ExaBGP hears, until it is told to stop."""

from __future__ import annotations

import logging
import os
import select
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vpnctl.errors import UsageError
from vpnctl.lab.vplspe.events import Event, read_event
from vpnctl.lab.vplspe.speaker import EXABGP, Speaker

#: Octets read from ExaBGP at once.
_READ = 1 << 20
#: Milliseconds before ExaBGP is started again.
_PAUSE = 1000

_log = logging.getLogger("vplspe")


class Follower(ABC):
    """``directory``: where ExaBGP's files go; ``configuration``, ``program``: see `Speaker`."""

    def __init__(
        self,
        directory: Path,
        configuration: Callable[[Path], str],
        program: Sequence[str] = EXABGP,
    ) -> None:
        self._directory = directory
        self._configuration = configuration
        self._program = program
        self._unfinished = b""

    @abstractmethod
    def note(self, event: Event) -> None:
        """Remember what was heard."""

    @abstractmethod
    def forget(self) -> None:
        """There is no session any more; what does not outlive that is forgotten."""

    @abstractmethod
    def apply(self) -> None:
        """Do what follows from what is remembered."""

    def look(self) -> None:
        """Look whether anything's time is over; called once in a while."""
        return

    def run(self, stopping: int) -> None:
        """Until the file descriptor ``stopping`` is readable.  Raises `LabError`."""
        while True:
            speaker = Speaker(self._directory, self._configuration, self._program)
            try:
                stopped = self._listen(speaker, stopping)
            finally:
                speaker.stop()
            self._unfinished = b""
            self.forget()
            self.apply()
            if stopped or _readable(stopping, _PAUSE):
                return

    def _listen(self, speaker: Speaker, stopping: int) -> bool:
        """Until ExaBGP ends; True when we are to stop."""
        poll = select.poll()
        poll.register(stopping, select.POLLIN)
        poll.register(speaker.events, select.POLLIN)
        while True:
            ready = dict(poll.poll(_PAUSE))
            if stopping in ready:
                return True
            self.look()
            octets = os.read(speaker.events, _READ) if speaker.events in ready else b""
            try:
                self._take(octets)
            except ValueError as error:
                # What is not understood may be a withdrawal: only a new table is sure.
                _log.error("%s; starting ExaBGP again", error)
                return False
            # Its end may come before its helper has opened the pipe, and the helper's before it.
            if not octets and (speaker.ended or speaker.events in ready):
                _log.error("ExaBGP ended, %s may say why; starting it again", speaker.log)
                return False

    def _take(self, octets: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + octets).split(b"\n")
        for line in lines:
            for event in read_event(line.decode("ascii", "replace")):
                self.note(event)
        if lines:
            self.apply()


def _readable(descriptor: int, milliseconds: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(milliseconds))


@contextmanager
def stop_signals() -> Iterator[int]:
    """A file descriptor that is readable from the first SIGTERM or SIGINT on."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(writing)
    handlers = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield reading
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


@contextmanager
def place_for(named: Path | None, prefix: str) -> Iterator[Path]:
    """A program's directory: the one that was named, or a temporary one.  Raises `UsageError`."""
    if named is None:
        with tempfile.TemporaryDirectory(prefix=prefix) as name:
            yield Path(name)
        return
    try:
        named.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{named} cannot be made: {error.strerror}") from error
    yield named.absolute()
