"""The PE at work: what ExaBGP hears becomes pseudowires; what it loses goes."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vpnctl.errors import LabError
from vpnctl.lab.vplspe.events import (
    Announced,
    Event,
    FlowAnnounced,
    FlowWithdrawn,
    SessionDown,
    SessionUp,
    Withdrawn,
    read_event,
)
from vpnctl.lab.vplspe.filters import Filters, filters
from vpnctl.lab.vplspe.flow_events import FlowKey, FlowRoute
from vpnctl.lab.vplspe.forwarding import Forwarding
from vpnctl.lab.vplspe.netfilter import Netfilter
from vpnctl.lab.vplspe.selection import Selection, difference
from vpnctl.lab.vplspe.selection import select as select_pseudowires
from vpnctl.lab.vplspe.speaker import Speaker
from vpnctl.lab.vplspe.values import NlriKey, PeConfig, Pseudowire, VeRoute

#: Octets read from ExaBGP at once.
_READ = 1 << 20
#: Milliseconds before ExaBGP is started again.
_PAUSE = 1000

_log = logging.getLogger("vplspe")


class Agent:
    """``directory``: where ExaBGP's files and ``status.json`` go."""

    def __init__(self, config: PeConfig, directory: Path, forwarding: Forwarding) -> None:
        self._config = config
        self._directory = directory
        self._forwarding = forwarding
        self._heard: dict[str, dict[NlriKey, VeRoute]] = {}
        self._up: set[str] = set()
        self._flows: dict[str, dict[FlowKey, FlowRoute]] = {}
        self._selection = Selection((), ())
        self._netfilter = Netfilter()
        self._filters = Filters("", {}, ())
        self._unfinished = b""

    def run(self, stopping: int) -> None:
        """Until the file descriptor ``stopping`` is readable.  Raises `LabError`."""
        self._write_status()
        while True:
            speaker = Speaker(self._config, self._directory)
            try:
                stopped = self._listen(speaker, stopping)
            finally:
                speaker.stop()
            self._forget_everything()
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
                self._note(event)
        if lines:
            self._apply()

    def _note(self, event: Event) -> None:
        match event:
            case SessionUp(neighbor):
                _log.info("session with %s is up", neighbor)
                self._up.add(neighbor)
            case SessionDown(neighbor, reason):
                if neighbor in self._up:
                    _log.warning("session with %s is down: %s", neighbor, reason)
                self._up.discard(neighbor)
                self._heard.pop(neighbor, None)
                self._flows.pop(neighbor, None)
            case Announced(neighbor, route):
                self._heard.setdefault(neighbor, {})[route.key] = route
            case Withdrawn(neighbor, key):
                self._heard.get(neighbor, {}).pop(key, None)
            case FlowAnnounced(neighbor, flow):
                self._flows.setdefault(neighbor, {})[flow.key] = flow
            case FlowWithdrawn(neighbor, flow_key):
                self._flows.get(neighbor, {}).pop(flow_key, None)

    def _forget_everything(self) -> None:
        self._heard.clear()
        self._flows.clear()
        self._up.clear()
        self._unfinished = b""
        self._apply()

    def _apply(self) -> None:
        # First, so that nothing passes unfiltered.
        self._filter()
        before, now = self._selection, select_pseudowires(self._config, self._heard)
        change = difference(before.pseudowires, now.pseudowires)
        self._forwarding.change(change)
        self._selection = now
        for pseudowire in change.remove:
            _log.info("%s: VE %d at %s is gone", *_words(pseudowire))
        for pseudowire in change.add:
            _log.info("%s: VE %d at %s is reached", *_words(pseudowire))
        for refusal in sorted(set(now.refusals) - set(before.refusals)):
            _log.warning(
                "%s: route %s of %s is refused: %s",
                refusal.vpn, refusal.route, refusal.neighbor, refusal.why,
            )  # fmt: skip
        self._write_status()

    def _filter(self) -> None:
        """Enforce the flow routes that are there now; what cannot be enforced is told."""
        before, now = self._filters, filters(self._config, self._flows)
        self._netfilter.change(now.script)
        self._filters = now
        for vpn, flows in now.enforced.items():
            if flows != before.enforced.get(vpn, ()):
                _log.info("%s: %d flows are enforced", vpn, len(flows))
        for refusal in sorted(set(now.refusals) - set(before.refusals)):
            _log.warning(
                "%s: flow %s of %s is not enforced: %s",
                refusal.vpn, refusal.route, refusal.neighbor, refusal.why,
            )  # fmt: skip

    def _write_status(self) -> None:
        status = {
            "sessions": {
                str(neighbor.address): "up" if str(neighbor.address) in self._up else "down"
                for neighbor in self._config.neighbors
            },
            "vpns": {
                vpn.name: {
                    "bridge": vpn.bridge,
                    "pseudowires": [
                        {
                            "ve_id": pseudowire.ve_id,
                            "peer": str(pseudowire.peer),
                            "device": pseudowire.device,
                            "receive": pseudowire.receive,
                            "transmit": pseudowire.transmit,
                        }
                        for pseudowire in self._selection.pseudowires
                        if pseudowire.vpn == vpn.name
                    ],
                    "flows": list(self._filters.enforced.get(vpn.name, ())),
                    "refused": [
                        {"route": one.route, "neighbor": one.neighbor, "why": one.why}
                        for one in (*self._selection.refusals, *self._filters.refusals)
                        if one.vpn == vpn.name
                    ],
                }
                for vpn in self._config.vpns
            },
        }
        written = self._directory / "status.new"
        try:
            written.write_text(json.dumps(status, indent=1) + "\n")
            written.replace(self._directory / "status.json")
        except OSError as error:
            raise LabError(f"{written} cannot be written: {error.strerror}") from error


def _words(pseudowire: Pseudowire) -> tuple[str, int, str]:
    return pseudowire.vpn, pseudowire.ve_id, str(pseudowire.peer)


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
