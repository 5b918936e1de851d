"""ExaBGP as the PE's BGP speaker: its configuration, and its process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vpnctl.errors import LabError
from vpnctl.lab.vplspe.values import ENCAPSULATION_VPLS, Neighbor, PeConfig, VpnAtPe

#: Seconds that it has to end its sessions in order.
_FAREWELL = 5.0
_PR_SET_PDEATHSIG = 1
#: ExaBGP as it is.
EXABGP = ("exabgp", "server")


def configuration(config: PeConfig, helper: Path) -> str:
    """ExaBGP's configuration file; ``helper``: a script that ExaBGP feeds its events to."""
    families = "\n".join(_neighbor(config, neighbor) for neighbor in config.neighbors)
    return f"process agent {{\n  run /bin/sh {helper};\n  encoder json;\n}}\n{families}"


def _neighbor(config: PeConfig, neighbor: Neighbor) -> str:
    if neighbor.passive:
        way = f"passive true;\n  listen {neighbor.port};"
    else:
        way = f"connect {neighbor.port};"
    restart = f" graceful-restart {config.restart_time};" if config.restart_time else ""
    blocks = "\n".join(_vpls(config, vpn) for vpn in config.vpns)
    return f"""\
neighbor {neighbor.address} {{
  router-id {config.router_id};
  local-address {config.address};
  local-as {config.asn};
  peer-as {neighbor.asn};
  hold-time {config.hold_time};
  {way}
  capability {{ route-refresh enable;{restart} }}
  family {{ l2vpn vpls; ipv4 flow-vpn; ipv6 flow-vpn; }}
  api {{ processes [ agent ]; neighbor-changes; receive {{ parsed; consolidate; update; }} }}
  l2vpn {{
{blocks}
  }}
}}
"""


def _vpls(config: PeConfig, vpn: VpnAtPe) -> str:
    communities = " ".join(f"target:{target}" for target in vpn.exports)
    layer2 = f"l2info:{ENCAPSULATION_VPLS}:0:{vpn.mtu}:0"
    return (
        f"    vpls {vpn.name} {{ endpoint {vpn.ve_id}; base {vpn.block.base}; "
        f"offset {vpn.block.offset}; size {vpn.block.size}; rd {vpn.rd}; "
        f"next-hop {config.address}; origin igp; local-preference 100; "
        f"extended-community [ {communities} {layer2} ]; }}"
    )


def program(config: PeConfig) -> tuple[str, ...]:
    """ExaBGP for a PE, as `Speaker` wants it; its own has no graceful restart for our families."""
    if config.restart_time:
        return "vpnctl.lab.vplspe.exabgp_speaker", str(config.long_lived_time), "server"
    return EXABGP


class Speaker:
    """ExaBGP, running; its files are in ``directory``.

    ``configuration``: its configuration, given the script that it is to feed its events to.
    ``program``: ExaBGP as a Python module, with its arguments before the configuration's.
    ``events``: a file descriptor, non-blocking, from which the lines of its API are read; it is at
    its end when ExaBGP has ended.
    """

    def __init__(
        self, directory: Path, configuration: Callable[[Path], str], program: Sequence[str]
    ) -> None:
        pipe = directory / "events"
        helper = directory / "events.sh"
        file = directory / "exabgp.conf"
        self.log = directory / "exabgp.log"
        try:
            pipe.unlink(missing_ok=True)
            os.mkfifo(pipe, 0o600)
            # ExaBGP takes a helper that closes its standard output for dead.
            helper.write_text(f"exec cat 3>&1 >'{pipe}'\n")
            file.write_text(configuration(helper))
            self.events = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *program, str(file)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=_environment(),
                    preexec_fn=_end_with_parent,
                )
        except OSError as error:
            raise LabError(
                f"ExaBGP cannot be started in {directory}: {error}",
                hint="the directory must be writable",
            ) from error

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it; its neighbors are told."""
        if not self.ended:
            self._process.terminate()
            try:
                self._process.wait(_FAREWELL)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        os.close(self.events)


def _environment() -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if "exabgp" not in key.lower()},
        "exabgp.api.cli": "false",
        # A helper that ended would be followed by one that has not heard the routes.
        "exabgp.api.respawn": "false",
        "exabgp.tcp.bind": "",
        "exabgp.log.destination": "stdout",
        "exabgp.daemon.user": "root",
        "EXABGP_ENVFILE": os.devnull,
        "NO_COLOR": "1",
    }


def _end_with_parent() -> None:
    """In the child, between fork and exec: a PE that was killed says nothing more."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
