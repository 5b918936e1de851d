"""Whether a flow route that a PE announces is feasible (RFC 8955 section 6, RFC 9117 section 4).

What a flow route may decide is what its originator is the way to: traffic to a destination whose
best route comes from the same originator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vpnctl.flowspec.components import DESTINATION, Flow, Prefix
from vpnctl.routing.attributes import Attributes


class Unicast(NamedTuple):
    """A unicast route of the VRF: ``value`` holds the first ``bits`` bits of its prefix.

    ``originator``: its ORIGINATOR_ID or the BGP Identifier of who announced it; ``neighbor_as``: 0
    where the route is from inside.
    """

    bits: int
    value: int
    originator: bytes
    neighbor_as: int


def infeasible(flow: Flow, attributes: Attributes, unicast: Iterable[Unicast]) -> str:
    """Why a flow route is not feasible, or an empty string.

    ``unicast``: the routes of the flow's IP version in the VRF that it is for.  The letters are
    those of RFC 9117 section 4.1.
    """
    destination = flow[0]
    if not isinstance(destination, Prefix) or destination.type != DESTINATION:
        return "it names no destination (a)"
    if destination.offset:
        return "its destination is not the beginning of an address (a)"
    routes = list(unicast)
    covering = [one for one in routes if _covers(one, destination)]
    best = max(covering, key=lambda one: one.bits, default=None)
    path = attributes.path
    inside = path.length == 0  # empty, or of our confederation alone
    if best is None:
        return "" if inside else "no unicast route leads to its destination (b)"
    if best.originator != attributes.originator_id and not inside:
        return "the best route to its destination comes from another originator (b)"
    if attributes.origin.external and path.first != best.neighbor_as:
        return (
            f"its AS_PATH begins with AS {path.first}, that of the best route to its destination"
            f" with AS {best.neighbor_as} (RFC 9117 section 4.2)"
        )
    for one in routes:
        if _within(one, destination) and one.neighbor_as != best.neighbor_as:
            return f"AS {one.neighbor_as or 'of our own'} announces a part of its destination (c)"
    return ""


def _covers(route: Unicast, destination: Prefix) -> bool:
    return (
        route.bits <= destination.bits
        and destination.value >> (destination.bits - route.bits) == route.value
    )


def _within(route: Unicast, destination: Prefix) -> bool:
    """Whether a route is more specific than the destination."""
    return (
        route.bits > destination.bits
        and route.value >> (route.bits - destination.bits) == destination.value
    )
