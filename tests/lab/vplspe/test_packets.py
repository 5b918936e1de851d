"""What the kernel drops because of a flow is what the flow matches, packet by packet."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

import pytest

from tests.flowspec.draws import MOST, Packet, matches
from tests.lab.vplspe.test_filters import BOTH, heard, route
from tests.lab.vplspe.test_selection import CONFIG
from tests.support.daemons import require
from tests.support.namespaces import namespaces, within
from vpnctl.flowspec.flows import flows
from vpnctl.lab.vplspe.filters import TABLE, filters
from vpnctl.model.access import Fragment, Match, Span, TcpFlags

pytestmark = pytest.mark.daemon

_ALL = 3  # ETH_P_ALL
_LAST = b"\xff" * 6 + b"\x02\0\0\0\0\x01\x88\xb5" + bytes(46)
_HQ, _HQ6 = ip_network("10.1.0.0/24"), ip_network("2001:db8:1::/48")


@dataclass(frozen=True)
class Sent:
    """A packet; ``dont``: it may not be fragmented (IPv4).

    No fragments: the kernel may put them together before the filters of a bridge see them.
    """

    to: str = "10.1.0.1"
    from_: str = "10.2.0.1"
    protocol: int = 6
    ports: tuple[int, int] = (40000, 22)
    icmp: tuple[int, int] = (8, 0)
    flags: int = 0x02
    dscp: int = 0
    dont: bool = False
    octets: int = 60

    @property
    def version(self) -> int:
        return ip_address(self.to).version

    def frame(self, number: int) -> bytes:
        """With its number in the last two octets of the payload."""
        if self.protocol in (1, 58):
            transport = struct.pack("!BB", *self.icmp)
        else:
            transport = struct.pack("!HHIIBB", *self.ports, 0, 0, 0x50, self.flags)
        ends = [ip_address(one).packed for one in (self.from_, self.to)]
        if self.version == 4:
            flags = 0x4000 if self.dont else 0
            head = struct.pack(
                "!BBHHHBBH", 0x45, self.dscp << 2, self.octets, 7, flags, 64, self.protocol, 0
            )
            kind = b"\x08\x00"
        else:
            kind = b"\x86\xdd"
            first = 6 << 28 | self.dscp << 22
            head = struct.pack("!IHBB", first, self.octets - 40, self.protocol, 64)
        head += b"".join(ends)
        if self.version == 4:
            head = head[:10] + _checksum(head) + head[12:]
        body = (head + transport).ljust(self.octets - 2, b"\0") + struct.pack("!H", number)
        return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + kind + body

    def seen(self) -> Packet:
        """As `matches` wants it."""
        fields = {3: self.protocol, 10: self.octets, 11: self.dscp, 12: int(self.dont)}
        if self.protocol in (1, 58):
            fields |= {7: self.icmp[0], 8: self.icmp[1]}
        else:
            fields |= {6: self.ports[0], 5: self.ports[1], 9: self.flags}
        ends = {1: int(ip_address(self.to)), 2: int(ip_address(self.from_))}
        return Packet(self.version, ends, dict.fromkeys(MOST, -1) | fields)


def _checksum(header: bytes) -> bytes:
    """Of an IPv4 header whose checksum is 0 (RFC 791 section 3.1)."""
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ((total + (total >> 16)) & 0xFFFF ^ 0xFFFF).to_bytes(2, "big")


_V4 = [
    Sent(),
    Sent(to="10.1.1.1"),
    Sent(from_="10.3.0.1"),
    Sent(protocol=17),
    Sent(protocol=17, ports=(53, 40000)),
    Sent(ports=(40000, 8080)),
    Sent(flags=0x12),
    Sent(flags=0x10),
    Sent(protocol=1),
    Sent(protocol=1, icmp=(0, 0)),
    Sent(dscp=46),
    Sent(octets=100),
    Sent(octets=101),
    Sent(dont=True),
]
_TO_IPV6 = {"10.1.0.1": "2001:db8:1::1", "10.1.1.1": "2001:db8:2::1"}
_V6 = [
    replace(
        one,
        to=_TO_IPV6[one.to],
        from_="2001:db8:9::1",
        protocol=58 if one.protocol == 1 else one.protocol,
    )
    for one in _V4
    if not one.dont
]

_TO = (_HQ, _HQ6)
_RULES = [
    Match(BOTH, _TO),
    Match(BOTH, _TO, (ip_network("10.2.0.0/16"),)),
    Match(BOTH, _TO, protocols=(Span(6, 6),), destination_ports=(Span(22, 22), Span(80, 90))),
    Match(BOTH, protocols=(Span(17, 17),), source_ports=(Span(50, 60),)),
    Match(BOTH, protocols=(Span(6, 6),), tcp_flags=TcpFlags(0x02, 0x10)),
    Match(BOTH, protocols=(Span(1, 1), Span(58, 58)), icmp_types=(Span(8, 8),)),
    Match(BOTH, dscps=(Span(40, 50),)),
    Match(BOTH, lengths=(Span(0, 100),)),
    Match(BOTH, fragments=(Fragment.NOT,)),
    Match(BOTH, fragments=(Fragment.IS,)),
    Match(frozenset((4,)), fragments=(Fragment.DONT,)),
]


@dataclass
class Bridge:
    """A namespace with a bridge between two ports, whose other ends are these sockets."""

    name: str
    one: socket.socket
    other: socket.socket

    def run(self, *words: str, script: str = "") -> None:
        command = ["ip", "netns", "exec", self.name, *words]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def passes(self, packets: list[Sent]) -> set[int]:
        """The numbers of the packets that arrive."""
        for number, packet in enumerate(packets):
            self.one.send(packet.frame(number))
        self.one.send(_LAST)
        found = set()
        while (octets := self.other.recv(2048)) != _LAST:
            if octets[6:12] == b"\x02\0\0\0\0\x01":
                found.add(int.from_bytes(octets[-2:], "big"))
        return found


@pytest.fixture(scope="module")
def bridge() -> Iterator[Bridge]:
    require("nft", "ip")
    with namespaces(1) as (name,):

        def port(interface: str) -> socket.socket:
            found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
            found.bind((interface, _ALL))
            found.settimeout(5)
            return found

        batch = (
            "link add br0 type bridge\nlink set br0 up\n"
            "link add eth1 type veth peer name one\nlink add pw1 type veth peer name other\n"
            + "".join(f"link set {each} up\n" for each in ("eth1", "pw1", "one", "other"))
            + "link set eth1 master br0\nlink set pw1 master br0\n"
        )
        made = ["ip", "-n", name, "-batch", "-"]
        subprocess.run(made, input=batch, text=True, check=True)
        with within(name, lambda: port("one")) as one, within(name, lambda: port("other")) as other:
            yield Bridge(name, one, other)


@pytest.mark.parametrize("match", _RULES, ids=range(len(_RULES)))
@pytest.mark.parametrize("packets", [_V4, _V6], ids=["IPv4", "IPv6"])
def test_what_is_matched_is_dropped_and_nothing_else(
    match: Match, packets: list[Sent], bridge: Bridge
) -> None:
    version = packets[0].version
    found = flows(match, version)
    routes = [route(flow, version=version) for flow in found]
    emptied = f"add table bridge {TABLE}\ndelete table bridge {TABLE}\n"
    bridge.run("nft", "-f", "-", script=emptied + filters(CONFIG.filtered, heard(*routes)).script)
    wanted = {
        number
        for number, packet in enumerate(packets)
        if not any(matches(packet.seen(), flow) for flow in found)
    }
    assert bridge.passes(packets) == wanted
