"""A provider's core in network namespaces: the route server, VPLS PEs, and a host behind each.

::

    controller 10.97.0.100 --+
    pe1 10.97.0.1 -----------+-- core (a bridge)
    pe2 10.97.0.2 -----------+
     +-- eth1 -- host
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.daemons import wait_until
from tests.support.frames import Port
from tests.support.namespaces import devices, namespaces
from tests.support.serve import Serve

CONTROLLER = "10.97.0.100"
_UNDERLAY_MTU = "1600"


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


@dataclass
class Pe:
    """A PE, running or not; ``hosts``: namespace of the host at each of its ports."""

    name: str
    number: int
    namespace: str
    hosts: Mapping[str, str]
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    config: str = ""

    @property
    def address(self) -> str:
        return f"10.97.0.{self.number}"

    def vpn(self, name: str, target: int, *, interface: str = "eth1", **more: object) -> str:
        """An entry of ``vpns`` in this PE's file; its VE-ID is the PE's number."""
        place = 1000 * self.number + (100 if interface != "eth1" else 0)
        keys: dict[str, object] = {
            "vpn": name,
            "rd": f"{self.address}:{target}",
            "targets": f"65000:{target}",
            "ve_id": self.number,
            "labels": f"{{base: {place}}}",
            "interfaces": interface,
        }
        return "{" + ", ".join(f"{key}: {value}" for key, value in (keys | more).items()) + "}"

    def write(self, *vpns: str, **more: object) -> None:
        keys: dict[str, object] = {
            "router_id": self.address,
            "asn": 65000,
            "hold_time": 9,
            "neighbors": f"[{{address: {CONTROLLER}, asn: 65000}}]",
        }
        lines = [f"{key}: {value}" for key, value in (keys | more).items()]
        lines += ["vpns:", *(f"  - {vpn}" for vpn in vpns)]
        self.directory.mkdir(exist_ok=True)
        (self.directory / "pe.yaml").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.namespace, sys.executable, "-m"),
                    *("vpnctl.lab.vplspe", str(self.directory / "pe.yaml")),
                    *("--directory", str(self.directory / "run")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        return (self.directory / "log").read_text()[-2000:]

    def stop(self) -> int:
        """End it in order; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)

    def kill_speaker(self) -> None:
        """Kill its ExaBGP."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        (speaker,) = (
            int(child)
            for child in children
            if b"exabgp" in Path(f"/proc/{child}/cmdline").read_bytes()
        )
        os.kill(speaker, signal.SIGKILL)

    def status(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        try:
            return dict(json.loads((self.directory / "run" / "status.json").read_text()))
        except FileNotFoundError:
            return {"sessions": {}, "vpns": {}}

    def reached(self, vpn: str) -> list[int]:
        """The VEs to which there is a pseudowire."""
        found = self.status()["vpns"].get(vpn, {"pseudowires": []})["pseudowires"]
        return [one["ve_id"] for one in found]

    def refused(self, vpn: str) -> list[str]:
        return [one["why"] for one in self.status()["vpns"][vpn]["refused"]]

    def devices(self) -> set[str]:
        """Devices in its namespace that are not the lab's."""
        return devices(self.namespace) - {"eth0", *self.hosts}


def fdb(namespace: str) -> str:
    """Every forwarding entry of the bridges and pseudowires there."""
    done = subprocess.run(
        ["bridge", "-n", namespace, "fdb", "show"], capture_output=True, text=True, check=True
    )
    return done.stdout


@dataclass
class Stage:
    """``start_controller``: starts the route server once more, on the same store."""

    serve: Serve
    pes: dict[str, Pe]
    start_controller: Callable[[], Serve]
    _stack: ExitStack = field(repr=False)

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Until a condition holds; if it never does, what everybody said is in the error."""
        try:
            wait_until(condition, what, 60.0)
        except AssertionError as error:
            said = [pe.said() for pe in self.pes.values() if pe.process]
            states = [pe.status() for pe in self.pes.values() if pe.process]
            raise AssertionError("\n".join(map(str, [error, *said, *states]))) from error

    def until_reached(self, vpn: str, wanted: Mapping[str, list[int]]) -> None:
        self.wait(
            f"the pseudowires {dict(wanted)} of {vpn}",
            lambda: {name: self.pes[name].reached(vpn) for name in wanted} == wanted,
        )

    def port(self, pe: str, interface: str = "eth1", mac: bytes = b"") -> Port:
        """The host behind a PE's port."""
        number = self.pes[pe].number
        return self._stack.enter_context(
            Port(self.pes[pe].hosts[interface], "eth0", mac or bytes((2, 0, 0, 0, 0, number)))
        )


def network(pes: int, called: tuple[str, ...]) -> str:
    lines = [
        f"controller: {{asn: 65000, router_id: {CONTROLLER}, listen: {CONTROLLER}, "
        'pools: {route_targets: "65000:103-110"}}',
        "sites:",
        *(f"  s{n}: {{kind: enterprise, pes: [pe{n}]}}" for n in range(1, pes + 1)),
        "pes:",
        *(
            f"  pe{n}: {{address: 10.97.0.{n}, platform: exabgp, hold_time: 9, "
            f"passive: {str(f'pe{n}' not in called).lower()}}}"
            for n in range(1, pes + 1)
        ),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def stage(
    directory: Path,
    vpns: Mapping[str, str],
    *,
    pes: int,
    ports: tuple[str, ...] = ("eth1",),
    called: tuple[str, ...] = (),
) -> Iterator[Stage]:
    """``vpns``: file name to policy; ``called``: PEs to which the controller connects.  The PEs
    are not started.
    """
    policies = directory / "policies"
    policies.mkdir()
    (policies / "network.yaml").write_text(network(pes, called))
    for name, text in vpns.items():
        (policies / name).write_text(text)
    with ExitStack() as stack:
        core, controller, *rest = stack.enter_context(namespaces(2 + pes * (1 + len(ports))))
        ip("-n", core, "link", "add", "br0", "type", "bridge")
        ip("-n", core, "link", "set", "br0", "up", "mtu", _UNDERLAY_MTU)
        _join(core, controller, "c", f"{CONTROLLER}/24")
        found = {}
        for number in range(1, pes + 1):
            namespace, *hosts = (rest.pop(0) for _ in range(1 + len(ports)))
            name = f"pe{number}"
            _join(core, namespace, name, f"10.97.0.{number}/24")
            for port, host in zip(ports, hosts, strict=True):
                ip("-n", namespace, "link", "add", port, "type", "veth", "peer", "name", "eth0",
                   "netns", host)  # fmt: skip
                ip("-n", namespace, "link", "set", port, "up")
                ip("-n", host, "link", "set", "eth0", "up")
            found[name] = Pe(
                name, number, namespace, dict(zip(ports, hosts, strict=True)), directory / name
            )
        within = ("ip", "netns", "exec", controller)

        def start() -> Serve:
            return stack.enter_context(
                Serve(policies, f"sqlite:///{directory / 'store'}", directory, within)
            )

        try:
            yield Stage(start(), found, start, stack)
        finally:
            for pe in found.values():
                if pe.process is not None and pe.process.poll() is None:
                    pe.kill()


def _join(core: str, namespace: str, port: str, address: str) -> None:
    ip("-n", core, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    ip("-n", core, "link", "set", port, "up", "mtu", _UNDERLAY_MTU, "master", "br0")
    ip("-n", namespace, "link", "set", "eth0", "up", "mtu", _UNDERLAY_MTU)
    ip("-n", namespace, "address", "add", address, "dev", "eth0")
