"""Endpoints on Junos-like routers: how long, beside the routers' own commits, and how much memory.

``python -m lab.bench.provision [--only N] [--quick] [--out FILE]``

A VPN is extended to a site whose PEs are all managed: one, twenty or a hundred of them, each a
NETCONF server of its own over SSH (`vpnctl.lab.junos`).  With one router that commits at once, the
clock runs from the start of the command ``vpnctl extend`` until its PE, which has a BGP session
with the controller and announces its endpoint as soon as its configuration is in force, holds the
route of the VPN's other site; that needs TCP port 179, and so root.
``--quick``: a fifth of the routers, and no marks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncssh

from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from lab.bench.stage import memory_of
from lab.bench.subjects.base import end, spawn
from lab.bench.subjects.vpnctl import children, start_vpnctl
from tests.routing import wire
from tests.support.rawbgp import VPLS as VPLS_PAIR
from tests.support.rawbgp import RawPeer
from vpnctl.cli.client import Client
from vpnctl.cli.settings import Settings
from vpnctl.controller.views import Step
from vpnctl.model import VPLS

_ASN = 65000
_LISTEN, _HQ = "127.117.0.1", "127.117.0.2"
_TARGET = "65000:1101"
#: Seconds that a router's commit takes, for the cases where it does.
_COMMIT_S = 2.0
_COMMITS = 2  # the confirmed one, and the one that confirms
_PREPARING = ("connect", "lock", "load", "diff", "check")


def _address(router: int) -> str:
    return f"127.117.{1 + router // 250}.{1 + router % 250}"


class Bench:
    """One number of routers with one duration of a commit; `rows` are what was found."""

    def __init__(self, routers: int, commit_s: float, runs: int, *, marks: bool) -> None:
        self._count, self._commit_s, self._runs, self._marks = routers, commit_s, runs, marks
        self.rows: list[Row] = []

    def run(self) -> None:
        """Measure; raises `UnsupportedError` where the controller does not come up."""
        with contextlib.ExitStack() as stack:
            where = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vpnctl-bench-")))
            key, told = self._start_routers(where, stack)
            self._write_policies(where / "policies", key, told)
            daemon = start_vpnctl(where, where / "policies")
            stack.callback(end, daemon)
            self._client = Client(Settings(socket=where / "api.sock"))
            if self._commit_s:
                self._provision()
            else:
                self._extend_by_command(where, stack)
            self._memory((daemon.pid, *children(daemon.pid)))

    def _start_routers(
        self, where: Path, stack: contextlib.ExitStack
    ) -> tuple[Path, dict[str, Any]]:
        """The key to log in with, and what the routers tell: ports and fingerprint."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(where / "id")
        (where / "id").chmod(0o600)
        key.write_public_key(where / "id.pub")
        # What every router has before: a port that takes VLANs of any service, and an AS.
        (where / "ground").write_text(
            "set interfaces ge-0/0/1 flexible-vlan-tagging\n"
            "set interfaces ge-0/0/1 encapsulation flexible-ethernet-services\n"
            f"set routing-options autonomous-system {_ASN}\n"
        )
        reading, writing = os.pipe()
        self._said = stack.enter_context(os.fdopen(reading))
        with os.fdopen(writing, "wb") as output:
            routers = spawn(
                [
                    *(sys.executable, "-m", "vpnctl.lab.junos", "--port", "0"),
                    *("--routers", str(self._count), "--commit", str(self._commit_s)),
                    *("--authorized-keys", str(where / "id.pub"), "--host-key", str(where / "h")),
                    *("--config", str(where / "ground")),
                    # Lines that nobody reads would fill the pipe.
                    *([] if self._commit_s else ["--tell"]),
                ],
                output,
            )
        stack.callback(end, routers)
        for line in self._said:
            told = json.loads(line)
            if "ports" in told:  # what is in force before that is what it begins with
                return where / "id", told
        raise SystemExit("the routers do not come up")

    def _write_policies(self, policies: Path, key: Path, told: dict[str, Any]) -> None:
        policies.mkdir()
        names = [f"pe-c{router}" for router in range(self._count)]
        port = 179 if _may_use_bgp_port() else 11790
        pes = [
            f"  {name}: {{address: {_address(router)}, platform: junos-mx, port: ge-0/0/1,"
            f" families: [vpls], passive: {'true' if port == 179 else 'false'},"
            f' netconf: {{user: vpnctl, key: "{key}", address: 127.0.0.1, port: {at},'
            f' host_key: "{told["host_key"]}"}}}}'
            for router, (name, at) in enumerate(zip(names, told["ports"], strict=True))
        ]
        lines = [
            f'controller: {{asn: {_ASN}, router_id: 10.255.0.1, listen: "{_LISTEN}:{port}"}}',
            "sites:",
            "  hq: {kind: enterprise, pes: [pe-hq]}",
            f"  cloud: {{kind: cloud, pes: [{', '.join(names)}]}}",
            "pes:",
            f"  pe-hq: {{address: {_HQ}, passive: true, families: [vpls]}}",
            *pes,
        ]
        (policies / "network.yaml").write_text("\n".join(lines) + "\n")
        (policies / "e1.yaml").write_text(
            f"vpn: E1\nservice: vpls\nsites:\n  - {{site: hq, targets: {_TARGET}}}\n"
        )

    # What is measured

    def _provision(self) -> None:
        """From the first connection to the last router's confirmation, and what is ours of it."""
        walls, ours, phases = [], [], []
        for _ in self._each_run():
            began = time.monotonic()
            applied = self._client.post(
                "extend", {"vpn": "E1", "site": "cloud", "wait_s": 0}, wait_s=600
            )["applied"]
            wall = time.monotonic() - began
            steps = [Step(**step) for step in applied["timeline"]]
            at_routers = [step for step in steps if step.router]
            span = max(s.end_ms for s in at_routers) - min(s.start_ms for s in at_routers)
            walls.append(span / 1000)
            ours.append(wall - _COMMITS * self._commit_s)
            phases.append(_phases(at_routers))
        marks = {20: 5.2, 100: 8.0}
        self._row(
            f"prepare, commit, confirm/{self._count} routers/commit {self._commit_s:g} s",
            walls, "s", marks.get(self._count),
        ).extra = {"phases_s": phases}  # fmt: skip
        self._row(
            f"extend without the routers' commits/{self._count} routers", ours, "s",
            0.5 if self._count == 1 else None,
        )  # fmt: skip

    def _extend_by_command(self, where: Path, stack: contextlib.ExitStack) -> None:
        """From the command to the route at the new PE."""
        if not _may_use_bgp_port():
            self.rows.append(
                Row("extend, command to routes/1 router", "vpnctl", None, "s", note="needs root")
            )
            return
        hq, cloud = (
            stack.enter_context(
                RawPeer(local=at, remote=(_LISTEN, 179), asn=_ASN, families=(VPLS_PAIR,))
            ).connect()
            for at in (_HQ, _address(0))
        )
        hq.wait_established()
        cloud.wait_established()
        update = (wire.reach(VPLS, wire.vpls(1, 1)), wire.BASIC, wire.targets(_TARGET))
        hq.send(wire.update(*update))
        command = [
            *(sys.executable, "-m", "vpnctl", "--socket", str(where / "api.sock")),
            *("extend", "E1", "--site", "cloud", "--wait", "0s", "--yes", "-o", "json"),
        ]
        times = []
        endpoint = wire.vpls(1, 2)
        for _ in range(self._runs):
            route = (wire.reach(VPLS, endpoint), wire.BASIC, wire.targets(self._target()))
            held = len(cloud.updates)
            began = time.monotonic()
            asking = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            self._said.readline()  # it has the endpoint
            cloud.send(wire.update(*route))
            cloud.wait(lambda held=held: len(cloud.updates) > held)  # type: ignore[misc]
            times.append(time.monotonic() - began)
            if asking.wait():
                raise SystemExit("vpnctl extend failed")
            cloud.send(wire.update(wire.unreach(VPLS, endpoint)))
            self._retract()
            self._said.readline()  # it has not
        self._row("extend, command to routes/1 router", times, "s", 1.0)

    def _target(self) -> str:
        """With what the new endpoint is to announce its routes."""
        asked = {"kind": "extend", "vpn": "E1", "site": "cloud"}
        plan = self._client.post("plan", asked, wait_s=60)["plan"]
        (target,) = (
            one["number"]
            for one in plan["allocations"]
            if one["action"] != "release" and one["pool"].startswith("route-target")
        )
        return f"{_ASN}:{target}"

    def _each_run(self) -> Iterator[None]:
        """So many times extended, and retracted in between; the first one is not counted."""
        for _ in range(self._runs):
            yield
            self._retract()

    def _retract(self) -> None:
        self._client.post("retract", {"vpn": "E1", "site": "cloud", "wait_s": 0}, wait_s=600)

    def _memory(self, pids: Sequence[int]) -> None:
        found = memory_of(pids)
        what = f"commit {self._commit_s:g} s"
        row = self._row(
            f"memory of the controller/{self._count} routers/{what}", [found.peak], "MB", 300.0
        )
        row.note = "the highest there was, of all its processes"

    def _row(self, case: str, runs: list[float], unit: str, most: float | None) -> Row:
        figure = statistics.median(runs)
        row = Row(case, "vpnctl", round(figure, 3), unit, runs=[round(one, 3) for one in runs])
        if self._marks and most is not None:
            row.mark, row.holds = f"< {number(most)} {unit}", figure < most
        self.rows.append(row)
        return row


def _may_use_bgp_port() -> bool:
    return os.geteuid() == 0


def _phases(steps: Sequence[Step]) -> dict[str, float]:
    """Seconds of each phase, from its first router's begin to its last router's end."""
    found = {}
    for name, those in (
        ("prepare", _PREPARING),
        ("commit", ("commit",)),
        ("verify", ("verify",)),
        ("confirm", ("confirm",)),
    ):
        of = [step for step in steps if step.name in those]
        found[name] = round((max(s.end_ms for s in of) - min(s.start_ms for s in of)) / 1000, 3)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """1 where a mark is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.bench.provision", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", type=int, action="append", help="this number of routers")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a fifth of the routers, no marks")
    parser.add_argument("--out", type=Path, default=RESULTS / "provision.json")
    asked = parser.parse_args(arguments)
    began_at = commit()
    rows: list[Row] = []
    for routers, commit_s in ((1, 0.0), (1, _COMMIT_S), (20, _COMMIT_S), (100, _COMMIT_S)):
        if asked.only and routers not in asked.only:
            continue
        count = max(1, routers // 5) if asked.quick else routers
        bench = Bench(count, commit_s, 1 if asked.quick else asked.runs, marks=not asked.quick)
        bench.run()
        rows += bench.rows
    body = [(row.case, number(row.figure), row.unit, row.mark) for row in rows]
    print(grid(("case", "vpnctl", "unit", "mark"), body))
    command = shlex.join(["python", "-m", "lab.bench.provision", *(arguments or sys.argv[1:])])
    write(asked.out, rows, command, began_at)
    for row in missing(rows):
        print(f"missed: {row.case}: {number(row.figure)} {row.unit}, mark {row.mark}")
    return 1 if missing(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
