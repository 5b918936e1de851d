"""What the router says becomes filters; what it takes back goes."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from vpnctl.errors import LabError
from vpnctl.lab.vplspe.events import (
    Event,
    FlowAnnounced,
    FlowWithdrawn,
    SessionDown,
    SessionUp,
)
from vpnctl.lab.vplspe.filters import Filters, filters
from vpnctl.lab.vplspe.flow_events import FlowKey, FlowRoute
from vpnctl.lab.vplspe.follower import Follower
from vpnctl.lab.vplspe.netfilter import Netfilter
from vpnctl.lab.vplspe.values import Filtered

_log = logging.getLogger("flowfilter")


@dataclass(frozen=True, slots=True)
class Client:
    """A client of a router: ``address`` is ours, ``router`` the router's, ``hold_time`` seconds.

    Our BGP identifier is our address, since the router's own is taken (RFC 6286).
    """

    asn: int
    address: IPv4Address
    router: IPv4Address
    hold_time: int
    vpn: Filtered

    def configuration(self, helper: Path) -> str:
        """ExaBGP's configuration file; ``helper``: a script that ExaBGP feeds its events to."""
        return f"""\
process agent {{
  run /bin/sh {helper};
  encoder json;
}}
neighbor {self.router} {{
  router-id {self.address};
  local-address {self.address};
  local-as {self.asn};
  peer-as {self.asn};
  hold-time {self.hold_time};
  capability {{ route-refresh enable; }}
  family {{ ipv4 flow; ipv6 flow; }}
  api {{ processes [ agent ]; neighbor-changes; receive {{ parsed; consolidate; update; }} }}
}}
"""


class Agent(Follower):
    """Keeps the filters of one VPN's ports as its router's flow routes are."""

    def __init__(self, client: Client, directory: Path) -> None:
        super().__init__(directory, client.configuration)
        self._client = client
        self._is_up = False
        self._heard: dict[FlowKey, FlowRoute] = {}
        self._filters = Filters("", {}, ())
        self._netfilter = Netfilter()

    def run(self, stopping: int) -> None:
        """Until the file descriptor ``stopping`` is readable.  Raises `LabError`."""
        # Whoever was here before may have been killed.
        self._netfilter.clear()
        self._write_status()
        super().run(stopping)

    def note(self, event: Event) -> None:
        match event:
            case SessionUp(_):
                _log.info("the session with %s is up", self._client.router)
                self._is_up = True
            case SessionDown(_, reason):
                if self._is_up:
                    _log.warning("the session with %s is down: %s", self._client.router, reason)
                self.forget()
            case FlowAnnounced(_, flow):
                self._heard[flow.key] = flow
            case FlowWithdrawn(_, key):
                self._heard.pop(key, None)

    def forget(self) -> None:
        self._is_up = False
        self._heard.clear()

    def apply(self) -> None:
        heard = {str(self._client.router): self._heard}
        before, self._filters = self._filters, filters((self._client.vpn,), heard)
        self._netfilter.change(self._filters.script)
        for refusal in sorted(set(self._filters.refusals) - set(before.refusals)):
            _log.warning("flow %s is not enforced: %s", refusal.route, refusal.why)
        self._write_status()

    def _write_status(self) -> None:
        vpn = self._client.vpn.name
        status = {
            "sessions": {str(self._client.router): "up" if self._is_up else "down"},
            "vpns": {
                vpn: {
                    "flows": list(self._filters.enforced.get(vpn, ())),
                    "refused": [
                        {"route": one.route, "neighbor": one.neighbor, "why": one.why}
                        for one in self._filters.refusals
                    ],
                }
            },
        }
        written = self._directory / "status.new"
        try:
            written.write_text(json.dumps(status, indent=1) + "\n")
            written.replace(self._directory / "status.json")
        except OSError as error:
            raise LabError(f"{written} cannot be written: {error.strerror}") from error
