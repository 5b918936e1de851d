"""What the engine knows of one established BGP session."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from vpnctl.model import Family, Guard
from vpnctl.routing.attributes import Origin
from vpnctl.routing.guard import Account, Ledger
from vpnctl.routing.membership import Membership
from vpnctl.routing.rendering import Kind
from vpnctl.routing.table import Path

#: Octets that may be on their way to a peer before its further routes wait in the backlog.
MOST_OCTETS_IN_FLIGHT = 2048 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """What was negotiated when a session came up.

    ``number`` is fresh for every session; ``peer`` is the PE's name; ``peer_address`` and
    ``peer_router_id`` are packed addresses; ``message_size`` is 4096 or 65535 octets (RFC 8654);
    ``enhanced_refresh``: RFC 7313; ``refresh``: whether it takes a ROUTE-REFRESH at all (RFC
    2918); ``guard``: what the session is guarded with; ``rt_constraint``: RFC 4684.
    ``stale_time``: seconds for which routes of the families ``restartable`` stay when the session
    is lost (RFC 4724), 0 for not at all; ``preserved``: families that the peer has gone on
    forwarding since the last session.
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
    guard: Guard = field(default_factory=Guard)
    refresh: bool = False
    rt_constraint: bool = False
    stale_time: int = 0
    restartable: frozenset[Family] = frozenset()
    preserved: frozenset[Family] = frozenset()


@dataclass(slots=True)
class Template:
    """The UPDATE before, cut around its one NLRI.

    ``size`` is that of the whole message, -1 when there is nothing to compare with; ``before``
    ends behind the octets that give the NLRI's length, so that what has the same beginning and
    end has one NLRI, too, from ``nlri_from`` to ``nlri_until`` octets before the end.
    """

    size: int = -1
    before: bytes = b""
    after: bytes = b""
    nlri_from: int = 0
    nlri_until: int = 0
    path: Path | None = None


@dataclass(slots=True)
class FullTable:
    """A full table on its way to a peer; each step queues UPDATEs and yields their octets."""

    family: Family
    begun: bool = False
    steps: Iterator[int] = field(default_factory=lambda: iter(()))


#: Characters of what was wrong with an UPDATE that are kept.
_LONGEST_COMPLAINT = 300


class Session:
    """One peer's Adj-RIB-In and what is on its way to it.

    ``negotiated``: AFI and SAFI of each family; ``paths``: `Path` by its identity; ``ledger``:
    what they cost.  ``membership``: what the peer asked for, None where it gets everything that
    it may have.  ``stale``: paths of the session before that the peer has not announced anew.
    ``draining``: the peer's routes are to be the last choice (RFC 8326).
    ``backlog``: family -> key -> the NLRI that the peer was last told, or None if it was told
    none; the route's state is looked up when there is room to send, so the backlog holds each
    route once however often it changed.
    ``outbox``: whole messages on their way to the `Output`, one or more in each item;
    ``sent_octets`` and ``updates_sent`` count them already.
    ``loading``: families whose first full table is not all sent.
    """

    __slots__ = (
        "backlog",
        "backlog_size",
        "draining",
        "end_of_rib",
        "jobs",
        "kind",
        "last_error",
        "ledger",
        "loading",
        "malformed",
        "membership",
        "negotiated",
        "opened",
        "origin",
        "outbox",
        "oversized",
        "paths",
        "sent_octets",
        "stale",
        "template",
        "updates_heard",
        "updates_sent",
        "working",
        "written_octets",
    )

    def __init__(self, opened: Opened) -> None:
        external = opened.peer_asn != opened.local_asn
        self.opened = opened
        self.kind = Kind(external, opened.asn4, opened.message_size)
        self.origin = Origin(
            external=external,
            asn4=opened.asn4,
            local_asn=opened.local_asn,
            router_id=opened.router_id,
            peer_router_id=opened.peer_router_id,
        )
        self.negotiated = frozenset(family.octets for family in opened.families)
        self.paths: dict[bytes, Path] = {}
        accounts = {family.octets: Account(family) for family in opened.families}
        self.ledger = Ledger(opened.guard, accounts)
        self.stale: set[Path] = set()
        self.draining = False
        self.membership = Membership() if opened.rt_constraint else None
        self.template = Template()
        self.backlog: dict[Family, dict[bytes, bytes | None]] = {
            family: {} for family in sorted(opened.families)
        }
        self.backlog_size = 0
        self.jobs: deque[FullTable] = deque()
        self.loading: set[Family] = set(opened.families)
        self.end_of_rib: set[Family] = set()
        self.outbox: list[bytes] = []
        self.working = False
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
        return self.backlog_size + len(self.jobs)

    def complain(self, what: str) -> None:
        """Count a malformed UPDATE and remember what was wrong with it."""
        self.malformed += 1
        self.last_error = what[:_LONGEST_COMPLAINT]

    def defer(self, family: Family, key: bytes, told: bytes | None, *, gone: bool) -> None:
        """Remember that a route changed while the peer had no room.

        ``told``: the NLRI that the peer was told before this change, None if none.
        ``gone``: the peer is not to have the route any more.  A route that came and went while
        the peer was not looking leaves nothing behind, which bounds the backlog.
        """
        waiting = self.backlog[family]
        if key not in waiting:
            if gone and told is None:
                return
            waiting[key] = told
            self.backlog_size += 1
        elif gone and waiting[key] is None:
            del waiting[key]
            self.backlog_size -= 1

    def told(self, family: Family, keys: Iterable[bytes]) -> None:
        """Take routes out of the backlog because the peer is being told their present state."""
        if self.backlog_size:
            waiting = self.backlog[family]
            before = len(waiting)
            for key in keys:
                waiting.pop(key, None)
            self.backlog_size -= before - len(waiting)

    def next_waiting(self, family: Family, most: int) -> list[tuple[bytes, bytes | None]]:
        """Take the oldest routes out of the backlog: keys and NLRI last told."""
        waiting = self.backlog[family]
        found = list(islice(waiting.items(), most))
        for key, _ in found:
            del waiting[key]
        self.backlog_size -= len(found)
        return found
