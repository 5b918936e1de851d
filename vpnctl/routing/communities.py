"""Well-known communities (RFC 1997) on a route: whether it has one, and what adds one."""

from __future__ import annotations

from vpnctl.routing.attributes import (
    COMMUNITIES,
    LOCAL_PREF,
    OPTIONAL_TRANSITIVE,
    WELL_KNOWN,
    Attributes,
    attribute,
    value_of,
)

#: RFC 1997; RFC 8326 section 5; RFC 9494 sections 3.3 and 3.4 (4 octets each).
NO_EXPORT = b"\xff\xff\xff\x01"
GRACEFUL_SHUTDOWN = b"\xff\xff\x00\x00"
LLGR_STALE = b"\xff\xff\x00\x06"
NO_LLGR = b"\xff\xff\x00\x07"

LOCAL_PREF_0 = attribute(WELL_KNOWN, LOCAL_PREF, bytes(4))


def _in(communities: bytes, community: bytes) -> bool:
    at = communities.find(community)
    while at > 0 and at % 4:
        at = communities.find(community, at + 1)
    return at >= 0


def has(attributes: Attributes, community: bytes) -> bool:
    """Whether a route has a community (4 octets)."""
    return _in(attributes.value(COMMUNITIES) or b"", community)


def add(values: dict[int, bytes], community: bytes) -> None:
    """Add a community to attributes by code, unless it is there."""
    found = value_of(values[COMMUNITIES]) if COMMUNITIES in values else b""
    if not _in(found, community):
        values[COMMUNITIES] = attribute(OPTIONAL_TRANSITIVE, COMMUNITIES, found + community)


def with_community(
    attributes: Attributes, community: bytes, more: tuple[bytes, ...] = ()
) -> Attributes:
    """The attributes with a community, and ``more`` of them in place of others of the code."""
    values = {octets[1]: octets for octets in (*attributes.kept, *more)}
    add(values, community)
    return attributes._replace(kept=tuple(values[code] for code in sorted(values)))
