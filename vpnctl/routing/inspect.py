"""What the engine knows, told to people: RIBs row by row, counts, and why a peer has a route.

Everything here reads and nothing changes.  The iterators walk the engine's own tables, so they
are to be used up before the engine is told anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from vpnctl.model import Endpoint, Family, RouteTarget, SiteOfVpn
from vpnctl.model.community import ES_IMPORT
from vpnctl.model.family import FLOW_FAMILIES
from vpnctl.routing import update
from vpnctl.routing.best_path import ranked
from vpnctl.routing.changes import Sight
from vpnctl.routing.engine import Engine
from vpnctl.routing.flowspec.judging import judged, standing
from vpnctl.routing.flowspec.originated import FlowGroup, FlowPath, path_actions
from vpnctl.routing.flowspec.taken import TakenGroup, TakenPath
from vpnctl.routing.guard import addresses_of
from vpnctl.routing.nlri import distinguisher, to_text
from vpnctl.routing.path_ids import PATH_ID_OCTETS
from vpnctl.routing.rendering import render
from vpnctl.routing.rewrite import sources
from vpnctl.routing.session import Session
from vpnctl.routing.table import Path, candidates

ACCEPTED = "accepted"
STALE = "stale: the PE is restarting"
OUTLIVED = "long-lived stale: the PE is away"
SENT = "sent"
LOADING = "waiting: the full table is being sent"
WAITING = "waiting: the peer reads slowly"
OVERSIZED = "withheld: the attributes are too long for this peer's messages"


#: Path -> seconds for which it stays although it is stale, None where nobody knows.
Left = Callable[[Path], int | None]


def _nobody_knows(_path: Path) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class RibRow:
    """A route in a peer's Adj-RIB-In or Adj-RIB-Out.

    ``path`` tells the rest: whom it was heard from, its attributes, the targets it was heard
    with.  ``targets`` (8 octets each, sorted): as heard, or as sent.  ``status``: for an
    Adj-RIB-In ``accepted`` or why not, for an Adj-RIB-Out ``sent`` or what it waits for.
    ``path_id``: its identifier on the wire (RFC 7911), None where there is none.
    """

    family: Family
    key: bytes
    path: Path
    targets: tuple[bytes, ...]
    status: str
    next_hop: str
    path_id: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of routes.

    ``heard`` and ``sent``: by (peer, family) of every session and negotiated family; ``sent``
    counts what the peer has or, while it reads slowly, is about to have.  ``refused``: by (peer,
    target that the peer does not own); ``refused_flows``: flow routes that a peer announced and
    nobody may have.
    """

    heard: Mapping[tuple[str, Family], int]
    sent: Mapping[tuple[str, Family], int]
    refused: Mapping[tuple[str, bytes], int]
    refused_flows: Mapping[str, int]


def next_hop_text(next_hop: bytes) -> str:
    """The next hop field of MP_REACH_NLRI: one address or two, the RD before each left out."""
    return " ".join(str(ip_address(part)) for part in addresses_of(next_hop)) or next_hop.hex()


def _number(path_id: bytes) -> int:
    return int.from_bytes(path_id, "big")


def _target(octets: bytes) -> str:
    return str(RouteTarget(octets))


def _listed(targets: Iterable[bytes]) -> str:
    words = [_target(target) for target in targets]
    return f"{'target' if len(words) == 1 else 'targets'} {', '.join(words)}"


def _status_in(path: Path) -> str:
    if path.attributes.loop:
        return path.attributes.loop
    if not path.attributes.targets:
        return "no route target"
    refused = sorted(path.group.verdict.refused)
    if not refused:
        return ACCEPTED
    if len(refused) == len(path.attributes.targets):
        verb = "is" if len(refused) == 1 else "are"
        words = ", ".join(map(_target, refused))
        return f"refused: {words} {verb} not exported by any endpoint at {path.peer}"
    words = ", ".join(map(_target, refused))
    return f"{ACCEPTED} without {words}, not exported by any endpoint at {path.peer}"


def _staleness(path: Path, left: Left) -> str:
    seconds = left(path)
    return (OUTLIVED if path.outlived else STALE) + (
        "" if seconds is None else f", {seconds} s left"
    )


def rib_in(
    engine: Engine, peer: str, family: Family | None = None, left: Left = _nobody_knows
) -> Iterator[RibRow]:
    """What a peer announced, whether it is used or not, and what stays while it is away."""
    session = engine.by_peer.get(peer)
    stale = engine.stale[peer].paths if peer in engine.stale else set()
    paths = stale if session is None else (*session.paths.values(), *session.stale)
    for path in paths:
        if family is not None and path.family != family:
            continue
        targets = tuple(sorted(path.attributes.targets))
        staleness = ""
        if path in stale or (session is not None and path in session.stale):
            staleness = f"{_staleness(path, left)}; "
        is_flow = path.family.name in FLOW_FAMILIES
        status = "" if is_flow else staleness + _status_in(path)
        next_hop = next_hop_text(path.next_hop)
        slots = None
        if session is not None and path not in session.stale:
            slots = session.slots.get(path.rib.octets)
        for key in path.nlris:
            if is_flow:
                status = staleness + standing(engine, path, key)
            path_id = None if slots is None else _number(slots.path_id(key, path.slot))
            yield RibRow(path.family, key, path, targets, status, next_hop, path_id)


def _longest(session: Session, path: Path, targets: tuple[bytes, ...]) -> int:
    """Octets of the longest NLRI of a path that this peer can be told."""
    octets = sum(map(len, targets))
    kind = session.kind_for(path.family)
    before, after = render(path.attributes, kind).around(octets)
    attribute_octets = len(before) + octets + len(after)
    room = update.room_for_nlri(kind.message_size, path.next_hop, attribute_octets)
    return room - PATH_ID_OCTETS if kind.path_ids else room


def _status_out(session: Session, path: Path, longest: int, key: bytes) -> str:
    if session.places(path, (key,))[0] in session.backlog[path.family]:
        return WAITING
    if path.family in session.loading:
        return LOADING
    return SENT if len(path.nlris[key]) <= longest else OVERSIZED


def rib_out(engine: Engine, peer: str, family: Family | None = None) -> Iterator[RibRow]:
    """What a peer is to have; nothing when its session is down."""
    session = engine.by_peer.get(peer)
    if session is None:
        return
    sight = Sight(engine.rules, {})
    for group in engine.groups.values():
        targets = group.verdict.sent.get(peer)
        if targets is None or group.family not in session.opened.families:
            continue
        if family is not None and group.family != family:
            continue
        rib = engine.ribs[group.family]
        most = session.opened.paths_sent.get(group.family)
        for path in group.paths:
            next_hop = next_hop_text(path.next_hop)
            longest = _longest(session, path, targets)
            path_id = None if most is None else _number(path.path_id)
            for key in path.nlris:
                if key in rib.contested and path not in sight.leading(
                    peer, rib.entries[key], group.family, key, most or 1
                ):
                    continue
                status = _status_out(session, path, longest, key)
                yield RibRow(group.family, key, path, targets, status, next_hop, path_id)


def counts(engine: Engine) -> Counts:
    """How many routes were heard from, sent to and refused to whom."""
    heard: Counter[tuple[str, Family]] = Counter()
    sent: Counter[tuple[str, Family]] = Counter()
    refused: Counter[tuple[str, bytes]] = Counter()
    refused_flows: Counter[str] = Counter()
    for peer, session in engine.by_peer.items():
        for family in session.opened.families:
            heard[peer, family] = sent[peer, family] = 0
    for group in engine.groups.values():
        routes = sum(len(path.nlris) for path in group.paths)
        if isinstance(group, TakenGroup):
            refused_flows[group.announced.pe] -= routes
        elif not isinstance(group, FlowGroup):
            heard[group.peer, group.family] += routes
            if group.family.name in FLOW_FAMILIES:
                refused_flows[group.peer] += routes
                continue
        for target in group.verdict.refused:
            refused[group.peer, target] += routes
        for peer in group.verdict.sent:
            if (peer, group.family) in sent:
                sent[peer, group.family] += routes
    for family, rib in engine.ribs.items():
        for key in rib.contested:
            seen: Counter[str] = Counter()
            for path in candidates(rib.entries[key]):
                seen.update(path.group.verdict.sent.keys())
            for peer, paths in seen.items():
                # Each of the paths was counted above, and the peer gets the best ones alone.
                if (peer, family) in sent:
                    most = engine.by_peer[peer].opened.paths_sent.get(family, 1)
                    sent[peer, family] -= max(0, paths - most)
    return Counts(heard, sent, refused, +refused_flows)


def access(engine: Engine, vpn: str | None = None) -> Iterator[tuple[FlowPath, str]]:
    """The flow routes of a VPN's access rules, or of all, each with where its PE stands."""
    for name, routes in sorted(engine.rules.flows.items()):
        if vpn in (None, name):
            for route in routes:
                path = engine.flow_path(route)
                yield path, _standing(engine, path, route.pe, route.key)


def _standing(engine: Engine, path: Path, peer: str, key: bytes) -> str:
    """Whether a peer that is to have a route has it: ``sent``, or why not."""
    session = engine.by_peer.get(peer)
    if session is None:
        return "not sent: the session is down"
    if path.family not in session.opened.families:
        return f"not sent: the session did not negotiate {path.family}"
    targets = path.group.verdict.sent[peer]
    return _status_out(session, path, _longest(session, path, targets), key)


# -- explain ---------------------------------------------------------------------------------------


def _of(endpoint: Endpoint) -> str:
    return f"{endpoint.vpn} at {endpoint.site}"


def _seen_from(member: SiteOfVpn, vpn: str) -> str:
    """A site's name, with its VPN's in front when that is another one."""
    return member.site if member.vpn == vpn else str(member)


def _at(engine: Engine, pe: str) -> Iterator[Endpoint]:
    return (endpoint for endpoint in engine.rules.ruleset.endpoints() if endpoint.pe == pe)


def _refusal(engine: Engine, pe: str, family: Family, target: bytes) -> str:
    """Why a target that a PE announced counts for nothing, and who has it instead."""
    text = _target(target)
    at_pe = engine.rules.exporters.get((pe, target), ())
    if at_pe:
        endpoint = at_pe[0]
        return (
            f"{text} is refused: it is the export target of {_of(endpoint)} ({endpoint.place}),"
            f" a {endpoint.service.value} VPN, which has no {family} routes"
        )
    owners = [
        endpoint
        for (owner, exported), endpoints in engine.rules.exporters.items()
        if exported == target and owner != pe
        for endpoint in endpoints
    ]
    words = ", ".join(sorted(f"{_of(owner)}, {owner.pe} ({owner.place})" for owner in owners))
    belongs = f"it belongs to {words}" if words else "no endpoint anywhere exports it"
    return f"{text} is refused: no endpoint at {pe} exports it; {belongs}"


def _topology(engine: Engine, source: Endpoint) -> str:
    vpn = engine.rules.ruleset.vpns[source.vpn]
    kind = {
        "full-mesh": "is a full mesh",
        "hub-and-spoke": "is hub and spoke",
        "links": "has links of its own",
    }.get(vpn.topology, f"is {vpn.topology}")
    others = sorted(
        _seen_from(member, source.vpn)
        for member in engine.rules.hearers[source.member]
        if member != source.member
    )
    heard = ", ".join(others) if others else "no other site"
    return f"{source.vpn} {kind}: {source.site} may be heard by {heard}"


def _hearing(engine: Engine, source: Endpoint, peer: str, family: Family) -> Iterator[str]:
    """What the peer's own endpoints make of a source."""
    hearers = engine.rules.hearers[source.member]
    local = [endpoint for endpoint in _at(engine, peer) if endpoint.member in hearers]
    for endpoint in local:
        if family in endpoint.service.families:
            imported = ", ".join(str(target) for target in endpoint.import_targets) or "nothing"
            yield f"{peer} hosts {_of(endpoint)}, which imports {imported} ({endpoint.place})"
        else:
            yield (
                f"{peer} hosts {_of(endpoint)} ({endpoint.place}), a {endpoint.service.value} VPN,"
                f" which has no {family} routes"
            )
    if local:
        return
    deaf = [endpoint for endpoint in _at(engine, peer) if endpoint.vpn == source.vpn]
    for endpoint in deaf:
        yield f"{peer} hosts {_of(endpoint)} ({endpoint.place}), which may not hear {source.site}"
    if not deaf:
        yield f"{peer} hosts no endpoint that may hear {_of(source)}"


def _heard(engine: Engine, path: Path, key: bytes, peer: str, left: Left) -> Iterator[str]:
    """How a path was heard and what each of its targets means for a peer."""
    if isinstance(path, FlowPath):
        yield from _ruled(engine, path, peer)
        return
    if isinstance(path, TakenPath):
        return  # the route as it was heard stands beside it
    attributes = path.attributes
    targets = sorted(attributes.targets)
    stale = path in engine.stale_paths(path.peer)
    with_targets = f"with {_listed(targets)}" if targets else "without a route target"
    when = ""
    if stale:
        seconds = left(path)
        when = " before it went away: long-lived stale" if path.outlived else " before it restarted"
        when += "" if seconds is None else f", {seconds} s left"
    elif path.group.stale:
        when = ", which says that it is long-lived stale"
    yield f"heard from {path.peer} {with_targets}{when}"
    if attributes.loop:
        yield f"not used: {attributes.loop}"
        return
    if path.family.name in FLOW_FAMILIES:
        yield from judged(engine, path, key)
        return
    if not targets:
        yield "not used: without a route target it belongs to no VPN"
    for target in targets:
        if target.startswith(ES_IMPORT):
            sites = ", ".join(
                site.name
                for site in engine.rules.ruleset.network.sites.values()
                if path.peer in site.pes
            )
            yield f"an Ethernet Segment route concerns the PEs of {path.peer}'s sites: {sites}"
            continue
        speaking = sources(engine.rules, path.peer, path.family, target)
        if not speaking:
            yield _refusal(engine, path.peer, path.family, target)
        for source in speaking:
            yield f"{_target(target)} is the export target of {_of(source)} ({source.place})"
            if peer != path.peer:
                yield _topology(engine, source)
                yield from _hearing(engine, source, peer, path.family)


def _ruled(engine: Engine, path: FlowPath, peer: str) -> Iterator[str]:
    """Where a flow route of our own comes from, and whom it concerns."""
    route = path.route
    yield (
        f"access rule {route.number + 1} of {route.vpn} ({route.rule.place}):"
        f" {', '.join(path_actions(path))}"
    )
    yield f"it is enforced at {', '.join(route.rule.sites)}"
    for endpoint in engine.rules.ruleset.vpns[route.vpn].endpoints:
        if endpoint.pe == route.pe and endpoint.site in route.rule.sites:
            imported = ", ".join(map(str, endpoint.import_targets))
            yield f"{route.pe} hosts {_of(endpoint)}, which imports {imported} ({endpoint.place})"
    if peer != route.pe:
        yield f"this flow route is for {route.pe} alone"


def _silence(engine: Engine, family: Family, key: bytes) -> Iterator[str]:
    """Nobody announces the route: who should?"""
    yield f"no PE announces {to_text(family, key)}"
    rd = distinguisher(family, key)
    for endpoint in engine.rules.ruleset.endpoints():
        if endpoint.rd.octets == rd:
            session = engine.by_peer.get(endpoint.pe)
            if session is None:
                state = "its session is down"
            elif family not in session.opened.families:
                state = f"its session did not negotiate {family}"
            else:
                state = f"its session is up{_not_taken_in(session, family)}"
            yield (
                f"{endpoint.rd} is the route distinguisher of {_of(endpoint)}, {endpoint.pe}"
                f" ({endpoint.place}); {state}"
            )


def _not_taken_in(session: Session, family: Family) -> str:
    account = session.ledger.accounts[family.octets]
    said = f", {account.refused} of its routes were too many" if account.refused else ""
    return f"{said}; last complaint: {session.last_error}" if session.last_error else said


def explain(
    engine: Engine, family: Family, key: bytes, peer: str, left: Left = _nobody_knows
) -> tuple[bool, tuple[str, ...]]:
    """Whether a peer has a route, and why: sentences in order, with the places they rest on."""
    entry = engine.ribs[family].entries.get(key)
    if entry is None:
        return False, tuple(_silence(engine, family, key))
    paths = sorted(candidates(entry), key=lambda path: path.peer)
    lines = [line for path in paths for line in _heard(engine, path, key, peer, left)]
    sight = Sight(engine.rules, {})
    visible = [path for path in paths if peer in sight.of(path)]
    if not visible:
        stale = [path for path in paths if path.group.stale and peer in path.group.allowed.sent]
        if stale and peer in engine.no_stale:
            lines.append(
                f"not sent to {peer}: it does not offer to take long-lived stale routes (RFC 9494)"
            )
            return False, tuple(lines)
        unasked = [
            path.group.allowed.sent[peer] for path in paths if peer in path.group.allowed.sent
        ]
        if unasked:
            lines.append(f"not sent to {peer}: it did not ask for {_listed(unasked[0])} (RFC 4684)")
        elif any(path.peer == peer for path in paths):
            lines.append(
                f"not sent to {peer}: a route does not go back to the PE that announced it"
            )
        else:
            lines.append(f"not sent to {peer}")
        return False, tuple(lines)
    session = engine.by_peer.get(peer)
    most = session.opened.paths_sent.get(family) if session is not None else None
    if len(visible) > 1:
        owner = engine.rules.owners.get(distinguisher(family, key))
        winner, losers = ranked(visible, owner)
        lines += [
            f"the route of {winner.peer} goes before that of {path.peer}: {reason}"
            for path, reason in losers
        ]
    else:
        winner = visible[0]
    targets = sight.of(winner)[peer]
    if session is None:
        lines.append(f"not sent to {peer}: its session is down")
        return False, tuple(lines)
    if family not in session.opened.families:
        lines.append(f"not sent to {peer}: its session did not negotiate {family}")
        return False, tuple(lines)
    status = _status_out(session, winner, _longest(session, winner, targets), key)
    if status != SENT:
        lines.append(f"not sent to {peer}: {status}")
        return False, tuple(lines)
    if isinstance(winner, FlowPath):
        lines.append(f"sent to {peer}" + (f" with {_listed(targets)}" if targets else ""))
        return True, tuple(lines)
    winners = sight.leading(peer, entry, family, key, most or 1)
    for path in winners:
        was = ", ".join(map(_target, sorted(path.attributes.targets)))
        called = "" if most is None else f" as path {_number(path.path_id)} (from {path.peer})"
        lines.append(f"sent to {peer}{called} with {_listed(sight.of(path)[peer])} (was {was})")
    if most is not None and len(visible) > len(winners):
        lines.append(f"{peer} is sent the best {most} paths of {len(visible)} (add_path.send)")
    return True, tuple(lines)
