"""A PE that is to be taken out of service: its routes become the last choice (RFC 8326)."""

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

#: GRACEFUL_SHUTDOWN, 65535:0 (section 5).
GRACEFUL_SHUTDOWN = b"\xff\xff\x00\x00"
_LOCAL_PREF_0 = attribute(WELL_KNOWN, LOCAL_PREF, bytes(4))


def drained(attributes: Attributes) -> Attributes:
    """The attributes of a route that nobody shall use who has another one."""
    kept = {octets[1]: octets for octets in attributes.kept}
    found = value_of(kept[COMMUNITIES]) if COMMUNITIES in kept else b""
    if GRACEFUL_SHUTDOWN not in (found[at : at + 4] for at in range(0, len(found), 4)):
        kept[COMMUNITIES] = attribute(OPTIONAL_TRANSITIVE, COMMUNITIES, found + GRACEFUL_SHUTDOWN)
    kept[LOCAL_PREF] = _LOCAL_PREF_0
    return attributes._replace(kept=tuple(kept[code] for code in sorted(kept)))
