"""The PE at work: what ExaBGP hears becomes pseudowires; what it loses goes."""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from pathlib import Path

from vpnctl.errors import LabError
from vpnctl.lab.vplspe.events import (
    Announced,
    EndOfRib,
    Event,
    FlowAnnounced,
    FlowWithdrawn,
    SessionDown,
    SessionUp,
    Withdrawn,
)
from vpnctl.lab.vplspe.filters import Filters, filters
from vpnctl.lab.vplspe.flow_events import FlowKey, FlowRoute
from vpnctl.lab.vplspe.follower import Follower
from vpnctl.lab.vplspe.forwarding import Forwarding
from vpnctl.lab.vplspe.memory import Memory
from vpnctl.lab.vplspe.netfilter import Netfilter
from vpnctl.lab.vplspe.selection import Selection, difference
from vpnctl.lab.vplspe.selection import select as select_pseudowires
from vpnctl.lab.vplspe.speaker import configuration, program
from vpnctl.lab.vplspe.values import NlriKey, PeConfig, Pseudowire, VeRoute

_VPLS = "l2vpn vpls"

_log = logging.getLogger("vplspe")


class Agent(Follower):
    """``directory``: where ExaBGP's files and ``status.json`` go."""

    def __init__(self, config: PeConfig, directory: Path, forwarding: Forwarding) -> None:
        super().__init__(directory, partial(configuration, config), program(config))
        self._config = config
        self._forwarding = forwarding
        stays = config.restart_time + config.long_lived_time
        self._routes: Memory[NlriKey, VeRoute] = Memory(stays)
        # For as long, or packets would pass unfiltered.
        self._flows: Memory[FlowKey, FlowRoute] = Memory(stays)
        self._up: set[str] = set()
        self._selection = Selection((), ())
        self._netfilter = Netfilter()
        self._filters = Filters("", {}, ())

    def run(self, stopping: int) -> None:
        """Until the file descriptor ``stopping`` is readable.  Raises `LabError`."""
        self._write_status()
        super().run(stopping)

    def note(self, event: Event) -> None:
        match event:
            case SessionUp(neighbor):
                _log.info("session with %s is up", neighbor)
                self._up.add(neighbor)
            case SessionDown(neighbor, reason, for_good):
                if neighbor in self._up:
                    _log.warning("session with %s is down: %s", neighbor, reason)
                    self._lose(neighbor)
                if for_good:
                    self._routes.forget(neighbor)
                    self._flows.forget(neighbor)
            case EndOfRib(neighbor, family):
                self._routes.complete(neighbor, lambda _: family == _VPLS)
                self._flows.complete(neighbor, lambda key: family == key.family.name)
            case Announced(neighbor, route):
                self._routes.announced(neighbor, route.key, route)
            case Withdrawn(neighbor, key):
                self._routes.withdrawn(neighbor, key)
            case FlowAnnounced(neighbor, flow):
                self._flows.announced(neighbor, flow.key, flow)
            case FlowWithdrawn(neighbor, flow_key):
                self._flows.withdrawn(neighbor, flow_key)

    def _lose(self, neighbor: str) -> None:
        self._up.discard(neighbor)
        self._routes.lost(neighbor, time.monotonic())
        self._flows.lost(neighbor, time.monotonic())

    def forget(self) -> None:
        for neighbor in tuple(self._up):
            self._lose(neighbor)

    def look(self) -> None:
        now = time.monotonic()
        if self._routes.sweep(now) | self._flows.sweep(now):
            self.apply()

    def apply(self) -> None:
        # First, so that nothing passes unfiltered.
        self._filter()
        before, now = self._selection, select_pseudowires(self._config, self._routes.heard)
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
        before, now = self._filters, filters(self._config.filtered, self._flows.heard)
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
            "kept": {
                str(neighbor.address): self._routes.kept(str(neighbor.address))
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
