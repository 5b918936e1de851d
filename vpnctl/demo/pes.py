"""The demo's PEs: real ExaBGP speakers on loopback, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A route that a PE received: prefix, distinguisher, and targets joined by a space."""

    prefix: str
    rd: str
    targets: str


@dataclass(frozen=True, slots=True)
class Announced:
    """A route of a VRF at a PE."""

    prefix: str
    rd: str
    target: str


class ExaBgpPe:
    """A PE that announces some VPN-IPv4 routes and remembers what it receives."""

    def __init__(
        self, directory: Path, name: str, address: str, port: int, routes: tuple[Announced, ...]
    ) -> None:
        self.name = name
        self.address = address
        self._file = directory / f"{name}.json"
        self._log = directory / f"{name}.log"
        self._configuration = directory / f"{name}.conf"
        self._configuration.write_text(self._text(port, routes))
        self._process: subprocess.Popen[bytes] | None = None

    def _text(self, port: int, routes: tuple[Announced, ...]) -> str:
        static = "\n".join(
            f"    route {route.prefix} next-hop {self.address} rd {route.rd} label 100"
            f" extended-community [ target:{route.target} ];"
            for route in routes
        )
        return f"""\
process recorder {{
  run {sys.executable} -m vpnctl.demo.recorder {self._file};
  encoder json;
}}
neighbor 127.0.0.1 {{
  router-id {self.address};
  local-address {self.address};
  local-as 65000;
  peer-as 65000;
  connect {port};
  family {{ ipv4 mpls-vpn; }}
  api {{ processes [ recorder ]; receive {{ parsed; update; }} }}
  static {{
{static}
  }}
}}
"""

    def start(self) -> None:
        """Start the speaker; it connects by itself."""
        environment: Mapping[str, str] = {
            **{key: value for key, value in os.environ.items() if "exabgp" not in key.lower()},
            "exabgp.api.cli": "false",
            "exabgp.tcp.bind": "",
            "exabgp.log.destination": "stdout",
            # ExaBGP gives up root for "nobody", who may not write here.
            **({"exabgp.daemon.user": "root"} if os.getuid() == 0 else {}),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "exabgp", "server", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def held(self) -> tuple[Held, ...]:
        """The routes it holds now, sorted."""
        try:
            routes = json.loads(self._file.read_text())
        except FileNotFoundError:
            return ()
        return tuple(sorted(Held(r["prefix"], r["rd"], " ".join(r["targets"])) for r in routes))

    @property
    def failed(self) -> str:
        """The end of its log if it is not running any more, else an empty string."""
        if self._process is None or self._process.poll() is None:
            return ""
        return self._log.read_text(errors="replace")[-800:]

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
