"""A PE that is to be taken out of service: its routes become the last choice (RFC 8326)."""

from __future__ import annotations

from vpnctl.routing.attributes import Attributes
from vpnctl.routing.communities import GRACEFUL_SHUTDOWN, LOCAL_PREF_0, with_community


def drained(attributes: Attributes) -> Attributes:
    """The attributes of a route that nobody shall use who has another one (section 4)."""
    return with_community(attributes, GRACEFUL_SHUTDOWN, (LOCAL_PREF_0,))
