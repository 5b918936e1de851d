"""Other people's BGP daemons for tests: GoBGP, FRR's bgpd, stock ExaBGP.

Each is a context manager that writes a configuration into a directory of its own, starts the
daemon on a loopback address and unprivileged ports, waits until it answers, and ends it by its
process id::

    with frr(tmp_path, address="127.0.0.3", port=1790, asn=65001, router_id="10.255.0.3",
             peers=[DaemonPeer("127.0.0.1", 65000, port=1790)]) as bgpd:
        bgpd.wait_established("127.0.0.1")

A test that needs one asks `require` first, which skips it with the reason when it is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.loopback import free_port
from tests.support.rawbgp import ALL_FAMILIES

FRR_BGPD = "/usr/lib/frr/bgpd"
#: Seconds until waiting for a daemon is given up.
PATIENCE = 40.0

_GOBGP_FAMILIES = {(1, 128): "l3vpn-ipv4-unicast", (2, 128): "l3vpn-ipv6-unicast"}
_GOBGP_FAMILIES |= {(25, 65): "l2vpn-vpls", (25, 70): "l2vpn-evpn", (1, 132): "rtc"}
_GOBGP_FAMILIES |= {(1, 133): "ipv4-flowspec", (2, 133): "ipv6-flowspec"}
_GOBGP_FAMILIES |= {(1, 134): "l3vpn-ipv4-flowspec", (2, 134): "l3vpn-ipv6-flowspec"}
_FRR_FAMILIES = {(1, 128): "ipv4 vpn", (2, 128): "ipv6 vpn", (25, 70): "l2vpn evpn"}
_FRR_FAMILIES |= {(1, 133): "ipv4 flowspec", (2, 133): "ipv6 flowspec"}
_EXABGP_FAMILIES = {(1, 128): "ipv4 mpls-vpn", (2, 128): "ipv6 mpls-vpn"}
_EXABGP_FAMILIES |= {(25, 65): "l2vpn vpls", (25, 70): "l2vpn evpn"}
_EXABGP_FAMILIES |= {(1, 133): "ipv4 flow", (2, 133): "ipv6 flow"}
_EXABGP_FAMILIES |= {(1, 134): "ipv4 flow-vpn", (2, 134): "ipv6 flow-vpn"}


@dataclass(frozen=True)
class DaemonPeer:
    """A peer of the daemon; ``port``: where to connect, unless ``passive``.

    ``password``: key of TCP MD5; ``ttl_security``: RFC 5082 with one hop; ``paths``: as many to
    one destination are sent, and any are taken (RFC 7911), of GoBGP alone; ``restart``: seconds
    of graceful restart and long-lived graceful restart, and ``notification``: routes outlive
    NOTIFICATIONs (RFC 8538), likewise.
    """

    address: str
    asn: int
    port: int = 179
    passive: bool = False
    families: tuple[tuple[int, int], ...] = ALL_FAMILIES
    hold_time: int = 90
    password: str = ""
    ttl_security: bool = False
    paths: int = 0
    restart: tuple[int, int] | None = None
    notification: bool = False


def require(*programs: str) -> None:
    """Skip the test unless all of these programs are there."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def wait_until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Ask again and again what another process can only be asked about."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(0.05)


@dataclass
class Daemon:
    """A running daemon; ``log`` holds what it prints."""

    process: subprocess.Popen[bytes]
    directory: Path
    log: Path

    def check(self) -> None:
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}:\n{self.log.read_text()}")


@contextmanager
def _running(command: Sequence[str], directory: Path, **environment: str) -> Iterator[Daemon]:
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        yield Daemon(process, directory, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


# ------------------------------------------------------------------------------------------ GoBGP


@dataclass
class GoBgp(Daemon):
    """``gobgpd``; `cli` is its command line."""

    address: str
    api_port: int

    def cli(self, *arguments: str) -> str:
        result = _run("gobgp", "-u", self.address, "-p", str(self.api_port), *arguments)
        if result.returncode != 0:
            raise AssertionError(f"gobgp {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout

    def established(self, peer: str) -> bool:
        self.check()
        neighbor = json.loads(self.cli("neighbor", peer, "-j"))
        return bool(neighbor["state"].get("session_state") == 6)

    def wait_established(self, peer: str) -> None:
        wait_until(lambda: self.established(peer), f"GoBGP's session with {peer}")

    def rib(self, family: str) -> dict[str, Any]:
        """``family`` as gobgp's ``-a`` wants it: vpnv4, vpnv6, evpn, vpls; keyed by NLRI."""
        found = json.loads(self.cli("global", "rib", "-a", family, "-j") or "{}")
        return dict(found or {})


@contextmanager
def gobgp(
    directory: Path,
    *,
    address: str,
    port: int,
    asn: int,
    router_id: str,
    peers: Sequence[DaemonPeer],
    idle: int = 1,
) -> Iterator[GoBgp]:
    """``idle``: seconds that it stays away after a reset."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        "[global.config]",
        f'as = {asn}\nrouter-id = "{router_id}"\nport = {port}',
        f'local-address-list = ["{address}"]',
    ]
    for peer in peers:
        lines += [
            "[[neighbors]]",
            f'[neighbors.config]\nneighbor-address = "{peer.address}"\npeer-as = {peer.asn}',
            f'auth-password = "{peer.password}"' if peer.password else "",
            f"[neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = {idle}",
            f"hold-time = {peer.hold_time}\nkeepalive-interval = {peer.hold_time // 3}",
            f'[neighbors.transport.config]\nlocal-address = "{address}"',
            f"remote-port = {peer.port}\npassive-mode = {str(peer.passive).lower()}",
        ]
        if peer.restart:
            lines.append("[neighbors.graceful-restart.config]\nenabled = true")
            lines.append(f"restart-time = {peer.restart[0]}\nlong-lived-enabled = true")
            lines.append(f"notification-enabled = {str(peer.notification).lower()}")
        if peer.ttl_security:
            lines.append("[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255")
        for family in peer.families:
            name = _GOBGP_FAMILIES[family]
            lines.append(
                f'[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "{name}"'
            )
            if peer.restart:
                lines.append("[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true")
                lines.append("[neighbors.afi-safis.long-lived-graceful-restart.config]")
                lines.append(f"enabled = true\nrestart-time = {peer.restart[1]}")
            if peer.paths:
                lines.append("[neighbors.afi-safis.add-paths.config]")
                lines.append(f"receive = true\nsend-max = {peer.paths}")
    configuration = directory / "gobgpd.toml"
    configuration.write_text("\n".join(lines) + "\n")
    api_port = free_port(address)
    command = ["gobgpd", "-f", str(configuration), "--api-hosts", f"{address}:{api_port}"]
    with _running([*command, "--pprof-disable"], directory) as daemon:
        found = GoBgp(daemon.process, directory, daemon.log, address, api_port)

        def answers() -> bool:
            found.check()
            result = _run("gobgp", "-u", address, "-p", str(api_port), "neighbor")
            return result.returncode == 0 and all(peer.address in result.stdout for peer in peers)

        wait_until(answers, "gobgpd to answer")
        yield found


# -------------------------------------------------------------------------------------------- FRR


@dataclass
class Frr(Daemon):
    """FRR's ``bgpd`` alone, without zebra; `vtysh` is its command line."""

    def vtysh(self, *commands: str) -> str:
        arguments = [part for command in commands for part in ("-c", command)]
        result = _run(
            "vtysh", "--vty_socket", str(self.directory), "--config_dir", str(self.directory),
            "-d", "bgpd", *arguments,
        )  # fmt: skip
        if result.returncode != 0:
            raise AssertionError(f"vtysh {commands}: {result.stdout}{result.stderr}")
        return result.stdout

    def neighbor(self, peer: str) -> dict[str, Any]:
        self.check()
        return dict(json.loads(self.vtysh(f"show bgp neighbors {peer} json"))[peer])

    def established(self, peer: str) -> bool:
        return bool(self.neighbor(peer)["bgpState"] == "Established")

    def wait_established(self, peer: str) -> None:
        wait_until(lambda: self.established(peer), f"FRR's session with {peer}")


@contextmanager
def frr(
    directory: Path,
    *,
    address: str,
    port: int,
    asn: int,
    router_id: str,
    peers: Sequence[DaemonPeer],
    extra: str = "",
) -> Iterator[Frr]:
    """``extra``: lines after ``router bgp``, at its level, e.g. VRFs of their own."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        f"router bgp {asn}",
        f" bgp router-id {router_id}",
        " no bgp default ipv4-unicast",
        " no bgp ebgp-requires-policy",
    ]
    for peer in peers:
        lines += [
            f" neighbor {peer.address} remote-as {peer.asn}",
            f" neighbor {peer.address} port {peer.port}",
            f" neighbor {peer.address} update-source {address}",
            f" neighbor {peer.address} ebgp-multihop 255"
            if peer.asn != asn and not peer.ttl_security
            else "",
            f" neighbor {peer.address} ttl-security hops 1" if peer.ttl_security else "",
            f" neighbor {peer.address} password {peer.password}" if peer.password else "",
            f" neighbor {peer.address} timers {max(1, peer.hold_time // 3)} {peer.hold_time}",
            f" neighbor {peer.address} timers connect 1",
            f" neighbor {peer.address} advertisement-interval 0",
            f" neighbor {peer.address} disable-connected-check",
            f" neighbor {peer.address} passive" if peer.passive else "",
        ]
    for family, name in _FRR_FAMILIES.items():
        lines.append(f" address-family {name}")
        for peer in peers:
            if family in peer.families:
                lines.append(f"  neighbor {peer.address} activate")
        lines.append(" exit-address-family")
    lines += [extra, "exit", ""]
    configuration = directory / "bgpd.conf"
    configuration.write_text("\n".join(line for line in lines if line) + "\n")
    (directory / "vtysh.conf").touch()
    command = [
        *(FRR_BGPD, "--no_zebra", "--skip_runas", "--config_file", str(configuration)),
        *("--pid_file", str(directory / "bgpd.pid"), "--vty_socket", str(directory)),
        *("--socket", str(directory / "zserv"), "--vty_port", "0"),
        *("--listenon", address, "--bgp_port", str(port), "--log", "stdout"),
    ]
    with _running(command, directory) as daemon:
        found = Frr(daemon.process, directory, daemon.log)

        def answers() -> bool:
            found.check()
            socket_there = (directory / "bgpd.vty").exists()
            return socket_there and _listens(address, port)

        wait_until(answers, "bgpd to answer")
        yield found


def _listens(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        return sock.connect_ex((address, port)) == 0


# ----------------------------------------------------------------------------------- stock ExaBGP


@dataclass
class StockExaBgp(Daemon):
    """ExaBGP as it is; ``events`` are the JSON lines that its API gives a helper process."""

    def events(self) -> list[dict[str, Any]]:
        self.check()
        path = self.directory / "events"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def wait_event(self, matches: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        wait_until(lambda: any(map(matches, self.events())), what)
        return next(event for event in self.events() if matches(event))

    def wait_established(self, peer: str) -> None:
        def up(event: dict[str, Any]) -> bool:
            neighbor = event.get("neighbor", {})
            return neighbor.get("state") == "up" and neighbor["address"]["peer"] == peer

        self.wait_event(up, f"ExaBGP's session with {peer}")


@contextmanager
def exabgp(
    directory: Path,
    *,
    address: str,
    asn: int,
    router_id: str,
    peers: Sequence[DaemonPeer],
    port: int = 0,
    routes: Sequence[str] = (),
) -> Iterator[StockExaBgp]:
    """``port``: where it listens, for passive peers.  ``routes``: API commands given at the start,
    such as ``announce ipv4 mpls-vpn 10.0.0.0/24 rd 65001:1 next-hop 192.0.2.1 label 100``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    helper = directory / "helper.py"
    helper.write_text(_HELPER)
    (directory / "routes").write_text("".join(f"{route}\n" for route in routes))
    blocks = [
        f"process helper {{ run {sys.executable} {helper} {directory}; encoder json; }}",
    ]
    for peer in peers:
        families = " ".join(f"{_EXABGP_FAMILIES[family]};" for family in peer.families)
        way = f"passive true; listen {port};" if peer.passive else f"connect {peer.port};"
        blocks.append(
            f"neighbor {peer.address} {{ router-id {router_id}; local-address {address}; "
            f"local-as {asn}; peer-as {peer.asn}; hold-time {peer.hold_time}; {way} "
            f"capability {{ route-refresh enable; }} family {{ {families} }} "
            "api { processes [ helper ]; neighbor-changes; receive { parsed; update; } } }"
        )
    configuration = directory / "exabgp.conf"
    configuration.write_text("\n".join(blocks) + "\n")
    command = [sys.executable, "-m", "exabgp", "server", str(configuration)]
    environment = {
        "exabgp.daemon.user": "root" if os.getuid() == 0 else "",
        "exabgp.api.cli": "false",
        "exabgp.log.destination": "stdout",
        "exabgp.tcp.bind": "",
        "EXABGP_ENVFILE": os.devnull,
    }
    if os.getuid() != 0:
        del environment["exabgp.daemon.user"]
    with _running(command, directory, **environment) as daemon:
        found = StockExaBgp(daemon.process, directory, daemon.log)

        def started() -> bool:
            found.check()
            return (directory / "events").exists()

        wait_until(started, "ExaBGP to start its helper")
        yield found


_HELPER = """\
import sys
from pathlib import Path

directory = Path(sys.argv[1])
with (directory / "events").open("w") as events:
    for command in (directory / "routes").read_text().splitlines():
        print(command, flush=True)
    for line in sys.stdin:
        if line.startswith("{"):
            events.write(line)
            events.flush()
"""
