"""Whether a flow route that a PE announces is feasible (RFC 8955 section 6, RFC 9117 section 4.1).

What a flow route may decide is what its PE is the way to: traffic to a destination that leads to
its site by the unicast routes of the VRF.  Where all PEs share one AS, the conditions of RFC 9117
alone would let each of them decide for all others; so

- a PE is no controller: an empty AS_PATH does not stand for the right unicast route (b.2 is off);
- whoever else announces the destination, or a part of it, must be at the same site, in the same
  neighbouring AS and, for the route that is best, the flow's own originator (b.1 and c).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vpnctl.flowspec.components import ADDRESS_BITS, DESTINATION, Flow, Prefix


class Unicast(NamedTuple):
    """A unicast route of a VRF: ``value`` holds the first ``bits`` bits of its prefix.

    ``peer``: the PE that announced it; ``originator``: its ORIGINATOR_ID or that PE's BGP
    Identifier; ``neighbor_as``: 0 where the route is from inside.
    """

    bits: int
    value: int
    peer: str
    originator: bytes
    neighbor_as: int


class Speaker(NamedTuple):
    """Who announced a flow route; ``site``: all PEs of the site that it speaks for."""

    peer: str
    originator: bytes
    neighbor_as: int
    site: frozenset[str]


class UnicastTable:
    """The unicast routes of a VRF, of one IP version, by prefix."""

    def __init__(self, version: int, routes: Iterable[Unicast]) -> None:
        self._bits = ADDRESS_BITS[version]
        self._by_prefix: dict[tuple[int, int], list[Unicast]] = {}
        for route in routes:
            self._by_prefix.setdefault((route.bits, route.value), []).append(route)
        #: First address and length of each prefix, ascending.
        self._spans = sorted(
            (value << (self._bits - bits), bits, value) for bits, value in self._by_prefix
        )

    def covering(self, bits: int, value: int) -> list[Unicast]:
        """The routes with the longest prefix that covers another."""
        for length in range(bits, -1, -1):
            found = self._by_prefix.get((length, value >> (bits - length)))
            if found:
                return found
        return []

    def within(self, bits: int, value: int) -> Iterator[Unicast]:
        """The routes that are more specific than a prefix."""
        spare = self._bits - bits
        end = (value + 1) << spare
        for at in range(bisect_left(self._spans, (value << spare, bits + 1, 0)), len(self._spans)):
            start, length, number = self._spans[at]
            if start >= end:
                return
            if length > bits:
                yield from self._by_prefix[length, number]


def destination_of(flow: Flow) -> Prefix | None:
    """The destination that a flow names, None without one or where it has an offset."""
    first = flow[0]
    if isinstance(first, Prefix) and first.type == DESTINATION and not first.offset:
        return first
    return None


def infeasible(flow: Flow, speaker: Speaker, unicast: UnicastTable) -> str:
    """Why a flow route is not feasible in a VRF, or an empty string.

    The letters are those of RFC 9117 section 4.1.
    """
    destination = destination_of(flow)
    if destination is None:
        return "it names no destination (a)"
    best = unicast.covering(destination.bits, destination.value)
    if not best:
        return "no unicast route leads to its destination (b)"
    own = [one for one in best if (one.peer, one.originator) == speaker[:2]]
    others = sorted({one.peer for one in best if one.peer not in speaker.site})
    if others:
        return f"the route to its destination is that of {', '.join(others)} (b)"
    if not own:
        return "the route to its destination has another originator (b)"
    if any(one.neighbor_as != speaker.neighbor_as for one in own):
        return (
            f"its AS_PATH begins with AS {speaker.neighbor_as}, that of the route to its"
            f" destination with AS {own[0].neighbor_as} (RFC 9117 section 4.2)"
        )
    for one in unicast.within(destination.bits, destination.value):
        if one.peer not in speaker.site:
            return f"{one.peer} announces a part of its destination (c)"
        if one.neighbor_as != speaker.neighbor_as:
            return f"AS {one.neighbor_as or 'of our own'} announces a part of its destination (c)"
    return ""
