"""What a hostile PE sends, at full speed and over and over: well-formed UPDATEs that cost work.

It replays its own table, speaks for other customers' route distinguishers and targets, lets a MAC
address jump between sequence numbers, fills UPDATEs to their limit with attributes that nobody has
seen before, and takes back what it said.
"""

from __future__ import annotations

import random
import struct

from lab.bench.workload import ASN, message, route_target

#: Rounds of all of it before it begins anew, and routes of each kind in a round.
_ROUNDS, _EACH = 40, 60
#: Octets of an UPDATE at most (RFC 4271 section 4.1), and of one NLRI here.
_MOST, _NLRI_OCTETS = 4096, 16
_NEXT_HOP = bytes(8) + bytes((10, 99, 0, 1))
_FIXED = bytes.fromhex("40010100") + bytes.fromhex("400200") + bytes.fromhex("40050400000064")


def assault(own: list[int], others: list[int], mobile: int, table: bytes) -> bytes:
    """Octets to be sent again and again.

    ``own`` and ``others``: numbers of route targets, which are those of route distinguishers, too;
    ``mobile``: that of an EVPN; ``table``: what the PE announces when it is at peace.
    """
    chance = random.Random(7606)
    parts = []
    for _ in range(_ROUNDS):
        start = chance.randrange(len(table) // 2)
        start = table.index(b"\xff" * 16, start)
        parts.append(_whole(table[start : start + 8192]))
        for index in range(_EACH):
            mine, theirs = chance.choice(own), chance.choice(others)
            parts.append(_reach([_vpnv4(theirs, index)], mine))  # another's distinguisher
            parts.append(_reach([_vpnv4(mine, 1000 + index)], theirs))  # another's target
            parts.append(_reach([_vpnv4(theirs, index)], theirs))  # both
            parts.append(_mac(mobile, index % 8, chance.getrandbits(32)))
        for _ in range(4):
            many = [_vpnv4(chance.choice(own), 2000 + at) for at in range(_room())]
            parts.append(_reach(many, chance.choice(own), chance.getrandbits(32)))
            parts.append(_unreach(many))
    return b"".join(parts)


def _room() -> int:
    """NLRI that fit into an UPDATE beside its attributes."""
    return (_MOST - 160) // _NLRI_OCTETS


def _whole(octets: bytes) -> bytes:
    """As many whole messages as ``octets`` begin with."""
    at = 0
    while at + 19 <= len(octets):
        size = int.from_bytes(octets[at + 16 : at + 18], "big")
        if at + size > len(octets):
            break
        at += size
    return octets[:at]


def _vpnv4(distinguisher: int, index: int) -> bytes:
    nlri = struct.pack("!B3sHHI", 120, b"\x00\x01\x01", 0, ASN, distinguisher)
    return nlri + struct.pack("!BBH", 11, 1, index)


def _reach(nlris: list[bytes], target: int, med: int | None = None) -> bytes:
    value = struct.pack("!HBB", 1, 128, len(_NEXT_HOP)) + _NEXT_HOP + b"\0" + b"".join(nlris)
    attributes = struct.pack("!BBH", 0x90, 14, len(value)) + value + _FIXED
    if med is not None:
        attributes += struct.pack("!BBBI", 0x80, 4, 4, med)
        attributes += struct.pack("!BBBII", 0xC0, 8, 8, med, med ^ 0xFFFF)
    return _update(attributes + _targets(route_target(target)))


def _unreach(nlris: list[bytes]) -> bytes:
    value = struct.pack("!HB", 1, 128) + b"".join(nlris)
    return _update(struct.pack("!BBH", 0x90, 15, len(value)) + value)


def _mac(number: int, index: int, sequence: int) -> bytes:
    """A MAC/IP route (RFC 7432 section 7.2) with MAC Mobility (section 7.7)."""
    value = struct.pack("!HHI", 0, ASN, number) + bytes(14) + b"\x30"
    value += b"\2\0\0\0\0" + bytes((index, 0)) + b"\x00\x01\x00"
    nlri = bytes((2, len(value))) + value
    reach = struct.pack("!HBB", 25, 70, 4) + _NEXT_HOP[8:] + b"\0" + nlri
    attributes = struct.pack("!BBH", 0x90, 14, len(reach)) + reach + _FIXED
    mobility = struct.pack("!BBBBI", 6, 0, 0, 0, sequence)
    return _update(attributes + _targets(route_target(number), mobility))


def _targets(*communities: bytes) -> bytes:
    value = b"".join(communities)
    return struct.pack("!BBB", 0xC0, 16, len(value)) + value


def _update(attributes: bytes) -> bytes:
    return message(2, struct.pack("!HH", 0, len(attributes)) + attributes)
