"""FRR's bgpd: one route-map entry per customer, in groups that a first route-map chooses among."""

from __future__ import annotations

import socket
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

_FAMILY = {"vpnv4": "ipv4 vpn", "evpn": "l2vpn evpn"}
#: Customers per group: a route-map is searched entry by entry, so two levels of 32 beat one of
#: a thousand.
_GROUP = 32
_REPLY_TIMEOUT = 300


@dataclass
class _Running:
    setup: Setup
    where: str
    process: Popen[bytes]
    link: socket.socket
    # bgpd gathers peers for a second (coalesce-time) before it sends a new one its table.
    settle: float = 1.5

    def __post_init__(self) -> None:
        self._commands: tuple[str, ...] = ()

    def pids(self) -> Sequence[int]:
        return (self.process.pid,)

    def prepare(self, customer: int, version: int) -> None:
        family = _FAMILY[self.setup.workload.family]
        again = f"{SENDER} soft in" if self.where == "in" else "* soft out"
        self._commands = (
            "configure terminal",
            f"route-map {_group(customer)} permit {customer}",
            f"set extcommunity rt {ASN}:{rewritten(customer, version)}",
            "commit",
            "end",
            f"clear bgp {family} {again}",
        )

    def change(self) -> None:
        for command in self._commands:
            _tell(self.link, command)

    def stop(self) -> None:
        self.link.close()
        end(self.process)


@dataclass(frozen=True)
class Frr:
    """``where``: ``in`` (with soft-reconfiguration inbound) or ``out`` of every client."""

    where: str

    @property
    def name(self) -> str:
        return "frr" if self.where == "in" else f"frr-{self.where}"

    @property
    def configuration(self) -> str:
        place = (
            "route-map in, soft-reconfiguration inbound"
            if self.where == "in"
            else "route-map out of every client, allow-outbound-policy"
        )
        return (
            f"FRR bgpd alone (no zebra, -Z -n), route reflector; {place}; one entry and one "
            f"extcommunity-list per customer, in groups of {_GROUP} entered by `call`; "
            "`set extcommunity none` + `rt` (other extended communities are lost); "
            "--tcli, without which 1,000 rules take longer to load than our bound"
        )

    change_includes = (
        "`route-map`, `set extcommunity rt`, `commit`, `clear ... soft` on its vty socket; "
        "delay-timer 0"
    )
    keeps_companions = False

    def start(self, setup: Setup) -> _Running:
        if setup.workload.family not in _FAMILY:
            raise UnsupportedError(f"FRR has no {setup.workload.family}")
        bgpd = program("bgpd", "/usr/lib/frr")
        path = setup.directory / "bgpd.conf"
        path.write_text(_configuration(setup, self.where))
        log = setup.directory / "bgpd.log"
        with log.open("wb") as output:
            process = spawn(
                [
                    bgpd,
                    *("--tcli", "-S", "-Z", "-n", "-P", "0", "-l", LISTEN, "-p", str(setup.port)),
                    *("-f", str(path), "-i", str(setup.directory / "bgpd.pid")),
                    *("--vty_socket", str(setup.directory), "--log", "stdout"),
                    *("--log-level", "errors"),
                ],
                output,
            )
        vty = setup.directory / "bgpd.vty"
        deadline = time.monotonic() + 60
        while not vty.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                end(process)
                raise UnsupportedError(f"bgpd does not come up: {tail(log)}")
            time.sleep(0.05)
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(_REPLY_TIMEOUT)
        link.connect(str(vty))
        _tell(link, "enable")
        return _Running(setup, self.where, process, link)


def _group(customer: int) -> str:
    """Name of a group's extcommunity-list and of its route-map."""
    return f"G{(customer - 1) // _GROUP}"


def _configuration(setup: Setup, where: str) -> str:
    customers = range(1, setup.workload.customers + 1)
    lists = "\n".join(
        f"bgp extcommunity-list standard C{customer} permit rt {ASN}:{announced(customer)}\n"
        f"bgp extcommunity-list standard {_group(customer)} permit rt {ASN}:{announced(customer)}"
        for customer in customers
    )
    rules = "\n".join(
        f"route-map {_group(customer)} permit {customer}\n"
        f" match extcommunity C{customer}\n"
        " set extcommunity none\n"
        f" set extcommunity rt {ASN}:{rewritten(customer)}\n!"
        for customer in customers
    )
    groups = "\n".join(
        f"route-map RULES permit {number}\n match extcommunity {group}\n call {group}\n!"
        for number, group in enumerate(dict.fromkeys(map(_group, customers)), start=1)
    )
    peers = "\n".join(f" neighbor {address} peer-group C" for address in setup.peers)
    policy = (
        "neighbor C soft-reconfiguration inbound\n  neighbor C route-map RULES in"
        if where == "in"
        else "neighbor C route-map RULES out"
    )
    return f"""
{lists}
{rules}
{groups}
route-map RULES permit 65535
!
bgp route-map delay-timer 0
router bgp {ASN}
 bgp router-id {LISTEN}
 no bgp default ipv4-unicast
 bgp route-reflector allow-outbound-policy
 neighbor C peer-group
 neighbor C remote-as {ASN}
 neighbor C passive
 neighbor C timers {max(1, setup.hold_time // 3)} {setup.hold_time}
{peers}
 address-family {_FAMILY[setup.workload.family]}
  neighbor C activate
  neighbor C route-reflector-client
  {policy}
"""


def _tell(link: socket.socket, command: str) -> None:
    """One vty command; its reply ends with three zero octets and a result code."""
    link.sendall(command.encode() + b"\0")
    reply = b""
    while len(reply) < 4 or reply[-4:-1] != b"\0\0\0":
        chunk = link.recv(4096)
        if not chunk:
            raise UnsupportedError(f"bgpd closed its vty socket after {command!r}")
        reply += chunk
    if reply[-1]:
        text = reply[:-4].decode(errors="replace").strip()
        raise UnsupportedError(f"bgpd refuses {command!r}: {text or reply[-1]}")
