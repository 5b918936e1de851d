"""Traffic filtering actions: extended communities of a flow route (RFC 8955 section 7)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from vpnctl.model import RouteTarget

#: Type and sub-type of each action.
RATE_BYTES, TRAFFIC_ACTION, MARKING, RATE_PACKETS = (
    b"\x80\x06",
    b"\x80\x07",
    b"\x80\x09",
    b"\x80\x0c",
)
#: Redirect to the VRFs that import a target, by the first octet of that target.
_REDIRECT = {0x00: b"\x80\x08", 0x01: b"\x81\x08", 0x02: b"\x82\x08"}
_TARGET_OF = {community: kind for kind, community in _REDIRECT.items()}

#: Changes nothing: evaluation stops here, as it would anyway, and no packet is sampled.
NO_ACTION = TRAFFIC_ACTION + bytes(6)

_RATE = struct.Struct("!2sHf")


def rate_bytes(octets_per_second: float, asn: int = 0) -> bytes:
    """Let at most so many octets a second pass; 0 drops everything (section 7.1).

    ``asn`` is informative, and 0 where it does not fit two octets.
    """
    return _RATE.pack(RATE_BYTES, asn if asn <= 0xFFFF else 0, octets_per_second)


def rate_packets(packets_per_second: float, asn: int = 0) -> bytes:
    """Let at most so many packets a second pass (section 7.2)."""
    return _RATE.pack(RATE_PACKETS, asn if asn <= 0xFFFF else 0, packets_per_second)


def redirect(target: RouteTarget) -> bytes:
    """Forward in the VRF that imports a target (section 7.4)."""
    return _REDIRECT[target.octets[0]] + target.octets[2:]


def mark(dscp: int) -> bytes:
    """Set the DSCP, 0 to 63 (section 7.5)."""
    return MARKING + bytes((0, 0, 0, 0, 0, dscp))


def action_texts(communities: bytes) -> Iterator[str]:
    """What some extended communities do to a packet; those that are no actions are left out."""
    for at in range(0, len(communities), 8):
        community = communities[at : at + 8]
        kind, value = community[:2], community[2:]
        if kind in (RATE_BYTES, RATE_PACKETS):
            per_second: float = struct.unpack("!f", value[2:])[0]
            if per_second <= 0:
                yield "drop"
            elif kind == RATE_PACKETS:
                yield f"at most {per_second:g} packets/s"
            else:
                yield f"at most {_bits(per_second * 8)}b/s"
        elif kind == MARKING:
            yield f"mark DSCP {value[5] & 0x3F}"
        elif kind in _TARGET_OF:
            target = RouteTarget(bytes((_TARGET_OF[kind], 0x02)) + value)
            yield f"redirect to {target}"


def _bits(per_second: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if per_second >= size:
            return f"{per_second / size:g} {unit}"
    return f"{per_second:g} "
