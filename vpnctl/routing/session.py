"""What the engine knows of one established BGP session."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vpnctl.model import Family
from vpnctl.routing.attributes import Kind, Origin
from vpnctl.routing.table import Path

#: Octets that may be on their way to a peer before its further routes wait in the backlog.
MOST_OCTETS_IN_FLIGHT = 512 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """What was negotiated when a session came up.

    ``number`` is fresh for every session; ``peer`` is the PE's name; ``peer_address`` and
    ``peer_router_id`` are packed addresses; ``message_size`` is 4096 or 65535 octets (RFC 8654);
    ``enhanced_refresh``: RFC 7313.
    """

    number: int
    peer: str
    peer_address: bytes
    peer_router_id: bytes
    peer_asn: int
    local_asn: int
    router_id: bytes
    families: frozenset[Family]
    asn4: bool
    message_size: int
    enhanced_refresh: bool


@dataclass(slots=True)
class Template:
    """The UPDATE before, cut around its one NLRI.

    Most UPDATEs differ from the one before in nothing but the NLRI; two comparisons of octets
    then save taking the message apart.  ``size`` is that of the whole message; -1 fits none.
    """

    size: int = -1
    before: bytes = b""
    after: bytes = b""
    path: Path | None = None


class Session:
    """One peer's Adj-RIB-In and what is on its way to it.

    ``paths``: (family, next hop, attribute octets as received) -> `Path`.
    ``backlog``: family -> key -> the NLRI that the peer was last told, or None if it was told
    none; the route's state is looked up when there is room to send, so the backlog holds each
    route once however often it changed.
    ``loading``: families whose first full table is not all sent.
    ``jobs``: full tables being sent, each yielding UPDATEs; the state is looked up at every step.
    """

    __slots__ = (
        "backlog",
        "end_of_rib",
        "jobs",
        "kind",
        "last_error",
        "loading",
        "malformed",
        "opened",
        "origin",
        "oversized",
        "paths",
        "sent_octets",
        "template",
        "updates_heard",
        "updates_sent",
        "written_octets",
    )

    def __init__(self, opened: Opened) -> None:
        external = opened.peer_asn != opened.local_asn
        self.opened = opened
        self.kind = Kind(external=external, asn4=opened.asn4)
        self.origin = Origin(
            external=external,
            asn4=opened.asn4,
            local_asn=opened.local_asn,
            router_id=opened.router_id,
            peer_router_id=opened.peer_router_id,
        )
        self.paths: dict[tuple[Family, bytes, bytes], Path] = {}
        self.template = Template()
        self.backlog: dict[Family, dict[bytes, bytes | None]] = {
            family: {} for family in opened.families
        }
        self.jobs: deque[Iterator[list[bytes]]] = deque()
        self.loading: set[Family] = set(opened.families)
        self.end_of_rib: set[Family] = set()
        self.sent_octets = 0
        self.written_octets = 0
        self.updates_heard = 0
        self.updates_sent = 0
        self.malformed = 0
        self.oversized = 0
        self.last_error = ""

    @property
    def has_room(self) -> bool:
        """Whether the peer takes what it is sent quickly enough to be sent more."""
        return self.sent_octets - self.written_octets < MOST_OCTETS_IN_FLIGHT

    @property
    def waiting(self) -> int:
        """Routes in the backlog; a full table being sent counts as one more."""
        return sum(map(len, self.backlog.values())) + len(self.jobs)

    def defer(self, family: Family, key: bytes, told: bytes | None, *, gone: bool) -> None:
        """Remember that a route changed while the peer had no room.

        ``told``: the NLRI that the peer was told before this change, None if none.
        ``gone``: the peer is not to have the route any more.  A route that came and went while
        the peer was not looking leaves nothing behind, which bounds the backlog.
        """
        waiting = self.backlog[family]
        before = waiting.setdefault(key, told)
        if gone and before is None:
            del waiting[key]

    def told(self, family: Family, keys: Iterable[bytes]) -> None:
        """Take routes out of the backlog because the peer is being told their present state."""
        waiting = self.backlog[family]
        if waiting:
            for key in keys:
                waiting.pop(key, None)
