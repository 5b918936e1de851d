"""Flow routes (RFC 8955) out of the octets of an UPDATE, which ExaBGP passes on beside its words.

Octets, because ExaBGP's words for a flow are made for people.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vpnctl.flowspec.components import Flow, MalformedFlowError
from vpnctl.flowspec.nlri import end_of, key_of, parts
from vpnctl.model import Family, RouteTarget
from vpnctl.model.family import FLOW_FAMILIES

_FAMILIES = {family.octets: family for family in FLOW_FAMILIES.values()}
_EXTENDED_LENGTH = 0x10
_MP_REACH_NLRI, _MP_UNREACH_NLRI, _EXTENDED_COMMUNITIES = 14, 15, 16
_ROUTE_TARGETS = frozenset((b"\x00\x02", b"\x01\x02", b"\x02\x02"))


@dataclass(frozen=True, slots=True, order=True)
class FlowKey:
    """What identifies a flow route; ``octets``: see `vpnctl.flowspec.nlri`."""

    family: Family
    octets: bytes

    @property
    def flow(self) -> Flow:
        return parts(self.family, self.octets)[1]


@dataclass(frozen=True, slots=True)
class FlowRoute:
    """A flow route as it was heard; ``communities``: the others, 8 octets each, as actions."""

    key: FlowKey
    targets: frozenset[RouteTarget]
    communities: bytes


def flow_routes(body: bytes) -> tuple[list[FlowRoute], list[FlowKey]]:
    """The flow routes that the body of an UPDATE announces, and those that it withdraws.

    Raises `ValueError` when it is none.
    """
    announced: list[FlowKey] = []
    withdrawn: list[FlowKey] = []
    targets: set[RouteTarget] = set()
    communities = b""
    for code, value in _attributes(body):
        if code == _EXTENDED_COMMUNITIES:
            for at in range(0, len(value), 8):
                community = value[at : at + 8]
                if community[:2] in _ROUTE_TARGETS:
                    targets.add(RouteTarget(community))
                else:
                    communities += community
        elif code == _MP_REACH_NLRI and value[:3] in _FAMILIES:
            announced += _keys(_FAMILIES[value[:3]], value[5 + value[3] :])
        elif code == _MP_UNREACH_NLRI and value[:3] in _FAMILIES:
            withdrawn += _keys(_FAMILIES[value[:3]], value[3:])
    return [FlowRoute(key, frozenset(targets), communities) for key in announced], withdrawn


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    try:
        at = 4 + int.from_bytes(body[:2], "big")
        stop = at + int.from_bytes(body[at - 2 : at], "big")
        while at < stop:
            extended = body[at] & _EXTENDED_LENGTH
            start = at + (4 if extended else 3)
            size = int.from_bytes(body[at + 2 : start], "big")
            yield body[at + 1], body[start : start + size]
            at = start + size
    except IndexError as error:
        raise ValueError("no UPDATE") from error


def _keys(family: Family, field: bytes) -> Iterator[FlowKey]:
    at = 0
    while at < len(field):
        stop = end_of(field, at)
        if stop > len(field):
            raise ValueError("an NLRI is cut short")
        try:
            yield FlowKey(family, key_of(family, field[at:stop]))
        except MalformedFlowError as error:
            raise ValueError(str(error)) from error
        at = stop
