"""Which of two flows a router looks at first, and whether a packet can match both.

A router orders flows by what they match, never by when they came (RFC 8955 section 5.1): so the
order of a policy file means nothing to it, and the checks of the policy see to it that nobody is
misled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key, lru_cache, partial
from itertools import pairwise
from typing import Any

from vpnctl.flowspec.components import (
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
    encode_component,
)

#: Bits of a header field by component type, where the values of a bitmask are tried one by one.
_MASK_BITS = {9: 8, 12: 4}
#: Above any value of any field.
_BEYOND = 1 << 64


def compare(version: int, one: Flow, other: Flow) -> int:
    """Below 0 if a router looks at ``one`` first, above 0 if at ``other``, 0 if they are equal."""
    for mine, yours in zip(one, other, strict=False):
        if mine.type != yours.type:
            return mine.type - yours.type
        if isinstance(mine, Prefix) and isinstance(yours, Prefix):
            found = _compare_prefixes(mine, yours)
        else:
            found = _compare_octets(
                encode_component(version, mine)[1:], encode_component(version, yours)[1:]
            )
        if found:
            return found
    # Who says more goes first.
    return len(other) - len(one)


def _compare_prefixes(mine: Prefix, yours: Prefix) -> int:
    if mine.offset != yours.offset:  # RFC 8956 section 4
        return mine.offset - yours.offset
    common = min(mine.bits, yours.bits)
    difference = (mine.value >> (mine.bits - common)) - (yours.value >> (yours.bits - common))
    return difference or yours.bits - mine.bits


def _compare_octets(mine: bytes, yours: bytes) -> int:
    common = min(len(mine), len(yours))
    if mine[:common] != yours[:common]:
        return -1 if mine[:common] < yours[:common] else 1
    return len(yours) - len(mine)


def looked_at(version: int) -> Callable[[Flow], Any]:
    """The key by which flows are sorted as a router looks at them, the first one first."""
    return cmp_to_key(partial(compare, version))


# -- overlap --------------------------------------------------------------------------------------


def may_overlap(one: Flow, other: Flow) -> bool:
    """Whether some packet could match both flows of an IP version.

    False only where one field rules it out; what two fields rule out together counts as possible.
    """
    fields = {component.type: component for component in other}
    return all(
        _meet(component, fields[component.type]) for component in one if component.type in fields
    )


def _meet(mine: Component, yours: Component) -> bool:
    if isinstance(mine, Prefix) and isinstance(yours, Prefix):
        low = max(mine.offset, yours.offset)
        high = min(mine.bits, yours.bits)
        return high <= low or _cut(mine, low, high) == _cut(yours, low, high)
    assert isinstance(mine, Terms)
    assert isinstance(yours, Terms)
    if mine.type in BITMASK_TYPES:
        return bool(bit_values(mine) & bit_values(yours))
    edges = ranges(yours)
    return any(
        first <= there[1] and there[0] <= last for first, last in ranges(mine) for there in edges
    )


def _cut(prefix: Prefix, low: int, high: int) -> int:
    """The bits from ``low`` to ``high`` of an address, of a prefix that has them."""
    return (prefix.value >> (prefix.bits - high)) & ((1 << (high - low)) - 1)


def _alternatives(terms: tuple[Term, ...]) -> list[list[Term]]:
    found: list[list[Term]] = []
    for term in terms:
        if found and term.operator & AND:
            found[-1].append(term)
        else:
            found.append([term])
    return found


def _holds(operator: int, value: int, wanted: int) -> bool:
    return (
        (bool(operator & LESS) and value < wanted)
        or (bool(operator & GREATER) and value > wanted)
        or (bool(operator & EQUAL) and value == wanted)
    )


@lru_cache(4096)
def ranges(component: Terms) -> tuple[tuple[int, int], ...]:
    """The values that a numeric component lets through, as ranges, ascending and apart."""
    # Between two neighbouring edges every comparison gives the same answer.
    edges = {0, _BEYOND}
    for term in component.terms:
        edges |= {term.value, term.value + 1}
    alternatives = _alternatives(component.terms)
    found: list[tuple[int, int]] = []
    for first, beyond in pairwise(sorted(edges)):
        if any(
            all(_holds(term.operator, first, term.value) for term in terms)
            for terms in alternatives
        ):
            joined = bool(found) and found[-1][1] == first - 1
            found.append((found.pop()[0] if joined else first, beyond - 1))
    return tuple(found)


@lru_cache(4096)
def bit_values(component: Terms) -> frozenset[int]:
    """The values that a bitmask component lets through."""
    alternatives = _alternatives(component.terms)
    return frozenset(
        value
        for value in range(1 << _MASK_BITS[component.type])
        if any(all(_mask_holds(term, value) for term in terms) for terms in alternatives)
    )


def _mask_holds(term: Term, value: int) -> bool:
    both = value & term.value
    holds = both == term.value if term.operator & MATCH else both != 0
    return holds != bool(term.operator & NOT)
