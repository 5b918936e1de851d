"""The routes that every subject has to rewrite, and what each sink must hold in the end.

Customer ``c`` (from 1) has `Workload.per_customer` routes, announced with route target
``65000:c``.  The rule of version ``v`` makes ``65000:(100000 * (v + 1) + c)`` of it; a rule change
is a customer's step from one version to the next.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

ASN = 65000
PER_CUSTOMER = 100
NEXT_HOP = bytes((10, 99, 0, 1))

#: AFI, SAFI and two octets of padding that no family uses, by the family's name.
FAMILIES: dict[str, tuple[int, int]] = {"vpnv4": (1, 128), "vpls": (25, 65), "evpn": (25, 70)}

#: Extended communities that travel beside the route target and must arrive unchanged:
#: Layer2 Info (RFC 4761 section 3.2.4) and Encapsulation VXLAN (RFC 9012 section 4.1).
COMPANIONS: dict[str, bytes] = {
    "vpnv4": b"",
    "vpls": bytes.fromhex("800a130005dc0000"),
    "evpn": bytes.fromhex("030c000000000008"),
}

_ORIGIN_IGP = bytes.fromhex("40010100")
_EMPTY_AS_PATH = bytes.fromhex("400200")
_NO_MED = bytes(4)
_LOCAL_PREF_100 = bytes.fromhex("40050400000064")


def route_target(number: int) -> bytes:
    """``65000:number`` as an extended community of eight octets (RFC 4360 section 4)."""
    return struct.pack("!BBHI", 0x00, 0x02, ASN, number)


def announced(customer: int) -> int:
    """Number of the route target with which the sender announces a customer's routes."""
    return customer


def rewritten(customer: int, version: int = 0) -> int:
    """Number of the route target that a customer's routes carry at the sinks."""
    return 100_000 * (version + 1) + customer


def message(kind: int, body: bytes) -> bytes:
    """A BGP message with its header (RFC 4271 section 4.1)."""
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def _vpnv4(index: int, customer: int) -> bytes:
    label = (16 + index % 1_000_000) << 4 | 1
    prefix = bytes((10, index >> 16 & 0xFF, index >> 8 & 0xFF, index & 0xFF))
    distinguisher = struct.pack("!HHI", 0, ASN, customer)
    return bytes((24 + 64 + 32,)) + label.to_bytes(3, "big") + distinguisher + prefix


def _vpls(index: int, customer: int) -> bytes:
    ve_id = 1 + index % 60_000
    label_base = (16 + index % 60_000 * 16) << 4 | 1
    body = struct.pack("!HHIHHH", 0, ASN, customer, ve_id, 1, 8) + label_base.to_bytes(3, "big")
    return struct.pack("!H", len(body)) + body


def _evpn(index: int, customer: int) -> bytes:
    """MAC/IP advertisement without an address (RFC 7432 section 7.2)."""
    distinguisher = struct.pack("!HHI", 0, ASN, customer)
    mac = b"\x02\x00" + index.to_bytes(4, "big")
    body = distinguisher + bytes(10) + bytes(4) + b"\x30" + mac + b"\x00"
    body += customer.to_bytes(3, "big")
    return bytes((2, len(body))) + body


_NLRI = {"vpnv4": _vpnv4, "vpls": _vpls, "evpn": _evpn}


@dataclass(frozen=True)
class Workload:
    """``routes`` routes of one family in customers of ``per_customer`` each.

    ``own_attributes``: every route has a MED of its own, so no two routes share attributes.
    ``shuffled``: the routes are sent in a random (seeded) order, not customer by customer.
    ``companions``: whether the extended communities beside the target are expected to arrive.
    """

    family: str
    routes: int
    own_attributes: bool = False
    shuffled: bool = False
    companions: bool = True
    per_customer: int = PER_CUSTOMER
    _order: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        order = list(range(self.routes))
        if self.shuffled:
            random.Random(1).shuffle(order)
        object.__setattr__(self, "_order", order)

    @property
    def customers(self) -> int:
        return -(-self.routes // self.per_customer)

    def customer_of(self, index: int) -> int:
        return index // self.per_customer + 1

    def nlri(self, index: int) -> bytes:
        """Route ``index`` as it stands in MP_REACH_NLRI."""
        return _NLRI[self.family](index, self.customer_of(index))

    def med(self, index: int) -> bytes:
        """The value of MULTI_EXIT_DISC, empty where the route has none."""
        return (index + 1).to_bytes(4, "big") if self.own_attributes else b""

    def next_hop(self) -> bytes:
        """Next hop field of MP_REACH_NLRI (RFC 4364 section 4.3.2: RD zero before it)."""
        return (bytes(8) if self.family == "vpnv4" else b"") + NEXT_HOP

    def update(self, index: int) -> bytes:
        """The UPDATE of one route, MP_REACH_NLRI first (RFC 7606 section 5.1)."""
        afi, safi = FAMILIES[self.family]
        next_hop = self.next_hop()
        reach = struct.pack("!HBB", afi, safi, len(next_hop)) + next_hop + b"\x00"
        reach += self.nlri(index)
        communities = route_target(announced(self.customer_of(index))) + COMPANIONS[self.family]
        med = self.med(index)
        attributes = b"".join(
            (
                struct.pack("!BBB", 0x80, 14, len(reach)) + reach,
                _ORIGIN_IGP,
                _EMPTY_AS_PATH,
                struct.pack("!BBB", 0x80, 4, 4) + med if med else b"",
                _LOCAL_PREF_100,
                struct.pack("!BBB", 0xC0, 16, len(communities)) + communities,
            )
        )
        return message(2, struct.pack("!HH", 0, len(attributes)) + attributes)

    def updates(self) -> Iterator[bytes]:
        """Every route's UPDATE, one NLRI each, in the order of sending."""
        return map(self.update, self._order)

    def end_of_rib(self) -> bytes:
        """RFC 4724 section 2."""
        afi, safi = FAMILIES[self.family]
        return message(2, struct.pack("!HHBBBHB", 0, 6, 0x80, 15, 3, afi, safi))

    def signature(self, index: int, version: int = 0) -> bytes:
        """What a sink must see beside the NLRI; see `signature`."""
        target = route_target(rewritten(self.customer_of(index), version))
        kept = COMPANIONS[self.family] if self.companions else b""
        return signature(target + kept, self.med(index), self.next_hop())

    def indexes(self, customer: int) -> range:
        """The routes of one customer."""
        first = (customer - 1) * self.per_customer
        return range(first, min(first + self.per_customer, self.routes))

    def expected(self, versions: Mapping[int, int]) -> dict[bytes, bytes]:
        """NLRI -> signature of a complete sink; ``versions``: by customer where not 0."""
        return {
            self.nlri(index): self.signature(index, versions.get(self.customer_of(index), 0))
            for index in range(self.routes)
        }


def signature(communities: bytes, med: bytes, next_hop: bytes) -> bytes:
    """What is compared of a route's attributes.

    ``communities``: the extended communities attribute's value; they are a set, so they are
    sorted and a repeated one counts once.  A missing MED is a MED of zero (RFC 4271 section
    9.1.2.2); FRR adds one.
    """
    if len(communities) > 8:
        pieces = {communities[at : at + 8] for at in range(0, len(communities), 8)}
        communities = b"".join(sorted(pieces))
    return communities + (med or _NO_MED) + next_hop
