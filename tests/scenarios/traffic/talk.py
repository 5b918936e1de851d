"""A TCP connection that is open during a story."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.scenarios.traffic import talk_program
from tests.scenarios.traffic.gaps import longest_gap
from tests.scenarios.traffic.talk_program import RECORD
from tests.support.daemons import wait_until
from vpnctl.lab.enter import Shell

#: Seconds between lines.
INTERVAL = 0.005
_PORT = 7777


class Talk:
    """One connection, on which a line goes out and comes back every `INTERVAL`."""

    def __init__(self, server: subprocess.Popen[str], caller: subprocess.Popen[bytes], log: Path):
        self._server = server
        self._caller = caller
        self._log = log

    def lines(self) -> list[float]:
        """When each line came back, in their order; fails where the connection has ended."""
        for end in (self._caller, self._server):
            if end.poll() is not None:
                assert end.stderr is not None
                raise AssertionError(f"the connection broke: {end.stderr.read()!r}")
        octets = self._log.read_bytes()
        whole = octets[: len(octets) // RECORD.size * RECORD.size]
        return [at for _, at in RECORD.iter_unpack(whole)]

    def goes_on(self, moment: float) -> float:
        """Wait until a line has come back after ``moment``; when it did."""
        wait_until(lambda: self.lines()[-1:] > [moment], "the TCP connection to go on")
        return next(at for at in self.lines() if at > moment)

    def longest_gap(self, begin: float, end: float) -> float:
        """Seconds of the longest time without a line between two moments."""
        return longest_gap(self.lines(), begin, end)


@contextmanager
def talking(caller: Shell, server: Shell, address: str, log: Path) -> Iterator[Talk]:
    """Open a connection from one node to ``address``, which is at the other; it is used already."""
    program = (sys.executable, "-IS", talk_program.__file__)
    pipe = subprocess.PIPE
    serving = server.popen((*program, "serve", str(_PORT)), stdout=pipe, stderr=pipe, text=True)
    try:
        assert serving.stdout is not None
        assert serving.stdout.readline() == "ready\n"
        with log.open("wb") as file:
            calling = caller.popen(
                (*program, "call", address, str(_PORT), str(INTERVAL)), stdout=file, stderr=pipe
            )
        try:
            talk = Talk(serving, calling, log)
            talk.goes_on(0.0)
            yield talk
        finally:
            calling.kill()
            calling.communicate()
    finally:
        serving.kill()
        serving.communicate()
