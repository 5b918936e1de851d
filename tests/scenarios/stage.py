"""A story's lab: real PEs, the real controller, and hosts that ping and talk."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

from tests.scenarios.traffic.ping import INTERVAL, Ping, pinging
from tests.scenarios.traffic.talk import Talk, talking
from tests.support.daemons import wait_until
from tests.support.lab import ROOT, RunningLab, Sniffer
from vpnctl.bgp.door import knock
from vpnctl.lab import build, lifecycle, processes
from vpnctl.lab.lab import Lab

#: The paper's testbed.
CLOUDNET = ROOT / "lab" / "cloudnet.clab.yml"
#: What the nodes of the stories' own topologies run, bound as ``../nodes``.
_NODES = Path(__file__).parent / "nodes"
#: Where a controller sees its policy.
_POLICIES = "/policies"


class Stage(RunningLab):
    """A lab that is up, every PE of which has announced something."""

    def __init__(self, lab: Lab, policies: Path, directory: Path) -> None:
        super().__init__(lab, policies)
        self._directory = directory
        self._numbers = itertools.count(1)

    # Customers

    def pinging(
        self, node: str, address: str, *, interval: float = INTERVAL, word: str = "story"
    ) -> AbstractContextManager[Ping]:
        """A ping that runs meanwhile; see `tests.scenarios.traffic.ping`."""
        shell = self.lab.shell(node)
        return pinging(shell, address, self._log(), interval=interval, word=word)

    def talking(self, caller: str, server: str, address: str) -> AbstractContextManager[Talk]:
        """A TCP connection that is open meanwhile; ``address`` is the server's."""
        return talking(self.lab.shell(caller), self.lab.shell(server), address, self._log())

    def _log(self) -> Path:
        return self._directory / f"traffic-{next(self._numbers)}"

    # The operator

    def says(self, *words: str) -> float:
        """Give a command of vpnctl; when it returned."""
        self.vpnctl(*words)
        return time.time()

    def extend(self, vpn: str, site: str) -> float:
        """``vpnctl extend``; when it returned."""
        return self.says("extend", vpn, "--site", site, "--yes")

    def retract(self, vpn: str, site: str) -> float:
        """``vpnctl retract``; when it returned."""
        return self.says("retract", vpn, "--site", site, "--yes")

    def write(self, file: str, text: str) -> None:
        """Edit a policy file; nothing changes before ``vpnctl apply``."""
        (self.policies / file).write_text(text)

    def durable(self) -> float:
        """When the latest revision was durable, just before the UPDATEs went out."""
        return datetime.fromisoformat(
            self.client.get("revisions")["revisions"][0]["at"]
        ).timestamp()

    def end_sessions(self) -> None:
        """The process that holds the BGP sessions for a controller that is gone ends, too."""
        (socket,) = self.lab.controller_sockets().values()
        found = knock(Path(f"{socket}.bgp"))
        assert found is not None
        sock, pid = found
        holder = processes.process(pid)
        os.kill(pid, signal.SIGKILL)
        sock.close()
        wait_until(lambda: processes.process(pid) != holder, "the sessions' process to end")

    # The routers

    def remotes(self, pe: str) -> set[str]:
        """The PEs to which a PE forwards or floods anything."""
        done = self.run(pe, "bridge", "-json", "fdb", "show")
        assert done.returncode == 0, done.stderr
        return {entry["dst"] for entry in json.loads(done.stdout) if "dst" in entry}

    def wait_remotes(self, pe: str, *addresses: str) -> None:
        """Wait until a PE forwards and floods to exactly these PEs."""
        wait_until(
            lambda: self.remotes(pe) == set(addresses),
            f"{pe} to forward to {', '.join(addresses) or 'nobody'}",
        )

    def wait_away(self, pe: str, mac: str) -> None:
        """Wait until a PE knows this MAC, and as being behind another PE."""

        def away() -> bool:
            entries = json.loads(self.run(pe, "bridge", "-json", "fdb", "show").stdout)
            there = [entry for entry in entries if entry["mac"] == mac]
            return bool(there) and all(entry["ifname"].startswith("vxlan") for entry in there)

        wait_until(away, f"{mac} to be behind another PE for {pe}")

    def flows(self, pe: str, vpn: str) -> list[str]:
        """The flows of a VPN that a PE's agent enforces."""
        done = self.run(pe, "cat", "/run/vpnctl/pe/status.json")
        found: list[str] = json.loads(done.stdout)["vpns"][vpn]["flows"]
        return found

    def evpn_targets(self, pe: str) -> dict[str, set[str]]:
        """Route targets of the EVPN routes that an FRR PE holds, by their route distinguisher."""
        found: dict[str, set[str]] = {}
        for distinguisher, routes in json.loads(self.vtysh(pe, "show bgp l2vpn evpn json")).items():
            for route in routes.values() if isinstance(routes, dict) else ():
                for path in route["paths"] if isinstance(route, dict) else ():
                    words = path["extendedCommunity"]["string"].split()
                    targets = {word[3:] for word in words if word.startswith("RT:")}
                    found.setdefault(distinguisher, set()).update(targets)
        return found

    def power_off(self, pe: str) -> None:
        """A PE of `nodes/evpn-pe` loses its power: nothing is said to anybody."""
        for interface in self._interfaces(pe):
            self._do(pe, "ip", "link", "set", interface, "down")
        self.end(pe)
        for device in self._devices(pe):
            self._do(pe, "ip", "link", "delete", device)

    def power_on(self, pe: str) -> None:
        """It boots: daemons, interfaces, bridges."""
        for interface in self._interfaces(pe):
            self._do(pe, "ip", "link", "set", interface, "up")
        self.start(pe)
        for command in self.node(pe).execs:
            self._do(pe, *command)

    def _interfaces(self, node: str) -> list[str]:
        return [
            end.interface
            for link in self.lab.topology.links
            for end in link.ends
            if end.node == node
        ]

    def _devices(self, pe: str) -> list[str]:
        done = self.run(pe, "ip", "-json", "link", "show")
        names = [device["ifname"] for device in json.loads(done.stdout)]
        return [name for name in names if name.startswith(("br", "vxlan"))]

    def _do(self, node: str, *command: str) -> None:
        done = self.run(node, *command)
        assert done.returncode == 0, done.stdout + done.stderr


def foreign_frames(sniffer: Sniffer, *macs: str) -> list[bytes]:
    """The frames from one of these addresses."""
    wanted = {bytes.fromhex(mac.replace(":", "")) for mac in macs}
    return [frame.octets for frame in sniffer.frames() if frame.octets[6:12] in wanted]


#: Builds a lab from a topology file; at the end it is down.
Staging = Callable[[Path], AbstractContextManager[Stage]]


@contextmanager
def staged(topology: Path, directory: Path) -> Iterator[Stage]:
    """The lab of a topology file, from a copy of what lies beside it; its controller edits that."""
    place = directory / topology.parent.name
    shutil.copytree(topology.parent, place, ignore=shutil.ignore_patterns("bench", "__pycache__"))
    shutil.copytree(_NODES, directory / "nodes", dirs_exist_ok=True)
    text = topology.read_text()
    # Somebody may have this lab up.
    text = re.sub(r"(?m)^name: (\S+)$", rf"name: \1-{os.getpid()}", text)
    running = build.up(build.Source(topology.name, text, place), lambda *_: None)
    (policies,) = (
        bind.source
        for node in running.topology.nodes.values()
        for bind in node.binds
        if bind.target == _POLICIES
    )
    try:
        stage = Stage(running, place / policies, directory)
        stage.wait_routes()
        yield stage
    finally:
        lifecycle.down(running.name)
