"""The components of a flow specification, from and to octets (RFC 8955 section 4.2.2, RFC 8956).

A flow is a tuple of components in ascending order of their types, each type at most once; a packet
matches when it matches all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

DESTINATION, SOURCE, PROTOCOL, PORT, DESTINATION_PORT, SOURCE_PORT = 1, 2, 3, 4, 5, 6
ICMP_TYPE, ICMP_CODE, TCP_FLAGS, LENGTH, DSCP, FRAGMENT, FLOW_LABEL = 7, 8, 9, 10, 11, 12, 13

PREFIX_TYPES = frozenset((DESTINATION, SOURCE))
BITMASK_TYPES = frozenset((TCP_FLAGS, FRAGMENT))

#: Bits of a numeric operator (RFC 8955 section 4.2.1.1).
LESS, GREATER, EQUAL = 0x04, 0x02, 0x01
#: Bits of a bitmask operator (section 4.2.1.2).
NOT, MATCH = 0x02, 0x01
#: Bits of both; the length of the value is 1 << (operator & LENGTH_BITS) >> 4 octets.
END, AND, _LENGTH_BITS = 0x80, 0x40, 0x30

#: Bits of the fragment component (RFC 8955 section 4.2.2.12).
DONT_FRAGMENT, IS_FRAGMENT, FIRST_FRAGMENT, LAST_FRAGMENT = 0x01, 0x02, 0x04, 0x08

#: Address bits by IP version.
ADDRESS_BITS = {4: 32, 6: 128}
_LAST_TYPE = {4: FRAGMENT, 6: FLOW_LABEL}

#: Octets of the longest value that a component of a type may have.
_MOST_OCTETS = {
    PROTOCOL: 1,
    PORT: 2,
    DESTINATION_PORT: 2,
    SOURCE_PORT: 2,
    ICMP_TYPE: 1,
    ICMP_CODE: 1,
    TCP_FLAGS: 2,
    LENGTH: 2,
    DSCP: 1,
    FRAGMENT: 1,
    FLOW_LABEL: 4,
}


class MalformedFlowError(ValueError):
    """Octets that are no flow specification; the message says why."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """An address prefix; for IPv6 the bits from ``offset`` on (RFC 8956 section 3.1).

    ``bits``: the prefix length, counted from the beginning of the address; ``pattern``: the bits
    from ``offset`` to ``bits``, in as many octets as they need, those behind them zero.
    """

    type: int
    bits: int
    offset: int
    pattern: bytes

    @property
    def value(self) -> int:
        """The bits of the pattern as a number."""
        width = self.bits - self.offset
        return int.from_bytes(self.pattern, "big") >> (8 * len(self.pattern) - width)


class Term(NamedTuple):
    """A comparison: ``operator`` without length and end, `AND` set where it joins the one before.

    ``octets``: how long the value is written, 0 for as short as it fits.
    """

    operator: int
    value: int
    octets: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """A list of comparisons of one header field: alternatives of what `AND` joins."""

    type: int
    terms: tuple[Term, ...]


Component = Prefix | Terms
Flow = tuple[Component, ...]


def prefix(type_: int, network: IPv4Network | IPv6Network) -> Prefix:
    """The component of a type that matches a network's addresses."""
    octets = (network.prefixlen + 7) // 8
    return Prefix(type_, network.prefixlen, 0, network.network_address.packed[:octets])


def spans(type_: int, ranges: Iterable[tuple[int, int]]) -> Terms:
    """The component of a type that matches any of some ranges, both ends included."""
    terms: list[Term] = []
    for first, last in ranges:
        if first == last:
            terms.append(Term(EQUAL, first))
        else:
            terms += (Term(GREATER | EQUAL, first), Term(AND | LESS | EQUAL, last))
    return Terms(type_, tuple(terms))


# -- to octets ------------------------------------------------------------------------------------


def _fit(value: int) -> int:
    """Octets of the shortest of the lengths in which a value can be written."""
    return next(octets for octets in (1, 2, 4, 8) if value < 1 << (8 * octets))


def encode_component(version: int, component: Component) -> bytes:
    """One component for an IP version, its type first."""
    if isinstance(component, Prefix):
        head = (component.type, component.bits)
        return bytes(head if version == 4 else (*head, component.offset)) + component.pattern
    found = [bytes((component.type,))]
    last = len(component.terms) - 1
    for number, (operator, value, written) in enumerate(component.terms):
        octets = written or _fit(value)
        lead = operator | (octets.bit_length() - 1) << 4 | (END if number == last else 0)
        found.append(bytes((lead,)) + value.to_bytes(octets, "big"))
    return b"".join(found)


def encode(version: int, flow: Flow) -> bytes:
    """A flow for an IP version (4 or 6), as it stands in an NLRI behind length and RD."""
    return b"".join(encode_component(version, component) for component in flow)


# -- from octets ----------------------------------------------------------------------------------


def decode(version: int, octets: bytes) -> Flow:
    """The inverse of `encode`; raises `MalformedFlowError`."""
    found: list[Component] = []
    at, before = 0, 0
    while at < len(octets):
        kind = octets[at]
        if not DESTINATION <= kind <= _LAST_TYPE[version]:
            raise MalformedFlowError(f"component type {kind} is not known")
        if kind <= before:
            raise MalformedFlowError(f"component type {kind} stands behind {before}")
        component: Component
        if kind in PREFIX_TYPES:
            component, at = _prefix(version, octets, at)
        else:
            component, at = _terms(octets, at)
        found.append(component)
        before = kind
    if not found:
        raise MalformedFlowError("a flow without components")
    return tuple(found)


def _prefix(version: int, octets: bytes, at: int) -> tuple[Prefix, int]:
    start = at + (2 if version == 4 else 3)
    if start > len(octets):
        raise MalformedFlowError("a prefix is cut short")
    kind, bits = octets[at], octets[at + 1]
    offset = 0 if version == 4 else octets[at + 2]
    # RFC 8956 section 3.1: an offset at or behind the length is malformed, but for ::/0.
    if bits > ADDRESS_BITS[version] or offset > bits or (offset == bits and bits):
        raise MalformedFlowError(f"a prefix of bits {offset} to {bits}")
    size = (bits - offset + 7) // 8
    pattern = octets[start : start + size]
    if len(pattern) < size:
        raise MalformedFlowError("a prefix is cut short")
    spare = -(bits - offset) & 7
    if spare:
        # Trailing bits are irrelevant and must not make another flow.
        pattern = pattern[:-1] + bytes((pattern[-1] >> spare << spare,))
    return Prefix(kind, bits, offset, pattern), start + size


def _terms(octets: bytes, at: int) -> tuple[Terms, int]:
    kind = octets[at]
    at += 1
    bitmask = kind in BITMASK_TYPES
    found: list[Term] = []
    while True:
        if at >= len(octets):
            raise MalformedFlowError(f"component type {kind} has no end")
        lead = octets[at]
        size = 1 << ((lead & _LENGTH_BITS) >> 4)
        value = octets[at + 1 : at + 1 + size]
        if len(value) < size:
            raise MalformedFlowError(f"a value of component type {kind} is cut short")
        if size > _MOST_OCTETS[kind]:
            raise MalformedFlowError(f"a value of {size} octets in component type {kind}")
        at += 1 + size
        # Other bits are to be ignored, and so is the first one's AND.
        operator = lead & (NOT | MATCH if bitmask else LESS | GREATER | EQUAL)
        operator |= lead & AND if found else 0
        number = int.from_bytes(value, "big")
        found.append(Term(operator, number, 0 if _fit(number) == size else size))
        if lead & END:
            return Terms(kind, tuple(found)), at
