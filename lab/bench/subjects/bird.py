"""BIRD 2: a filter that looks every target up in one ``case``."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from lab.bench.subjects.base import LISTEN, Setup, UnsupportedError, end, program, spawn, tail
from lab.bench.workload import ASN, announced, rewritten

_REPLY_TIMEOUT = 300
#: Every 5 ms for two seconds.
_WAKE_UPS = 400


@dataclass
class _Running:
    setup: Setup
    where: str
    process: Popen[bytes]
    versions: dict[int, int] = field(default_factory=dict)
    settle: float = 0.5

    def pids(self) -> Sequence[int]:
        return (self.process.pid,)

    def prepare(self, customer: int, version: int) -> None:
        self.versions[customer] = version
        (self.setup.directory / "bird.conf").write_text(
            _configuration(self.setup, self.where, self.versions)
        )

    def change(self) -> None:
        link = _control(self.setup.directory)
        link.sendall(b"configure\n")
        reply = _until(link, (b"0003", b"0004", b"0018", b"8", b"9"))
        if b"\n8" in reply or b"\n9" in reply:
            link.close()
            raise UnsupportedError(f"bird refuses its configuration: {reply.decode()}")
        threading.Thread(target=_keep_awake, args=(link,), daemon=True).start()

    def stop(self) -> None:
        end(self.process)


@dataclass(frozen=True)
class Bird:
    """``where``: ``import`` (with import table, the honest best) or ``export``."""

    where: str

    @property
    def name(self) -> str:
        return "bird" if self.where == "import" else f"bird-{self.where}"

    @property
    def configuration(self) -> str:
        place = (
            "import filter, import table on" if self.where == "import" else "export filter per peer"
        )
        return f"BIRD 2, route reflector; {place}; rules in one `case` over the targets"

    change_includes = (
        "`configure` on its control socket: reads and compares the whole file; woken every 5 ms, "
        "as its event loop may sleep 3 s with work at hand"
    )
    keeps_companions = True

    def start(self, setup: Setup) -> _Running:
        if setup.workload.family != "vpnv4":
            raise UnsupportedError(f"BIRD 2.0 has no {setup.workload.family}")
        path = setup.directory / "bird.conf"
        path.write_text(_configuration(setup, self.where, {}))
        log = setup.directory / "bird.log"
        with log.open("wb") as output:
            process = spawn(
                [
                    program("bird", "/usr/sbin"),
                    *("-f", "-c", str(path)),
                    *("-s", str(setup.directory / "bird.ctl")),
                    *("-P", str(setup.directory / "bird.pid")),
                ],
                output,
            )
        for _ in range(300):
            if process.poll() is not None:
                raise UnsupportedError(f"bird ended: {tail(log)}")
            if (setup.directory / "bird.ctl").exists():
                break
            time.sleep(0.05)
        return _Running(setup, self.where, process)


def _configuration(setup: Setup, where: str, versions: dict[int, int]) -> str:
    rules = "\n".join(
        f"    (rt, {ASN}, {announced(customer)}): "
        "{ bgp_ext_community.delete(c); "
        f"bgp_ext_community.add((rt, {ASN}, {rewritten(customer, versions.get(customer, 0))})); }}"
        for customer in range(1, setup.workload.customers + 1)
    )
    if where == "import":
        channel = "import table on; import filter rt_rules; export all;"
    else:
        channel = "import all; export filter rt_rules;"
    peers = "\n".join(
        f"protocol bgp p{number} from reflected {{ neighbor {address} as {ASN}; }}"
        for number, address in enumerate(setup.peers)
    )
    return f"""
router id {LISTEN};
protocol device {{}}
vpn4 table rib;
filter rt_rules {{
  for ec c in bgp_ext_community do
  case c {{
{rules}
  }}
  accept;
}}
template bgp reflected {{
  local {LISTEN} port {setup.port} as {ASN};
  rr client;
  multihop;
  passive;
  hold time {setup.hold_time};
  vpn4 mpls {{ table rib; next hop keep; {channel} }};
}}
{peers}
"""


def _control(directory: Path) -> socket.socket:
    """The socket that ``birdc`` uses, greeting read."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(_REPLY_TIMEOUT)
    link.connect(str(directory / "bird.ctl"))
    _until(link, (b"0001",))
    return link


def _keep_awake(link: socket.socket) -> None:
    """Ask for its status again and again while a change is under way.

    BIRD's event loop may sleep for up to 3 s with work at hand; anything that comes in wakes it.
    """
    with link, contextlib.suppress(OSError):
        for _ in range(_WAKE_UPS):
            time.sleep(0.005)
            link.sendall(b"show status\n")
            _until(link, (b"0013", b"8", b"9"))


def _until(link: socket.socket, codes: tuple[bytes, ...]) -> bytes:
    """Read lines until one begins with a final code."""
    reply = b"\n"
    while not any(b"\n" + code in reply for code in codes):
        chunk = link.recv(4096)
        if not chunk:
            break
        reply += chunk
    return reply
