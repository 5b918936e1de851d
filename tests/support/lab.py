"""A lab for a test: real routers in namespaces, with everything a story does to them.

::

    @pytest.mark.daemon
    def test_stitch(lab: LabFactory) -> None:
        with lab("lab/cloudnet.clab.yml") as net:
            assert not net.ping("e1-host", "10.1.0.3")
            net.wait_routes()
            net.vpnctl("extend", "E1", "--site", "cloud2", "--yes")
            net.wait_ping("e1-host", "10.1.0.3")

A story's ``conftest.py`` imports the fixture: ``from tests.support.lab import lab as lab``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.daemons import require, wait_until
from vpnctl.cli.client import Client
from vpnctl.cli.settings import Settings
from vpnctl.errors import VpnctlError
from vpnctl.lab import build, lifecycle, processes, sessions, state
from vpnctl.lab.frr import installed as frr_is_installed
from vpnctl.lab.lab import Lab
from vpnctl.lab.namespaces import within
from vpnctl.lab.wan.link import WanLink

ROOT = Path(__file__).parent.parent.parent
_ETH_P_ALL = 3
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35

#: A topology file of the project (a path from its root), or a topology as a value.
Topology = str | Path | Mapping[str, Any]
#: A policy directory to copy, or its files as text by name.
Policy = str | Path | Mapping[str, str]


@dataclass(frozen=True)
class Frame:
    """A frame as it was seen; ``time``: seconds since the epoch, by the kernel."""

    time: float
    octets: bytes


class Sniffer:
    """Every frame at one interface from now on, in and out."""

    def __init__(self, namespace: str, interface: str) -> None:
        with within(namespace):
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)
            )
        self._socket.bind((interface, _ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        self._seen: list[Frame] = []

    def frames(self) -> Sequence[Frame]:
        """All frames so far, in order."""
        with contextlib.suppress(BlockingIOError):
            while True:
                octets, ancillary, _, _ = self._socket.recvmsg(65536, 64)
                seconds, nanoseconds = struct.unpack("ll", ancillary[0][2][:16])
                self._seen.append(Frame(seconds + nanoseconds / 1e9, octets))
        return tuple(self._seen)

    def close(self) -> None:
        self._socket.close()


class RunningLab:
    """A lab that is up; ``policies`` is its controller's policy directory."""

    def __init__(self, lab: Lab, policies: Path) -> None:
        self.lab = lab
        self.policies = policies

    # At a node

    def run(
        self, node: str, *command: str, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a program at a node to its end."""
        return self.lab.shell(node).run(command, timeout=timeout)

    def popen(self, node: str, *command: str, **how: Any) -> subprocess.Popen[Any]:
        """Start a program at a node; keywords as of `vpnctl.lab.enter.Shell.popen`."""
        return self.lab.shell(node).popen(command, **how)

    def ping(self, node: str, address: str, *, count: int = 3) -> bool:
        """Whether any of some echo requests, a tenth of a second apart, is answered."""
        command = ("ping", "-c", str(count), "-i", "0.1", "-W", "1", address)
        return self.run(node, *command).returncode == 0

    def wait_ping(self, node: str, address: str) -> None:
        """Wait until a ping is answered."""
        wait_until(lambda: self.ping(node, address, count=1), f"{address} to answer {node}")

    def wait_silence(self, node: str, address: str) -> None:
        """Wait until a ping is not answered any more."""
        wait_until(lambda: not self.ping(node, address, count=1), f"{address} to fall silent")

    def vtysh(self, node: str, *commands: str) -> str:
        """What an FRR node answers."""
        done = self.run(node, "vtysh", *(part for one in commands for part in ("-c", one)))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def sniff(self, node: str, interface: str) -> Iterator[Sniffer]:
        """Look at every frame of an interface."""
        sniffer = Sniffer(self.lab.layout.namespace(node), interface)
        try:
            yield sniffer
        finally:
            sniffer.close()

    # The controller

    def _controller(self) -> tuple[str, Path]:
        ((name, path),) = self.lab.controller_sockets().items()
        return name, path

    @property
    def client(self) -> Client:
        """The controller's API."""
        return Client(Settings(self._controller()[1]))

    def vpnctl(self, *words: str) -> str:
        """What a command says, as the operator gives it on the host."""
        done = subprocess.run(
            [sys.executable, "-m", "vpnctl", "--socket", str(self._controller()[1]), *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def change(self, kind: str, **body: Any) -> dict[str, Any]:
        """Make a change by the API, without a command's start; the answer's ``applied``."""
        answer = self.client.post(kind, {"author": "ada", **body}, wait_s=10.0)
        return dict(answer["applied"])

    def states(self) -> dict[str, str]:
        """The state of each PE's session, as the controller has it; empty while it is away."""
        try:
            found = self.client.get("peers")["peers"]
        except VpnctlError:
            return {}
        return {peer["name"]: peer["state"] for peer in found}

    def wait_established(self) -> None:
        """Wait until every session is established."""

        def established() -> bool:
            states = self.states()
            return bool(states) and set(states.values()) == {"established"}

        wait_until(established, "every session to be established")

    def wait_routes(self) -> None:
        """Wait until every PE has announced something."""
        sessions.wait_routes(self.lab)

    def wait_lost(self, pe: str) -> None:
        """Wait until the controller has lost a PE's session."""

        def lost() -> bool:
            return self.states().get(pe, "established") != "established"

        wait_until(lost, f"{pe}'s session to be lost")

    # What befalls a node or a link

    def programs(self, node: str) -> dict[str, processes.Process]:
        """What the runner started at a node and still runs, by name; of two the later one."""
        self.node(node)
        return {
            each.program: each.process
            for each in state.started(self.lab.layout)
            if each.node == node and processes.process(each.process.pid) == each.process
        }

    def node(self, name: str) -> Any:
        return self.lab.node(name)

    def end(self, node: str, *programs: str, number: int = signal.SIGKILL) -> None:
        """Signal programs of a node (all but WAN relays, unless named) and wait for their end."""
        running = self.programs(node)
        chosen = programs or tuple(name for name in running if not name.startswith("wan "))
        for name in chosen:
            os.kill(running[name].pid, number)
        for name in chosen:
            wait_until(
                lambda name=name: processes.process(running[name].pid) != running[name],
                f"{name} at {node} to end",
            )

    def start(self, node: str) -> None:
        """Start what a node runs, again."""
        build.start_programs(self.lab, node)

    def wan(self, name: str) -> WanLink:
        """A WAN link: `change`, `cut`, `heal`, `status`."""
        return self.lab.wan(name)


LabFactory = Callable[..., AbstractContextManager[RunningLab]]


def require_lab() -> None:
    """Skip the test unless labs can be built here."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not frr_is_installed():
        pytest.skip("not installed: frr")
    require("ip", "ping")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabFactory]:
    """Builds labs: ``lab(topology, policy=None)``; skips where root or FRR is missing."""
    require_lab()
    # Sockets lie below: a test's own directory has too long a path for them.
    with tempfile.TemporaryDirectory(prefix="vl-") as base:
        monkeypatch.setenv("VPNCTL_LAB_DIR", base)
        yield lambda topology, policy=None: _running(tmp_path, topology, policy)


@contextmanager
def _running(
    directory: Path, topology: Topology, policy: Policy | None = None
) -> Iterator[RunningLab]:
    source, policies = write_lab(directory, topology, policy)
    running = build.up(source, lambda *_: None)
    try:
        yield RunningLab(running, policies)
    finally:
        lifecycle.down(running.name)


def write_lab(
    directory: Path, topology: Topology, policy: Policy | None = None
) -> tuple[build.Source, Path]:
    """A topology, what it needs of the project's ``lab/``, and its policy, in ``directory``.

    Without a policy, the one that the topology binds.
    """
    shutil.copytree(ROOT / "lab", directory, dirs_exist_ok=True, ignore=_not_needed)
    if isinstance(topology, Mapping):
        text, file = yaml.safe_dump(dict(topology), sort_keys=False), "topology.clab.yml"
    else:
        path = ROOT / topology
        text, file = path.read_text(), path.name
    (directory / file).write_text(text)
    bound = _policies_of(text)
    policies = directory / (bound or "policies")
    if policy is not None:
        shutil.rmtree(policies, ignore_errors=True)
        if isinstance(policy, Mapping):
            policies.mkdir(parents=True)
            for name, content in policy.items():
                (policies / name).write_text(content)
        else:
            shutil.copytree(ROOT / policy, policies)
    return build.Source(file, text, directory), policies


def _not_needed(_directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("bench", "__pycache__")]


def _policies_of(text: str) -> str:
    """What the node with ``vpnctl serve`` sees as ``/policies``."""
    for node in yaml.safe_load(text)["topology"]["nodes"].values():
        for bind in (node or {}).get("binds", ()):
            source, _, target = bind.partition(":")
            if target.partition(":")[0] == "/policies":
                return str(source)
    return ""
