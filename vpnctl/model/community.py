"""Route targets (RFC 4360, 5668) and route distinguishers (RFC 4364) as eight octets each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address

_PAIR = re.compile(r"^(?P<admin>[0-9]+(?:\.[0-9]+){0,3})(?P<as4>L?):(?P<number>[0-9]+)\Z")

_AS2, _IP4, _AS4 = 0, 1, 2

#: How an ES-Import route target begins (RFC 7432 section 7.6).
ES_IMPORT = b"\x06\x02"


def _encode(text: str, what: str) -> tuple[int, bytes]:
    """``ADMIN:NUMBER`` as (type 0, 1 or 2, six octets); `ValueError` says what is wrong."""
    match = _PAIR.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no {what}: write ASN:NUMBER or IPV4:NUMBER")
    admin, number = match["admin"], int(match["number"])
    if "." in admin:
        try:
            address = IPv4Address(admin)
        except ValueError:
            raise ValueError(f"{text!r} is no {what}: {admin} is no IPv4 address") from None
        kind, head, room = _IP4, address.packed, 2
    else:
        asn = int(admin)
        if asn > 0xFFFFFFFF:
            raise ValueError(f"{text!r} is no {what}: AS {asn} is above 4294967295")
        if asn > 0xFFFF or match["as4"]:
            kind, head, room = _AS4, asn.to_bytes(4, "big"), 2
        else:
            kind, head, room = _AS2, asn.to_bytes(2, "big"), 4
    if number >= 1 << (8 * room):
        raise ValueError(f"{text!r} is no {what}: {number} is above {(1 << (8 * room)) - 1}")
    return kind, head + number.to_bytes(room, "big")


def _decode(kind: int, six: bytes) -> str:
    if kind == _IP4:
        return f"{IPv4Address(six[:4])}:{int.from_bytes(six[4:], 'big')}"
    if kind == _AS4:
        asn = int.from_bytes(six[:4], "big")
        # "L" keeps a four-octet encoding of a small AS apart from the two-octet one.
        return f"{asn}{'L' if asn <= 0xFFFF else ''}:{int.from_bytes(six[4:], 'big')}"
    return f"{int.from_bytes(six[:2], 'big')}:{int.from_bytes(six[2:], 'big')}"


@dataclass(frozen=True, slots=True, order=True)
class RouteTarget:
    """A route target as it stands in the extended communities attribute.

    ``octets``: 8 octets; type 0x00, 0x01 or 0x02 and sub-type 0x02 (RFC 4360 section 4), or type
    0x06 and sub-type 0x02: the ES-Import route target of an EVPN Ethernet Segment route (RFC 7432
    section 7.6), which is shown as ``es-import:MAC`` and never written in a policy.
    """

    octets: bytes

    @staticmethod
    @lru_cache(maxsize=1 << 14)  # most targets of an edited file are as they were
    def parse(text: str) -> RouteTarget:
        """From ``65000:100``, ``10.0.0.1:100``, ``4200000000:100`` or ``65000L:100``.

        Raises `ValueError` with a sentence for the operator.
        """
        kind, six = _encode(text, "route target")
        return RouteTarget(bytes((kind, 0x02)) + six)

    def __str__(self) -> str:
        if self.octets.startswith(ES_IMPORT):
            return f"es-import:{self.octets[2:].hex(':')}"
        return _decode(self.octets[0] & 0x03, self.octets[2:])


@dataclass(frozen=True, slots=True, order=True)
class RouteDistinguisher:
    """A route distinguisher as it stands in an NLRI: 8 octets (RFC 4364 section 4.2)."""

    octets: bytes

    @classmethod
    def parse(cls, text: str) -> RouteDistinguisher:
        """From ``65000:100``, ``10.0.0.1:100``, ``4200000000:100`` or ``65000L:100``.

        Raises `ValueError` with a sentence for the operator.
        """
        kind, six = _encode(text, "route distinguisher")
        return cls(bytes((0, kind)) + six)

    def __str__(self) -> str:
        kind = int.from_bytes(self.octets[:2], "big")
        if kind > _AS4:
            return f"type{kind}:{self.octets[2:].hex()}"
        return _decode(kind, self.octets[2:])
