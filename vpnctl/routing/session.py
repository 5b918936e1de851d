"""What the engine knows of one established BGP session."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from vpnctl.model import Family, Guard
from vpnctl.routing.attributes import Origin
from vpnctl.routing.guard import Account, Ledger
from vpnctl.routing.long_lived import LongLived
from vpnctl.routing.membership import Membership
from vpnctl.routing.path_ids import Slots
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
    forwarding since the last session.  ``graceful_notification``: a NOTIFICATION does not change
    that, and what is stale when the session is lost again stays, too (RFC 8538).
    ``paths_sent`` and ``paths_taken``: families in which path identifiers were agreed on in that
    direction (RFC 7911), and the most paths to one destination there, at most `path_ids.SLOTS`.
    ``long_lived``: what was agreed on of RFC 9494.
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
    graceful_notification: bool = False
    paths_sent: Mapping[Family, int] = field(default_factory=dict)
    paths_taken: Mapping[Family, int] = field(default_factory=dict)
    long_lived: LongLived = field(default_factory=LongLived)

    @property
    def restarts(self) -> bool:
        """Whether a restart was agreed on, graceful or long-lived: End-of-RIB means something."""
        return bool(self.stale_time or self.long_lived.times)


class ToldRoute(NamedTuple):
    """A route as a peer was told it.

    ``nlri``: with its path identifier, where there are such; ``next_hop`` and ``attributes``: as
    they stood in the UPDATE, None where only the NLRI is known.
    """

    nlri: bytes
    next_hop: bytes | None
    attributes: bytes | None


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
    ``refreshing``: families of which the peer announces all routes anew (RFC 7313).
    ``draining``: the peer's routes are to be the last choice (RFC 8326).
    ``backlog``: family -> place -> the NLRI that the peer was last told, or None if it was told
    none; the route's state is looked up when there is room to send, so the backlog holds each
    route once however often it changed.  A place is a key or, where the peer is sent path
    identifiers, one of these and a key.
    ``slots``: AFI and SAFI -> the slots of the peer's paths, where it sends path identifiers.
    ``outbox``: whole messages on their way to the `Output`, one or more in each item;
    ``sent_octets`` and ``updates_sent`` count them already.
    ``loading``: families whose first full table is not all sent.
    ``known``: what the peer was told by another engine, by family and place; of that its first
    full table has only what it is to have otherwise.
    """

    __slots__ = (
        "backlog",
        "backlog_size",
        "draining",
        "end_of_rib",
        "jobs",
        "kind",
        "known",
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
        "refreshing",
        "sent_octets",
        "slots",
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
        unmarked = opened.long_lived.despite and not opened.long_lived.understood
        self.kind = Kind(external, opened.asn4, opened.message_size, unmarked=unmarked)
        self.slots = {family.octets: Slots(most) for family, most in opened.paths_taken.items()}
        self.origin = Origin(
            external=external,
            asn4=opened.asn4,
            local_asn=opened.local_asn,
            router_id=opened.router_id,
            peer_router_id=opened.peer_router_id,
            long_lived=opened.long_lived.offered,
        )
        self.negotiated = frozenset(family.octets for family in opened.families)
        self.paths: dict[bytes, Path] = {}
        accounts = {family.octets: Account(family) for family in opened.families}
        self.ledger = Ledger(opened.guard, accounts)
        self.stale: set[Path] = set()
        self.refreshing: set[Family] = set()
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
        self.known: dict[Family, dict[bytes, ToldRoute]] = {}
        self.outbox: list[bytes] = []
        self.working = False
        self.sent_octets = 0
        self.written_octets = 0
        self.updates_heard = 0
        self.updates_sent = 0
        self.malformed = 0
        self.oversized = 0
        self.last_error = ""

    def kind_for(self, family: Family) -> Kind:
        """The kind of peer that it is in a family."""
        return self.kind._replace(path_ids=True) if family in self.opened.paths_sent else self.kind

    def places(self, path: Path, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Where routes of a path wait in the backlog."""
        if path.family not in self.opened.paths_sent:
            return keys
        path_id = path.path_id
        return [path_id + key for key in keys]

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

    def defer(self, family: Family, place: bytes, told: bytes | None, *, gone: bool) -> None:
        """Remember that a route changed while the peer had no room.

        ``told``: the NLRI that the peer was told before this change, None if none.
        ``gone``: the peer is not to have the route any more.  A route that came and went while
        the peer was not looking leaves nothing behind, which bounds the backlog.
        """
        waiting = self.backlog[family]
        if place not in waiting:
            if gone and told is None:
                return
            waiting[place] = told
            self.backlog_size += 1
        elif gone and waiting[place] is None:
            del waiting[place]
            self.backlog_size -= 1

    def told(self, family: Family, places: Iterable[bytes]) -> None:
        """Take routes out of the backlog because the peer is being told their present state."""
        if self.backlog_size:
            waiting = self.backlog[family]
            before = len(waiting)
            for place in places:
                waiting.pop(place, None)
            self.backlog_size -= before - len(waiting)

    def next_waiting(self, family: Family, most: int) -> list[tuple[bytes, bytes | None]]:
        """Take the oldest routes out of the backlog: places and NLRI last told."""
        waiting = self.backlog[family]
        found = list(islice(waiting.items(), most))
        for place, _ in found:
            del waiting[place]
        self.backlog_size -= len(found)
        return found
