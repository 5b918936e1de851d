"""vpnctl itself: one policy file per customer, `vpnctl serve`, its API on a unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

from lab.bench.subjects.base import LISTEN, Setup, UnsupportedError, end, spawn, tail
from lab.bench.workload import ASN, announced, rewritten

_SERVICE = {"vpnv4": "l3vpn", "vpls": "vpls", "evpn": "evpn"}
#: Numbers of targets that nobody announces and nobody imports, so that every customer's file is
#: complete and none of its targets is allocated.
_UNHEARD, _UNSPOKEN = 50_000, 70_000
_START_TIMEOUT = 120


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=300)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Changes:
    """Changes of one policy file, by a client that is connected before the clock starts."""

    def __init__(self, path: Path) -> None:
        self._api = _UnixConnection(path)
        self._request = b""

    def prepare(self, path: Path, text: str) -> None:
        """Put a policy file in place, in one step, as an editor does."""
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)
        body = json.dumps({"files": [path.name]}).encode()
        self._request = b"\r\n".join(
            (
                b"POST /v1/apply HTTP/1.1",
                b"Host: localhost",
                b"Content-Type: application/json",
                b"Content-Length: %d" % len(body),
                b"",
                body,
            )
        )
        self._api.connect()

    def change(self) -> dict[str, tuple[float, float]]:
        """Apply what was prepared; the controller's own account: step -> (start, end) in ms."""
        self._api.sock.sendall(self._request)
        reply = http.client.HTTPResponse(self._api.sock, method="POST")
        reply.begin()
        answer: dict[str, Any] = json.loads(reply.read())
        self._api.close()
        if reply.status != 200:
            raise UnsupportedError(f"vpnctl refuses the change: {answer}")
        return {
            step["name"]: (step["start_ms"], step["end_ms"])
            for step in answer["applied"]["timeline"]
        }

    def ready(self) -> bool:
        """Whether the API answers."""
        try:
            self._api.request("GET", "/v1/status")
            reply = self._api.getresponse()
            reply.read()
        except OSError:
            return False
        finally:
            self._api.close()
        return reply.status == 200


@dataclass
class _Running:
    setup: Setup
    process: Popen[bytes]
    settle: float = 0.5
    #: The controller's own account of each change: name of the step -> (start, end) in ms.
    timelines: list[dict[str, tuple[float, float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changes = Changes(self.setup.directory / "api.sock")

    def pids(self) -> Sequence[int]:
        return (self.process.pid, *children(self.process.pid))

    def prepare(self, customer: int, version: int) -> None:
        path = self.setup.directory / "policies" / vpn_file_name(customer)
        self._changes.prepare(path, vpn_file(self.setup, customer, version))

    def change(self) -> None:
        self.timelines.append(self._changes.change())

    def stop(self) -> None:
        end(self.process)


def start_vpnctl(directory: Path, policies: Path) -> Popen[bytes]:
    """The daemon with store, log and ``api.sock`` in a directory, once it answers.

    Raises `UnsupportedError`.
    """
    log = directory / "vpnctl.log"
    with log.open("wb") as output:
        process = spawn(
            [
                *(sys.executable, "-m", "vpnctl"),
                *("--socket", str(directory / "api.sock")),
                *("serve", "--policies", str(policies)),
                *("--store", f"sqlite:///{directory / 'store.sqlite'}"),
            ],
            output,
        )
    changes = Changes(directory / "api.sock")
    deadline = time.monotonic() + _START_TIMEOUT
    while not changes.ready():
        if process.poll() is not None or time.monotonic() > deadline:
            end(process)
            raise UnsupportedError(f"vpnctl does not come up: {tail(log, 20)}")
        time.sleep(0.05)
    return process


@dataclass(frozen=True)
class Vpnctl:
    name = "vpnctl"
    configuration = (
        "vpnctl serve, route reflector, SQLite store on disk; one policy file per customer with "
        "the import target of each sink's site"
    )
    change_includes = (
        "POST /v1/apply of the customer's file on its unix socket (what `vpnctl apply --only FILE` "
        "sends), by a client that is connected: YAML read and checked against all others, "
        "revision stored durably, then the UPDATEs"
    )
    keeps_companions = True

    def start(self, setup: Setup) -> _Running:
        policies = setup.directory / "policies"
        policies.mkdir()
        for name, text in policy_files(setup).items():
            (policies / name).write_text(text)
        return _Running(setup, start_vpnctl(setup.directory, policies))


def policy_files(setup: Setup) -> dict[str, str]:
    """The whole policy directory: ``network.yaml`` and one file per customer."""
    files = {"network.yaml": _network(setup)}
    for customer in range(1, setup.workload.customers + 1):
        files[vpn_file_name(customer)] = vpn_file(setup, customer, 0)
    return files


def vpn_file_name(customer: int) -> str:
    """Of a customer's policy file."""
    return f"c{customer:05}.yaml"


def vpn_file(setup: Setup, customer: int, version: int) -> str:
    """A customer's policy: the sender's site speaks, every sink's site hears."""
    sites = [_site(0, announced(customer), _UNHEARD + customer)]
    target = rewritten(customer, version)
    sites += [_site(number, _UNSPOKEN + customer, target) for number in range(1, len(setup.peers))]
    service = _SERVICE[setup.workload.family]
    return f"vpn: C{customer:05}\nservice: {service}\nsites:\n" + "".join(sites)


def _network(setup: Setup) -> str:
    sites = "\n".join(
        f"  s{number}: {{kind: enterprise, pes: [pe{number}]}}"
        for number in range(len(setup.peers))
    )
    pes = "\n".join(
        f"  pe{number}: {{address: {address}, passive: true, hold_time: {setup.hold_time}, "
        f"families: [{setup.workload.family}]}}"
        for number, address in enumerate(setup.peers)
    )
    return f"""
controller:
  asn: {ASN}
  router_id: 10.255.0.1
  listen: ["{LISTEN}:{setup.port}"]
  pools: {{vlans: 1-4094}}
sites:
{sites}
pes:
{pes}
"""


def _site(number: int, export: int, imported: int) -> str:
    return (
        f"  - {{site: s{number}, targets: {{export: {ASN}:{export}, import: {ASN}:{imported}}}}}\n"
    )


def children(pid: int) -> list[int]:
    """Every descendant of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found
