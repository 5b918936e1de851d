"""BGP as these tests write and read it, apart from the code under test."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from vpnctl.model import EVPN, FAMILIES, VPLS, VPNV4, VPNV6, Family, RouteTarget
from vpnctl.model.family import FLOW_FAMILIES, SESSION_FAMILIES
from vpnctl.routing.session import Opened

LOCAL_ASN = 65000
ROUTER_ID = IPv4Address("10.0.0.100").packed


def attribute(flags: int, code: int, value: bytes) -> bytes:
    if len(value) > 255 or flags & 0x10:
        return struct.pack("!BBH", flags | 0x10, code, len(value)) + value
    return struct.pack("!BBB", flags, code, len(value)) + value


def message(body: bytes, kind: int = 2) -> bytes:
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def update(*attributes: bytes) -> bytes:
    joined = b"".join(attributes)
    return message(b"\0\0" + struct.pack("!H", len(joined)) + joined)


def as_path(*asns: int, width: int = 4) -> bytes:
    if not asns:
        return b""
    return struct.pack("!BB", 2, len(asns)) + b"".join(asn.to_bytes(width, "big") for asn in asns)


ORIGIN = attribute(0x40, 1, b"\0")
EMPTY_AS_PATH = attribute(0x40, 2, b"")
LOCAL_PREF = attribute(0x40, 5, struct.pack("!I", 100))
BASIC = ORIGIN + EMPTY_AS_PATH + LOCAL_PREF

NEXT_HOP = {
    VPNV4: bytes(8) + b"\x0a\0\0\x01",
    VPNV6: bytes(8) + bytes(10) + b"\xff\xff\x0a\0\0\x01",
    VPLS: b"\x0a\0\0\x01",
    EVPN: b"\x0a\0\0\x01",
}


def path_id(number: int) -> bytes:
    return struct.pack("!I", number)


def targets(*texts: str, others: bytes = b"") -> bytes:
    return attribute(0xC0, 16, b"".join(RouteTarget.parse(t).octets for t in texts) + others)


def reach(family: Family, *nlris: bytes, next_hop: bytes | None = None) -> bytes:
    hop = NEXT_HOP[family] if next_hop is None else next_hop
    head = struct.pack("!HBB", family.afi, family.safi, len(hop))
    return attribute(0x80, 14, head + hop + b"\0" + b"".join(nlris))


def unreach(family: Family, *nlris: bytes) -> bytes:
    return attribute(0x80, 15, struct.pack("!HB", family.afi, family.safi) + b"".join(nlris))


def rd(number: int, asn: int = 65000) -> bytes:
    return struct.pack("!HHI", 0, asn, number)


def vpnv4(distinguisher: int, prefix: bytes, label: int = 16) -> bytes:
    """A prefix of whole octets with one label."""
    body = (label << 4 | 1).to_bytes(3, "big") + rd(distinguisher) + prefix
    return bytes((8 * len(body),)) + body


vpnv6 = vpnv4


def vpls(distinguisher: int, ve_id: int, label: int = 16) -> bytes:
    block = struct.pack("!HHH", ve_id, 1, 8) + (label << 4).to_bytes(3, "big")
    return struct.pack("!H", 17) + rd(distinguisher) + block


def evpn_mac(distinguisher: int, mac: bytes, label: int = 16, address: bytes = b"") -> bytes:
    value = rd(distinguisher) + bytes(10) + bytes(4) + b"\x30" + mac
    value += bytes((8 * len(address),)) + address + (label << 4).to_bytes(3, "big")
    return bytes((2, len(value))) + value


def evpn_multicast(distinguisher: int, address: bytes) -> bytes:
    value = rd(distinguisher) + bytes(4) + bytes((8 * len(address),)) + address
    return bytes((3, len(value))) + value


def evpn_segment(distinguisher: int, esi: bytes, address: bytes) -> bytes:
    value = rd(distinguisher) + esi + bytes((8 * len(address),)) + address
    return bytes((4, len(value))) + value


def evpn_prefix(distinguisher: int, bits: int, prefix: bytes, label: int = 16) -> bytes:
    value = rd(distinguisher) + bytes(14) + bytes((bits,)) + prefix + bytes(len(prefix))
    value += (label << 4).to_bytes(3, "big")
    return bytes((5, len(value))) + value


@dataclass
class Decoded:
    """An UPDATE: attributes by code as (flags, value), without MP_REACH and MP_UNREACH."""

    family: Family | None = None
    next_hop: bytes = b""
    announced: list[bytes] = field(default_factory=list)
    withdrawn_family: Family | None = None
    withdrawn: list[bytes] = field(default_factory=list)
    attributes: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    @property
    def end_of_rib(self) -> bool:
        return self.withdrawn_family is not None and not self.withdrawn and not self.attributes

    @property
    def targets(self) -> tuple[bytes, ...]:
        value = self.attributes.get(16, (0, b""))[1]
        communities = [value[at : at + 8] for at in range(0, len(value), 8)]
        return tuple(c for c in communities if c[1] == 2 and c[0] in (0, 1, 2, 0x40, 0x41, 0x42))

    def __getitem__(self, code: int) -> bytes:
        return self.attributes[code][1]


def messages(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message; fails on anything that is no BGP message."""
    while octets:
        marker, size, kind = octets[:16], *struct.unpack("!HB", octets[16:19])
        assert marker == b"\xff" * 16
        assert 19 <= size <= len(octets)
        yield kind, octets[19:size]
        octets = octets[size:]


def _family(octets: bytes) -> Family:
    wanted = struct.unpack("!HB", octets)
    return next(f for f in SESSION_FAMILIES.values() if (f.afi, f.safi) == wanted)


def nlris(family: Family, octets: bytes, *, ids: bool = False) -> list[bytes]:
    found = []
    while octets:
        path_id = octets[:4] if ids else b""
        assert len(path_id) == (4 if ids else 0)
        octets = octets[len(path_id) :]
        if family in (VPNV4, VPNV6):
            size = 1 + -(-octets[0] // 8)
        elif family == VPLS:
            size = 2 + struct.unpack("!H", octets[:2])[0]
        elif family.name in FLOW_FAMILIES:
            size = 1 + octets[0]
            if octets[0] >= 0xF0:
                size = 2 + struct.unpack("!H", octets[:2])[0] - 0xF000
        else:
            size = 2 + octets[1]
        assert size <= len(octets)
        found.append(path_id + octets[:size])
        octets = octets[size:]
    return found


def decode(body: bytes, with_ids: Collection[Family] = ()) -> Decoded:
    """The body of an UPDATE, strictly: attributes once each and of legal size.

    In the families ``with_ids`` each NLRI has a path identifier in front, and keeps it.
    """
    found = Decoded()
    withdrawn, total = struct.unpack("!HH", body[:4])
    assert withdrawn == 0
    assert total == len(body) - 4
    at = 4
    while at < len(body):
        flags, code = body[at], body[at + 1]
        if flags & 0x10:
            (size,) = struct.unpack("!H", body[at + 2 : at + 4])
            at += 4
        else:
            size = body[at + 2]
            at += 3
        value = body[at : at + size]
        assert len(value) == size
        at += size
        if code == 14:
            found.family = _family(value[:3])
            hop_end = 4 + value[3]
            found.next_hop = value[4:hop_end]
            ids = found.family in with_ids
            found.announced = nlris(found.family, value[hop_end + 1 :], ids=ids)
        elif code == 15:
            found.withdrawn_family = _family(value[:3])
            ids = found.withdrawn_family in with_ids
            found.withdrawn = nlris(found.withdrawn_family, value[3:], ids=ids)
        else:
            assert code not in found.attributes
            found.attributes[code] = flags & 0xE0, value
    return found


def route_id(family: Family, nlri: bytes) -> tuple[object, ...]:
    """What identifies a well-formed route with one label, field by field."""
    if family in (VPNV4, VPNV6):
        return family, nlri[4:12], nlri[0] - 88, nlri[12:]
    if family == VPLS:
        return family, nlri[2:10], nlri[10:12], nlri[12:14]
    if nlri[0] == 2:
        return family, 2, nlri[2:10], nlri[20:24], nlri[25:31], nlri[32 : 32 + nlri[31] // 8]
    if nlri[0] == 5:
        width = 4 if nlri[1] == 34 else 16
        return family, 5, nlri[2:10], nlri[20:24], nlri[24], nlri[25 : 25 + width]
    return family, nlri


class Peers:
    """An `Output` that keeps what each session was sent, and what it was told on reset."""

    def __init__(self) -> None:
        self.sent: dict[int, bytes] = {}
        self.resets: list[tuple[int, int, int, str]] = []
        self.warnings: list[tuple[int, str]] = []

    def send(self, session: int, octets: bytes) -> None:
        assert octets
        self.sent[session] = self.sent.get(session, b"") + octets

    def warn(self, session: int, words: str) -> None:
        self.warnings.append((session, words))

    def reset(self, session: int, code: int, subcode: int, reason: str) -> None:
        self.resets.append((session, code, subcode, reason))

    def take(self, session: int) -> list[tuple[int, bytes]]:
        """The messages since the last call."""
        return list(messages(self.sent.pop(session, b"")))

    def updates(self, session: int, with_ids: Collection[Family] = ()) -> list[Decoded]:
        """The UPDATEs since the last call, without End-of-RIB markers."""
        found = [decode(body, with_ids) for kind, body in self.take(session) if kind == 2]
        return [each for each in found if not each.end_of_rib]


def opened(
    number: int,
    peer: str,
    *,
    asn: int = LOCAL_ASN,
    address: bytes | None = None,
    families: frozenset[Family] = frozenset(FAMILIES.values()),
    asn4: bool = True,
    message_size: int = 4096,
    enhanced_refresh: bool = False,
    paths_sent: Mapping[Family, int] | None = None,
    paths_taken: Mapping[Family, int] | None = None,
) -> Opened:
    """A session of the PE ``peN``; its router id is 10.0.0.(N+1)."""
    router_id = bytes((10, 0, 0, int(peer[2:]) + 1))
    return Opened(
        number=number,
        peer=peer,
        peer_address=router_id if address is None else address,
        peer_router_id=router_id,
        peer_asn=asn,
        local_asn=LOCAL_ASN,
        router_id=ROUTER_ID,
        families=families,
        asn4=asn4,
        message_size=message_size,
        enhanced_refresh=enhanced_refresh,
        paths_sent=paths_sent or {},
        paths_taken=paths_taken or {},
    )
