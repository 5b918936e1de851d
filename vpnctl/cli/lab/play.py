"""The lab's demo, act by act: a site joins a VPN while a ping runs to it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event, Thread

from vpnctl.cli.change import change
from vpnctl.cli.client import Client
from vpnctl.cli.output import Format
from vpnctl.cli.settings import Settings
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import LabError
from vpnctl.lab import sessions
from vpnctl.lab.lab import Lab

#: Who joins what, and who is reached then.
VPN, SITE, HOST, HOST_THERE, ADDRESS_THERE = "E1", "cloud2", "e1-host", "e1-vm2", "10.1.0.3"
_INTERVAL_S = 0.01
_PATIENCE_S = 15.0
#: Replies that must be missing in a row for the way to count as closed.
_SILENCE_S = 0.5
_REPLY = re.compile(r"^\[(?P<time>\d+\.\d+)\] \d+ bytes from ")


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened; ``at``: seconds since the epoch."""

    at: float
    what: str


class Ping:
    """A ping that runs, and when its replies came."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._replies: list[float] = []
        self._heard = Event()
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if (reply := _REPLY.match(line)) is not None:
                self._replies.append(float(reply["time"]))
                self._heard.set()

    @property
    def replies(self) -> Sequence[float]:
        """When each reply came, in seconds since the epoch."""
        return tuple(self._replies)

    def first(self) -> float:
        """When the first reply came; waits for it.  Raises `LabError` when none does."""
        if not self._heard.wait(_PATIENCE_S):
            raise LabError(
                f"no packet got through within {_PATIENCE_S:.0f} s",
                hint="run 'vpnctl lab up' on the same topology and look at it with 'lab inspect'",
            )
        return self._replies[0]

    def last(self) -> float:
        """When the last reply came; waits for silence.  Raises `LabError` when there is none."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.time() - self._replies[-1] < _SILENCE_S:
            if time.monotonic() > deadline:
                raise LabError(
                    f"packets still get through after {_PATIENCE_S:.0f} s",
                    hint="see 'vpnctl history' and the routers' own tables",
                )
            time.sleep(_INTERVAL_S)
        return self._replies[-1]


@contextmanager
def pinging(lab: Lab) -> Iterator[Ping]:
    """A ping every 10 ms from the host to the one that cannot be reached yet."""
    shell = lab.shell(HOST)
    # ARP asks again as often as the ping does, or it would decide what is measured.
    done = shell.run(
        ("sysctl", "-qw", f"net.ipv4.neigh.eth1.retrans_time_ms={_INTERVAL_S * 1e3:.0f}")
    )
    if done.returncode:
        raise LabError(f"{HOST}: {done.stderr.strip()}")
    process = shell.popen(
        ("ping", "-n", "-D", "-i", str(_INTERVAL_S), ADDRESS_THERE),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        detached=True,
        text=True,
    )
    try:
        yield Ping(process)
    finally:
        process.kill()
        process.wait()


def play(lab: Lab) -> None:
    """Extend, retract, and tell when packets passed.  Raises `LabError`, `ControllerError`."""
    ((_, socket),) = lab.controller_sockets().items()
    sessions.wait_routes(lab)
    with pinging(lab) as ping:
        print(f"\n$ ping -i {_INTERVAL_S} {ADDRESS_THERE}     (at {HOST}, all the time)")
        time.sleep(_SILENCE_S)
        if ping.replies:
            raise LabError(f"{ADDRESS_THERE} answers though {VPN} is not at {SITE}")
        print(f"no reply: {VPN} is not at {SITE}\n")
        extended = _change(socket, "extend")
        _timeline([*extended, Moment(ping.first(), f"first reply from {HOST_THERE} at {HOST}")])
        retracted = _change(socket, "retract")
        _timeline([*retracted, Moment(ping.last(), f"last reply from {HOST_THERE} at {HOST}")])


def _change(socket: Path, kind: str) -> list[Moment]:
    client = Client(Settings(socket))
    print(f"$ vpnctl {kind} {VPN} --site {SITE} --yes")
    asked = time.time()
    change(client, PlanRequest(kind, vpn=VPN, site=SITE), form=Format.TABLE, yes=True)
    revision = client.get("revisions")["revisions"][0]
    durable = datetime.fromisoformat(revision["at"]).timestamp()
    return [
        Moment(asked, "command given"),
        Moment(durable, f"revision {revision['number']} is durable, UPDATEs go out"),
    ]


def _timeline(moments: Sequence[Moment]) -> None:
    begun = moments[0].at
    print()
    for moment in moments:
        print(f"  {(moment.at - begun) * 1000:8.1f} ms  {moment.what}")
    print()
