"""A virtual machine moves from one PE to another with its TCP connection open."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Stage, Staging
from vpnctl.lab.namespaces import within
from vpnctl.lab.wan.figures import WanFigures

pytestmark = pytest.mark.daemon

ADDRESS, MAC = "10.1.0.2", bytes.fromhex("020000000002")
BROADCAST = b"\xff" * 6
WANS = ("e1", "c1", "c2")
RATE = 465_000_000
#: Seconds from a PE to the core, what the two sites' round trip is then called, and its mark.
DISTANCES = (
    (0.0, "no delay", 0.25),
    (0.00675, "27 ms round trip", 0.4),
)


def test_mac_move(staging: Staging, figures: Figures) -> None:
    with staging(Path(__file__).parent / "topology.clab.yml") as stage:
        stage.wait_ping("e1-host", ADDRESS)
        with (
            stage.pinging("e1-host", ADDRESS) as ping,
            stage.talking("e1-host", "vm", ADDRESS) as talk,
        ):
            for delay, distance, mark in DISTANCES:
                for name in WANS:
                    stage.wan(name).change(WanFigures(rate=RATE, delay=delay))
                for leaving, entering, way in (("eth1", "eth2", "there"), ("eth2", "eth1", "back")):
                    begun = min(ping.first_after(time.time()), talk.goes_on(time.time()))
                    moved = move(stage, leaving, entering)
                    ended = ping.first_after(moved)
                    figures.add(
                        f"MAC move {way}, {distance}: longest gap of the ping",
                        ping.longest_gap(begun, ended),
                        at_most=mark,
                    )
                    goes_on = talk.goes_on(ended)
                    figures.add(
                        f"MAC move {way}, {distance}: longest gap of the TCP connection",
                        talk.longest_gap(begun, goes_on),
                    )
                    here, there = ("pe-c2", "pe-c1") if entering == "eth2" else ("pe-c1", "pe-c2")
                    assert is_local(stage, here)
                    stage.wait_away(there, MAC.hex(":"))


def move(stage: Stage, leaving: str, entering: str) -> float:
    """Its legs change, and it says so by a gratuitous ARP as a hypervisor does; when it did."""
    with within(stage.lab.layout.namespace("vm")):
        speaking = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with speaking:
        speaking.bind(("vm", 0))
        stage.run(
            "vm", "sh", "-c",
            f"bridge link set dev {leaving} state 0 && bridge link set dev {entering} state 3",
        )  # fmt: skip
        moved = time.time()
        speaking.send(gratuitous_arp())
    return moved


def gratuitous_arp() -> bytes:
    """RFC 5227 section 3: an announcement, a request for one's own address."""
    address = socket.inet_aton(ADDRESS)
    ethernet = BROADCAST + MAC + b"\x08\x06"
    return ethernet + bytes.fromhex("0001080006040001") + MAC + address + bytes(6) + address


def is_local(stage: Stage, pe: str) -> bool:
    """Whether a PE has the virtual machine at its own port."""
    return MAC.hex(":") in stage.run(pe, "bridge", "fdb", "show", "brport", "eth2").stdout
