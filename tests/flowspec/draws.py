"""Flows as hypothesis draws them, and packets to try them on."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from vpnctl.flowspec.components import (
    ADDRESS_BITS,
    AND,
    BITMASK_TYPES,
    EQUAL,
    GREATER,
    LESS,
    MATCH,
    NOT,
    Component,
    Flow,
    Prefix,
    Term,
    Terms,
)

DESTINATION, SOURCE = 1, 2
#: Largest value of the field by component type, as small as the test of overlaps needs.
MOST = {3: 255, 5: 65535, 6: 65535, 7: 255, 8: 255, 9: 255, 10: 65535, 11: 63, 12: 15}


@st.composite
def prefixes(draw: st.DrawFn, version: int, kind: int) -> Prefix:
    bits = draw(st.integers(0, ADDRESS_BITS[version]))
    offset = 0
    if version == 6 and bits and draw(st.booleans()):
        offset = draw(st.integers(0, bits - 1))
    width = bits - offset
    # Few values, so that prefixes meet.
    value = draw(st.sampled_from((0, 1, 2, (1 << width) - 1))) & ((1 << width) - 1)
    octets = (width + 7) // 8
    return Prefix(kind, bits, offset, (value << (8 * octets - width)).to_bytes(octets, "big"))


@st.composite
def terms(draw: st.DrawFn, kind: int) -> Terms:
    most = MOST[kind]
    operators = st.sampled_from(
        (0, MATCH, NOT, NOT | MATCH) if kind in BITMASK_TYPES else (EQUAL, GREATER | EQUAL, LESS)
    )
    found = []
    for number in range(draw(st.integers(1, 3))):
        joined = AND if number and draw(st.booleans()) else 0
        near = st.sampled_from((0, 1, 2, 6, most // 2, most))
        found.append(Term(draw(operators) | joined, draw(near)))
    return Terms(kind, tuple(found))


@st.composite
def flows(draw: st.DrawFn, version: int) -> Flow:
    kinds = sorted(draw(st.sets(st.sampled_from((1, 2, *MOST)), min_size=1, max_size=4)))
    found: list[Component] = []
    for kind in kinds:
        strategy = prefixes(version, kind) if kind <= SOURCE else terms(kind)
        found.append(draw(strategy))
    return tuple(found)


@dataclass(frozen=True)
class Packet:
    """A packet: addresses as numbers, other fields by component type."""

    version: int
    addresses: dict[int, int]
    fields: dict[int, int]


def matches(packet: Packet, flow: Flow) -> bool:
    """Whether a packet matches, said once more and as plainly as the RFC does."""
    return all(_component(packet, component) for component in flow)


def _component(packet: Packet, component: Component) -> bool:
    if isinstance(component, Prefix):
        spare = ADDRESS_BITS[packet.version] - component.bits
        width = component.bits - component.offset
        part = (packet.addresses[component.type] >> spare) & ((1 << width) - 1)
        whole = int.from_bytes(component.pattern, "big")
        return part == whole >> (8 * len(component.pattern) - width)
    value = packet.fields[component.type]
    found = group = False
    for number, term in enumerate(component.terms):
        holds = _holds(component.type, term, value)
        if number and term.operator & AND:
            group = group and holds
        else:
            found = found or (number > 0 and group)
            group = holds
    return found or group


def _holds(kind: int, term: Term, value: int) -> bool:
    if kind in BITMASK_TYPES:
        both = value & term.value
        holds = both == term.value if term.operator & MATCH else both > 0
        return not holds if term.operator & NOT else holds
    if term.operator & LESS and value < term.value:
        return True
    if term.operator & GREATER and value > term.value:
        return True
    return bool(term.operator & EQUAL) and value == term.value


@st.composite
def packets(draw: st.DrawFn, version: int) -> Packet:
    bits = ADDRESS_BITS[version]
    near = st.sampled_from((0, 1, 2, 1 << (bits - 1), (1 << bits) - 1))
    return Packet(
        version,
        {kind: draw(near) for kind in (DESTINATION, SOURCE)},
        {kind: draw(st.sampled_from((0, 1, 2, 5, 6, 7, most))) for kind, most in MOST.items()},
    )
