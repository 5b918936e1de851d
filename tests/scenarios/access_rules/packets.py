"""Packets that hosts send on purpose, and those of them that arrive."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count

from tests.scenarios.stage import Stage
from tests.support.daemons import wait_until
from tests.support.lab import Sniffer

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_TCP, _UDP, _FRAGMENT = 6, 17, 44
#: Where packets go that no rule speaks of, behind those that one may.
_MARK_PORT = 7999
_marks = count(1)

#: Whether a connection to the address and port can be opened, within a second.
_CALLER = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
except TimeoutError:
    sys.exit(1)
"""
#: Sends datagrams, then one that says how many packets there are to wait for.
_SENDER = """
import socket, sys
address, port, dscp, octets, times, mark_port, mark = sys.argv[1], *map(int, sys.argv[2:])
six = ":" in address
sender = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if six else (socket.IPPROTO_IP, socket.IP_TOS)
sender.setsockopt(*option, dscp << 2)
for _ in range(times):
    sender.sendto(bytes(octets), (address, port))
sender.setsockopt(*option, 0)
sender.sendto(mark.to_bytes(4, "big"), (address, mark_port))
"""


@dataclass(frozen=True)
class Datagram:
    """A UDP datagram; ``octets``: of its payload, more than fit into a frame make fragments."""

    to: str
    port: int
    dscp: int = 0
    octets: int = 100


@dataclass(frozen=True)
class Arrived:
    """A packet as it was seen; ``port``: 0 of a fragment that is not the first."""

    to: str
    protocol: int
    dscp: int
    is_fragment: bool
    port: int
    payload: bytes


def reaches(stage: Stage, node: str, address: str, port: int) -> bool:
    """Whether a host can open a connection."""
    done = stage.run(node, sys.executable, "-ISc", _CALLER, address, str(port))
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def to_port(sniffer: Sniffer, mac: str, port: int) -> int:
    """How many TCP segments from a MAC to a port arrived."""
    source = bytes.fromhex(mac.replace(":", ""))
    packets = (_read(each.octets) for each in sniffer.frames() if each.octets[6:12] == source)
    return sum(one is not None and (one.protocol, one.port) == (_TCP, port) for one in packets)


def arrived(stage: Stage, node: str, datagram: Datagram, *, times: int = 1) -> list[Arrived]:
    """Send a datagram so many times from a host to e1-host; the packets of it that came there."""
    mark = next(_marks)
    numbers = (datagram.port, datagram.dscp, datagram.octets, times, _MARK_PORT, mark)
    found: list[Arrived] = []
    with stage.sniff("e1-host", "eth1") as there:
        words = (datagram.to, *map(str, numbers))
        done = stage.run(node, sys.executable, "-ISc", _SENDER, *words)
        assert done.returncode == 0, done.stderr

        def marked() -> bool:
            packets = [one for frame in there.frames() if (one := _read(frame.octets))]
            found[:] = [one for one in packets if (one.to, one.protocol) == (datagram.to, _UDP)]
            return any(_is_mark(one, mark) for one in found)

        wait_until(marked, "what no rule speaks of to arrive")
    return [one for one in found if one.port != _MARK_PORT]


def _is_mark(packet: Arrived, mark: int) -> bool:
    return packet.port == _MARK_PORT and packet.payload[:4] == mark.to_bytes(4, "big")


def _read(frame: bytes) -> Arrived | None:
    """An IP packet out of an untagged frame."""
    if frame[12:14] == _IPV4:
        header = 14 + 4 * (frame[14] & 0x0F)
        offset = int.from_bytes(frame[20:22], "big") & 0x3FFF
        first, fragment = not offset & 0x1FFF, bool(offset)
        to, protocol, dscp = frame[30:34], frame[23], frame[15] >> 2
    elif frame[12:14] == _IPV6:
        header, protocol, first, fragment = 54, frame[20], True, False
        to, dscp = frame[38:54], (frame[14] & 0x0F) << 2 | frame[15] >> 6
        if protocol == _FRAGMENT:
            protocol, header, fragment = frame[54], 62, True
            first = not int.from_bytes(frame[56:58], "big") >> 3
    else:
        return None
    port = int.from_bytes(frame[header + 2 : header + 4], "big") if first else 0
    payload = frame[header + 8 :]
    return Arrived(str(ip_address(to)), protocol, dscp, fragment, port, payload)
