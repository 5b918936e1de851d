"""NLRI as bytes: where one ends, what identifies it, and how an operator writes it.

An NLRI is kept exactly as received.  Its *key* is the part that identifies the route, so that a
second announcement replaces the first: the label of a VPN-IP route, the label block of a VPLS
route, the ESI and label of an EVPN MAC route are no part of it.

============ ============================ ==========================================
family       NLRI                         key
============ ============================ ==========================================
vpnv4, vpnv6 RFC 4364, 8277               prefix length, RD, prefix
vpls         RFC 4761 section 3.2.2       RD, VE-ID, VE block offset
vpls         RFC 6074 section 3.2.2.1     RD, PE address
evpn         RFC 7432 section 7, RFC 9136 per route type; the whole NLRI of unknown types
ipv4 flow... RFC 8955 section 4, RFC 8956 all but the length; see `vpnctl.flowspec.nlri`
============ ============================ ==========================================

As text: ``65000:1:10.1.0.0/24``, ``65000:1:2001:db8::/32``, ``10.0.0.1:100:ve1@1`` (VE-ID and
block offset), ``10.0.0.1:100:pe10.0.0.1``, ``evpn/2/10.0.0.1:100/0/00:11:22:33:44:55/10.1.0.5``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address

from vpnctl.flowspec import nlri as flow_nlri
from vpnctl.flowspec.components import MalformedFlowError
from vpnctl.model import EVPN, VPLS, VPNV4, VPNV6, Family, RouteDistinguisher
from vpnctl.model.family import FLOW_FAMILIES

_OCTET = [bytes((value,)) for value in range(256)]

#: A label of three octets and a route distinguisher of eight stand before the prefix.
_VPN_OVERHEAD_BITS = 8 * (3 + 8)

#: EVPN route types with a layout that we know (RFC 7432 section 7, RFC 9136 section 3.1).
_ETHERNET_AD, _MAC_IP, _MULTICAST, _ETHERNET_SEGMENT, _IP_PREFIX = 1, 2, 3, 4, 5
_MAC_BITS = 48
#: Length in bits of the IP address of a MAC/IP route -> octets.
_IP_OCTETS = {0: 0, 32: 4, 128: 16}


class MalformedNlriError(ValueError):
    """One NLRI has a length that its type does not allow; the ones around it can be read."""


class NlriFramingError(ValueError):
    """Where the NLRI of a field begin and end cannot be told (RFC 7606 section 5.3)."""


def _vpn_key(nlri: bytes, most_bits: int) -> bytes:
    # Without the Multiple Labels capability there is one label of three octets, whatever its
    # bottom-of-stack bit says, and a withdrawal has anything in its place (RFC 8277 section 2).
    prefix_bits = nlri[0] - _VPN_OVERHEAD_BITS
    if not 0 <= prefix_bits <= most_bits:
        raise NlriFramingError(f"a VPN-IP NLRI of {nlri[0]} bits")
    spare = -prefix_bits & 7
    if spare and nlri[-1] & ((1 << spare) - 1):
        # Trailing bits are irrelevant (RFC 4271 section 4.3) and must not make another route.
        nlri = nlri[:-1] + _OCTET[nlri[-1] >> spare << spare]
    return _OCTET[prefix_bits] + nlri[4:]


def _vpnv4_key(nlri: bytes) -> bytes:
    # A byte-aligned prefix is nearly every NLRI that exists.
    bits = nlri[0]
    if not bits & 7 and 88 <= bits <= 120:
        return _OCTET[bits - 88] + nlri[4:]
    return _vpn_key(nlri, 32)


def _vpnv6_key(nlri: bytes) -> bytes:
    return _vpn_key(nlri, 128)


def _vpls_key(nlri: bytes) -> bytes:
    length = len(nlri)
    if (length == 19 and nlri[1] == 17) or (length == 14 and nlri[1] == 12):
        # The length octet stays in front to keep the two NLRI formats apart.
        return nlri[1:14]
    raise MalformedNlriError(f"a VPLS NLRI of {length - 2} octets")


def _evpn_key(nlri: bytes) -> bytes:
    kind = nlri[0]
    value = nlri[1]
    if kind == _MAC_IP:
        ip_octets = _IP_OCTETS.get(nlri[31]) if value >= 33 else None
        if (
            ip_octets is not None
            and value in (33 + ip_octets, 36 + ip_octets)
            and nlri[24] == _MAC_BITS
        ):
            return nlri[:1] + nlri[2:10] + nlri[20 : 32 + ip_octets]
    elif kind == _IP_PREFIX:
        if (value == 34 and nlri[24] <= 32) or (value == 58 and nlri[24] <= 128):
            return nlri[:1] + nlri[2:10] + nlri[20 : 29 if value == 34 else 41]
    elif kind == _ETHERNET_AD:
        if value == 25:
            return nlri[:1] + nlri[2:24]
    elif kind == _MULTICAST:
        if value in (17, 29) and nlri[14] == 8 * (value - 13):
            return nlri
    elif kind == _ETHERNET_SEGMENT:
        if value in (23, 35) and nlri[20] == 8 * (value - 19):
            return nlri
    else:
        return nlri
    raise MalformedNlriError(f"an EVPN type {kind} NLRI of {value} octets")


def _flow_key(family: Family, nlri: bytes) -> bytes:
    try:
        return flow_nlri.key_of(family, nlri)
    except MalformedFlowError as error:
        raise MalformedNlriError(f"{family}: {error}") from error


#: family -> function from the octets of one NLRI to its key; raises `MalformedNlriError` or
#: `NlriFramingError`.
KEY_OF: dict[Family, Callable[[bytes], bytes]] = {
    VPNV4: _vpnv4_key,
    VPNV6: _vpnv6_key,
    VPLS: _vpls_key,
    EVPN: _evpn_key,
    **{family: partial(_flow_key, family) for family in FLOW_FAMILIES.values()},
}


#: Octets at the beginning of an NLRI that say how long it is and, in EVPN, of what type.
LEAD_OCTETS: dict[Family, int] = {
    VPNV4: 1,
    VPNV6: 1,
    VPLS: 2,
    EVPN: 2,
    **dict.fromkeys(FLOW_FAMILIES.values(), 2),
}


def _one_octet_bits(field: bytes, at: int) -> int:
    return at + 1 + (field[at] + 7) // 8


def _two_octets(field: bytes, at: int) -> int:
    return at + 2 + int.from_bytes(field[at : at + 2], "big") if at + 2 <= len(field) else at + 2


def _type_and_octet(field: bytes, at: int) -> int:
    return at + 2 + field[at + 1] if at + 2 <= len(field) else at + 2


_END_OF: dict[Family, Callable[[bytes, int], int]] = {
    VPNV4: _one_octet_bits,
    VPNV6: _one_octet_bits,
    VPLS: _two_octets,
    EVPN: _type_and_octet,
    **dict.fromkeys(FLOW_FAMILIES.values(), flow_nlri.end_of),
}


def end_of(family: Family) -> Callable[[bytes, int], int]:
    """A function from (field, where an NLRI begins) to where it ends, maybe beyond the field."""
    return _END_OF[family]


def split(family: Family, field: bytes) -> list[bytes]:
    """Cut the NLRI field of MP_REACH_NLRI or MP_UNREACH_NLRI into NLRI.

    Raises `NlriFramingError` when the lengths do not add up to the field's.
    """
    end_of = _END_OF[family]
    found = []
    at, end = 0, len(field)
    while at < end:
        stop = end_of(field, at)
        if stop > end:
            raise NlriFramingError(f"{family} NLRI at octet {at} runs {stop - end} octets over")
        found.append(field[at:stop])
        at = stop
    return found


def is_segment(nlri: bytes) -> bool:
    """Whether an EVPN NLRI is an Ethernet Segment route (RFC 7432 section 7.4)."""
    return nlri[0] == _ETHERNET_SEGMENT


def distinguisher(family: Family, key: bytes) -> bytes:
    """The eight octets of the route distinguisher within a key, none where it has no such."""
    if family.name in FLOW_FAMILIES:
        return key[: flow_nlri.RD_OCTETS] if flow_nlri.has_rd(family) else b""
    if family is EVPN and key[0] not in (_ETHERNET_AD, _MAC_IP, _IP_PREFIX):
        return key[2:10]  # keys that are whole NLRI: type, length, RD
    return key[1:9]


# -- text ------------------------------------------------------------------------------------


def _address(octets: bytes) -> str:
    return str(ip_address(octets))


def _mac(octets: bytes) -> str:
    return octets.hex(":")


def _evpn_text(key: bytes) -> str:
    kind = key[0]
    rd = RouteDistinguisher(distinguisher(EVPN, key))
    if kind == _MAC_IP:
        tag, mac = int.from_bytes(key[9:13], "big"), _mac(key[14:20])
        address = f"/{_address(key[21:])}" if key[20] else ""
        return f"evpn/2/{rd}/{tag}/{mac}{address}"
    if kind == _IP_PREFIX:
        tag = int.from_bytes(key[9:13], "big")
        return f"evpn/5/{rd}/{tag}/{_address(key[14:])}/{key[13]}"
    if kind == _ETHERNET_AD:
        return f"evpn/1/{rd}/{_mac(key[9:19])}/{int.from_bytes(key[19:23], 'big')}"
    if kind == _MULTICAST:
        return f"evpn/3/{rd}/{int.from_bytes(key[10:14], 'big')}/{_address(key[15:])}"
    if kind == _ETHERNET_SEGMENT:
        return f"evpn/4/{rd}/{_mac(key[10:20])}/{_address(key[21:])}"
    return f"evpn/{kind}/{key[2:].hex()}"


def to_text(family: Family, key: bytes) -> str:
    """A key as the operator reads and writes it; the inverse of `from_text`."""
    if family is EVPN:
        return _evpn_text(key)
    if family.name in FLOW_FAMILIES:
        return flow_nlri.to_text(family, key)
    rd = RouteDistinguisher(key[1:9])
    if family is VPLS:
        if key[0] == 12:
            return f"{rd}:pe{IPv4Address(key[9:13])}"
        ve_id, offset = int.from_bytes(key[9:11], "big"), int.from_bytes(key[11:13], "big")
        return f"{rd}:ve{ve_id}@{offset}"
    size = 4 if family is VPNV4 else 16
    return f"{rd}:{_address(key[9:].ljust(size, bytes(1)))}/{key[0]}"


def _exactly(octets: int, text: str) -> bytes:
    """Octets written in hexadecimal, colons between them or not."""
    found = bytes.fromhex(text.replace(":", ""))
    if len(found) != octets:
        raise ValueError(f"{text} is not {octets} octets")
    return found


def _prefix_bits(address: IPv4Address | IPv6Address, text: str) -> int:
    bits = int(text)
    if not 0 <= bits <= address.max_prefixlen:
        raise ValueError(f"prefix length {bits}")
    return bits


def _evpn_from_text(text: str) -> bytes:
    words = text.split("/")
    kind = int(words[1])
    if kind not in (_ETHERNET_AD, _MAC_IP, _MULTICAST, _ETHERNET_SEGMENT, _IP_PREFIX):
        value = bytes.fromhex(words[2])
        return bytes((kind, len(value))) + value
    rd = RouteDistinguisher.parse(words[2]).octets
    if kind == _MAC_IP:
        tag, mac = int(words[3]).to_bytes(4, "big"), _exactly(6, words[4])
        address = ip_address(words[5]).packed if len(words) > 5 else b""
        return b"\x02" + rd + tag + b"\x30" + mac + bytes((8 * len(address),)) + address
    if kind == _IP_PREFIX:
        tag, prefix = int(words[3]).to_bytes(4, "big"), ip_address(words[4])
        return b"\x05" + rd + tag + bytes((_prefix_bits(prefix, words[5]),)) + prefix.packed
    if kind == _ETHERNET_AD:
        return b"\x01" + rd + _exactly(10, words[3]) + int(words[4]).to_bytes(4, "big")
    if kind == _MULTICAST:
        middle = int(words[3]).to_bytes(4, "big")
    else:
        middle = _exactly(10, words[3])
    address = ip_address(words[4]).packed
    value = rd + middle + bytes((8 * len(address),)) + address
    return bytes((kind, len(value))) + value


def from_text(text: str) -> tuple[Family, bytes]:
    """Family and key of an NLRI in its text form; `ValueError` says how to write one.

    A VPLS NLRI without ``@OFFSET`` has block offset 1.
    """
    try:
        if text.startswith("evpn/"):
            return EVPN, _evpn_from_text(text)
        if text.startswith(("flow4/", "flow6/")):
            return flow_nlri.from_text(text)
        admin, number, rest = text.split(":", 2)
        rd = RouteDistinguisher.parse(f"{admin}:{number}").octets
        if rest.startswith("ve"):
            ve_id, _, offset = rest[2:].partition("@")
            block = int(ve_id).to_bytes(2, "big") + int(offset or "1").to_bytes(2, "big")
            return VPLS, b"\x11" + rd + block
        if rest.startswith("pe"):
            return VPLS, b"\x0c" + rd + IPv4Address(rest[2:]).packed
        address_text, _, bits_text = rest.rpartition("/")
        prefix = ip_address(address_text)
        bits = _prefix_bits(prefix, bits_text)
        family = VPNV6 if isinstance(prefix, IPv6Address) else VPNV4
        # The key of any NLRI with a label will do; it drops host bits.
        nlri = bytes((bits + _VPN_OVERHEAD_BITS, 0, 0, 1)) + rd + prefix.packed[: (bits + 7) // 8]
        return family, KEY_OF[family](nlri)
    except (ValueError, IndexError, KeyError, OverflowError):
        raise ValueError(
            f"{text!r} is no NLRI: write RD:PREFIX/LENGTH, RD:veID@OFFSET,"
            " evpn/TYPE/RD/... or flow4/RD/... as 'vpnctl show rib-in' prints them"
        ) from None
