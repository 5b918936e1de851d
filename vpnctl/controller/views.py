"""What the controller tells: frozen values of plain types, one class per answer.

The HTTP API serialises these as they are, the command line shows them as tables and as JSON, so
that one noun has one name everywhere.  Times are UTC ISO 8601 strings (``...Z``) unless the name
ends in ``_ms`` (milliseconds); targets, distinguishers and NLRI are text as the operator writes
them (see `vpnctl.routing.nlri`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vpnctl.planning.plan import (
    AllocationChange,
    FileChange,
    PeerChange,
    Plan,
    RouteChange,
    RouterPlan,
    SessionChange,
)

__all__ = [
    "AccessRoute",
    "Adoption",
    "AllocationChange",
    "Applied",
    "Check",
    "Checkup",
    "Drift",
    "Endpoint",
    "Event",
    "Explanation",
    "FamilyCounts",
    "FileChange",
    "NumberInUse",
    "Peer",
    "PeerChange",
    "Plan",
    "Problem",
    "Revision",
    "Route",
    "RouteChange",
    "RouterPlan",
    "SessionChange",
    "Site",
    "Status",
    "Step",
    "Target",
    "Vpn",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake of a policy."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str


def problems(mistakes: Iterable[Any]) -> tuple[Problem, ...]:
    """Mistakes of a policy (`vpnctl.ruleset.Mistake`, or problems already) as problems."""
    return tuple(
        mistake
        if isinstance(mistake, Problem)
        else Problem(
            file=mistake.place.file,
            line=mistake.place.line,
            column=mistake.place.column,
            path=mistake.path,
            message=mistake.message,
            hint=mistake.hint,
        )
        for mistake in mistakes
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a timeline, in milliseconds since the request was taken up.

    ``router``: at which router it was done; empty for the controller itself.
    """

    name: str
    start_ms: float
    end_ms: float
    detail: str = ""
    router: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """One applied policy.

    ``kind``: start, apply, extend, retract, rollback or auto-rollback; ``state``: applied,
    unconfirmed, confirmed or reverted; ``restores``: for a rollback, the revision whose policy
    it brought back.
    """

    number: int
    parent: int | None
    at: str
    author: str
    kind: str
    summary: str
    state: str
    confirm_by: str | None
    restores: int | None


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of apply, extend, retract and rollback.

    ``complete`` is false when some peer had not taken all its UPDATEs when the answer was given;
    ``waiting`` then names those peers.  ``silent``: routers that were given an endpoint and have
    not announced a route of it.
    """

    revision: Revision
    plan: Plan
    timeline: tuple[Step, ...]
    complete: bool
    waiting: tuple[str, ...]
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """Where a router differs from what it shall have of ours.

    ``diff``: what would have to be changed, in the router's syntax, empty for nothing; ``trouble``:
    why it cannot be said, or could not be fixed; ``fixed``: it was changed.
    """

    router: str
    platform: str
    diff: str
    trouble: str = ""
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``templates``, ``session``, ``rights`` and the like."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Checkup:
    """Whether a router can be configured."""

    router: str
    platform: str
    ok: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class NumberInUse:
    """A number that a router's own configuration has.

    ``kind``: vlan, rd, route-target, ve-id or vni; ``where``: in the router's own terms; ``taken``:
    who has it by the policy, empty for nobody.
    """

    kind: str
    value: str
    where: str
    port: str
    taken: str = ""


@dataclass(frozen=True, slots=True)
class Adoption:
    """The numbers that nobody is given from now on, and those that somebody has already."""

    router: str
    reserved: tuple[NumberInUse, ...]
    conflicts: tuple[NumberInUse, ...]


@dataclass(frozen=True, slots=True)
class FamilyCounts:
    """Routes heard from and sent to a peer in one family.

    ``limit``: most that it may announce, None for any; ``refused``: announcements that were not
    taken in because there were too many.
    """

    family: str
    heard: int
    sent: int
    limit: int | None = None
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """A PE's BGP session.

    ``state``: the session's state (idle ... established); ``synced``: whether the peer sent an
    End-of-RIB for every family; ``backlog``: routes waiting because the peer reads slowly;
    ``refused_targets``: routes' targets the PE does not own; ``refused_flows``: its own flow
    routes, which are not taken in; ``malformed``: UPDATEs handled as
    RFC 7606 says; ``last_error``: why the session was last lost, or the last malformed UPDATE;
    ``protection``: how its TCP connection is protected; ``asked``: which targets it wants (RFC
    4684), empty where it is sent everything that it may have; ``draining``: its routes are the last
    choice (RFC 8326); ``paths``: families in which it is told, or tells, several paths to one
    destination (RFC 7911); ``stale``: its routes that stay while it is away, or until it has said
    what it has, by family (RFC 4724, RFC 9494).  A session in state ``held`` was shut
    down by its guard.
    """

    name: str
    address: str
    asn: int
    kind: str
    site: tuple[str, ...]
    state: str
    since: str | None
    families: tuple[FamilyCounts, ...]
    synced: bool
    backlog: int
    refused_targets: int
    malformed: int
    updates_heard: int
    updates_sent: int
    last_error: str
    protection: tuple[str, ...] = ()
    asked: str = ""
    draining: bool = False
    refused_flows: int = 0
    paths: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A VPN's VRF at one PE; with an ``inner_vlan``, ``vlan`` is the outer tag."""

    vpn: str
    site: str
    pe: str
    rd: str
    export_targets: tuple[str, ...]
    import_targets: tuple[str, ...]
    ve_id: int | None
    vlan: int | None
    vni: int | None
    hears: tuple[str, ...]
    place: str
    inner_vlan: int | None = None

    @property
    def tags(self) -> str | int | None:
        """The VLAN as a policy has it: ``100``, or ``4001/17``."""
        return self.vlan if self.inner_vlan is None else f"{self.vlan}/{self.inner_vlan}"


@dataclass(frozen=True, slots=True)
class Vpn:
    """A customer's VPN."""

    name: str
    service: str
    topology: str
    sites: tuple[str, ...]
    extranets: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    place: str


@dataclass(frozen=True, slots=True)
class Site:
    """A place, its PEs and the VPNs present there."""

    name: str
    kind: str
    pes: tuple[str, ...]
    vpns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A route target: who owns it, what is announced with it, and who refused whom.

    ``owner`` is empty for a target that no endpoint owns but that some PE announced; ``refused``
    counts the routes of each PE whose use of this target was refused.
    """

    target: str
    owner: str
    exported_by: tuple[str, ...]
    imported_by: tuple[str, ...]
    routes: int
    refused: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """A route in an Adj-RIB-In or Adj-RIB-Out.

    ``peer``: whose RIB; ``source``: the PE it was heard from or, of a flow route of our own, the
    place of its access rule; ``status``: for an Adj-RIB-In ``accepted`` or why not, for an
    Adj-RIB-Out ``sent`` or what it waits for; ``actions``: what a flow route does to a packet;
    ``path_id``: its path identifier, where the session has such (RFC 7911).
    """

    peer: str
    family: str
    nlri: str
    source: str
    targets: tuple[str, ...]
    heard_targets: tuple[str, ...]
    next_hop: str
    as_path: str
    status: str
    actions: tuple[str, ...] = ()
    path_id: int | None = None


@dataclass(frozen=True, slots=True)
class AccessRoute:
    """What an access rule is to one PE: a flow route.

    ``place``: the rule's; ``actions``: what it does to a packet; ``status``: ``sent``, or why
    the PE does not have it.
    """

    vpn: str
    place: str
    pe: str
    family: str
    nlri: str
    targets: tuple[str, ...]
    actions: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a peer has, or has not, a route: sentences in order, each with the place it rests on."""

    nlri: str
    peer: str
    sent: bool
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for ``vpnctl watch``; ``kind``: session, revision, route,
    router, error.
    """

    at: str
    kind: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Status:
    """The controller itself."""

    version: str
    revision: int | None
    unconfirmed: int | None
    confirm_by: str | None
    policies: str
    policies_differ: bool
    peers_established: int
    peers_configured: int
    routes: int
    listening: tuple[str, ...]
    problems: tuple[str, ...]
    #: Seconds for which BGP sessions outlive the controller, 0 for not at all.
    sessions_kept_s: float = 0.0
