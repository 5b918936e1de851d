"""Long-lived graceful restart (RFC 9494): routes of a PE that is away for hours, marked as such.

When a PE's session is lost, its routes stay for the time of a graceful restart as they are (RFC
4724).  Once that has passed they become *long-lived stale*: each gets the community LLGR_STALE, is
the last choice of everybody, and goes to nobody who has not said that it knows what that means.
They stay for a time agreed on for each family, and are replaced by what the PE announces when it
is back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vpnctl.model import Family
from vpnctl.model.family import FLOW_FAMILIES
from vpnctl.routing.attributes import Attributes
from vpnctl.routing.communities import LLGR_STALE, NO_LLGR, has, with_community


@dataclass(frozen=True, slots=True)
class LongLived:
    """What a session has to do with long-lived graceful restart.

    ``offered``: we offered it to the peer, so that what the peer sends with LLGR_STALE is the last
    choice (section 4.3); ``understood``: the peer offered it, too, and may be sent such routes.
    ``despite``: it may be sent them although it did not, with LOCAL_PREF 0 and NO_EXPORT (section
    4.6).  ``times``: family -> seconds for which the peer's routes stay; ``preserved``: families
    that it has gone on forwarding since the session before.
    """

    offered: bool = False
    understood: bool = False
    despite: bool = False
    times: Mapping[Family, int] = field(default_factory=dict)
    preserved: frozenset[Family] = frozenset()

    @property
    def takes_stale(self) -> bool:
        """Whether the peer may be sent long-lived stale routes."""
        return self.understood or self.despite


def keeps(family: Family, attributes: Attributes) -> bool:
    """Whether a route may become long-lived stale.

    Flow routes may not: what a PE asked others to drop hours ago nobody can take back but the PE.
    """
    return family.name not in FLOW_FAMILIES and not has(attributes, NO_LLGR)


def marked(attributes: Attributes) -> Attributes:
    """The attributes of a long-lived stale route (section 4.2)."""
    return with_community(attributes, LLGR_STALE)


def is_stale(attributes: Attributes) -> bool:
    """Whether a route is the last choice because somebody has marked it (section 4.3)."""
    return attributes.origin.long_lived and has(attributes, LLGR_STALE)
