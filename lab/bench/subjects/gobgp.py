"""GoBGP: one policy statement and one ext-community-set per customer."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from subprocess import Popen

from lab.bench.subjects.base import (
    LISTEN,
    SENDER,
    Setup,
    UnsupportedError,
    end,
    program,
    spawn,
    tail,
)
from lab.bench.workload import ASN, announced, rewritten

_FAMILY = {"vpnv4": "l3vpn-ipv4-unicast", "evpn": "l2vpn-evpn", "vpls": "l2vpn-vpls"}
_CLI_FAMILY = {"vpnv4": "vpnv4", "evpn": "evpn", "vpls": "vpls"}


@dataclass
class _Running:
    setup: Setup
    process: Popen[bytes]
    client: tuple[str, ...]
    settle: float = 1.0

    def __post_init__(self) -> None:
        self._commands: list[list[str]] = []
        self._targets: dict[int, int] = {}

    def pids(self) -> Sequence[int]:
        return (self.process.pid,)

    def prepare(self, customer: int, version: int) -> None:
        family = _CLI_FAMILY[self.setup.workload.family]
        statement = ["policy", "statement", f"c{customer}"]
        old, new = rewritten(customer, version - 1), rewritten(customer, version)
        action = ["action", "ext-community", "replace"]
        self._commands = [
            [*statement, "del", *action, f"rt:{ASN}:{old}"],
            [*statement, "add", *action, f"rt:{ASN}:{new}"],
            ["neighbor", SENDER, "softresetin", "-a", family],
        ]

    def change(self) -> None:
        for command in self._commands:
            done = subprocess.run([*self.client, *command], capture_output=True, timeout=300)
            if done.returncode or done.stdout.strip():
                reason = (done.stderr + done.stdout).decode(errors="replace").strip()
                raise UnsupportedError(f"gobgp refuses {' '.join(command)!r}: {reason}")

    def stop(self) -> None:
        end(self.process)


@dataclass(frozen=True)
class Gobgp:
    name = "gobgp"
    configuration = (
        "GoBGP, route reflector; global import policy, one statement and one ext-community-set "
        "per customer, action REPLACE (other extended communities are lost)"
    )
    change_includes = "three runs of its CLI: statement del, add, softresetin of the sender"
    keeps_companions = False

    def start(self, setup: Setup) -> _Running:
        daemon, client = program("gobgpd"), program("gobgp")
        path = setup.directory / "gobgpd.toml"
        path.write_text(_configuration(setup))
        log = setup.directory / "gobgpd.log"
        with socket.socket() as probe:
            probe.bind((LISTEN, 0))
            api = probe.getsockname()[1]
        with log.open("wb") as output:
            process = spawn(
                [
                    daemon,
                    *("-f", str(path), "--api-hosts", f"{LISTEN}:{api}"),
                    *("--pprof-disable", "-l", "error"),
                ],
                output,
            )
        running = _Running(setup, process, (client, "-u", LISTEN, "-p", str(api)))
        deadline = time.monotonic() + 60
        while subprocess.run([*running.client, "global"], capture_output=True).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                end(process)
                raise UnsupportedError(f"gobgpd does not come up: {tail(log)}")
            time.sleep(0.1)
        return running


def _configuration(setup: Setup) -> str:
    family = _FAMILY[setup.workload.family]
    customers = range(1, setup.workload.customers + 1)
    peers = "\n".join(
        f"""
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{address}"
    peer-as = {ASN}
  [neighbors.timers.config]
    hold-time = {setup.hold_time}
    keepalive-interval = {max(1, setup.hold_time // 3)}
  [neighbors.transport.config]
    passive-mode = true
  [neighbors.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "{LISTEN}"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "{family}"
"""
        for address in setup.peers
    )
    sets = "\n".join(
        f"""
[[defined-sets.bgp-defined-sets.ext-community-sets]]
  ext-community-set-name = "c{customer}"
  ext-community-list = ["rt:^{ASN}:{announced(customer)}$"]
"""
        for customer in customers
    )
    statements = "\n".join(
        f"""
  [[policy-definitions.statements]]
    name = "c{customer}"
    [policy-definitions.statements.conditions.bgp-conditions.match-ext-community-set]
      ext-community-set = "c{customer}"
    [policy-definitions.statements.actions]
      route-disposition = "accept-route"
    [policy-definitions.statements.actions.bgp-actions.set-ext-community]
      options = "replace"
      [policy-definitions.statements.actions.bgp-actions.set-ext-community.set-ext-community-method]
        communities-list = ["rt:{ASN}:{rewritten(customer)}"]
"""
        for customer in customers
    )
    return f"""
[global.config]
  as = {ASN}
  router-id = "{LISTEN}"
  port = {setup.port}
  local-address-list = ["{LISTEN}"]
[global.apply-policy.config]
  import-policy-list = ["rules"]
  default-import-policy = "accept-route"
{peers}
{sets}
[[policy-definitions]]
  name = "rules"
{statements}
"""
