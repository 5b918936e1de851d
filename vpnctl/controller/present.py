"""From the model, the engine and the store to what is told: `vpnctl.controller.views`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice

from vpnctl.controller import views
from vpnctl.controller.events import utc_text
from vpnctl.controller.peers import SessionState
from vpnctl.model import Family, Guard, InUse, Network, RouteTarget, Ruleset, SiteOfVpn
from vpnctl.routing import inspect
from vpnctl.routing.as_path import path_text
from vpnctl.routing.engine import Engine
from vpnctl.routing.flowspec.originated import FlowGroup, FlowPath, path_actions
from vpnctl.routing.flowspec.taken import TakenGroup, TakenPath
from vpnctl.routing.nlri import to_text
from vpnctl.routing.rewrite import Rules, sources
from vpnctl.routing.session import Session
from vpnctl.routing.table import Path
from vpnctl.store import Revision


def _targets(octets: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(str(RouteTarget(target)) for target in sorted(octets))


def revision(stored: Revision) -> views.Revision:
    """A revision of the store."""
    return views.Revision(
        number=stored.number,
        parent=stored.parent,
        at=utc_text(stored.at),
        author=stored.author,
        kind=str(stored.kind),
        summary=stored.summary,
        state=str(stored.state),
        confirm_by=utc_text(stored.confirm_by) if stored.confirm_by else None,
        restores=stored.restores,
    )


def peers(
    engine: Engine, network: Network, states: Mapping[str, SessionState], left: inspect.Left
) -> tuple[views.Peer, ...]:
    """Every configured PE with its session; ``left``: for how long stale routes stay."""
    counts = inspect.counts(engine)
    sites: dict[str, list[str]] = {}
    for site in network.sites.values():
        for router in site.pes:
            sites.setdefault(router, []).append(site.name)
    found = []
    for name, pe in sorted(network.pes.items()):
        state = states.get(name, SessionState())
        session = engine.by_peer.get(name)
        families = session.opened.families if session else pe.families
        found.append(
            views.Peer(
                name=name,
                address=str(pe.address),
                asn=pe.asn,
                kind="external" if pe.asn != network.controller.asn else "internal",
                site=tuple(sites.get(name, ())),
                state=state.state,
                since=utc_text(state.since) if state.since else None,
                families=tuple(
                    views.FamilyCounts(
                        family.name,
                        counts.heard.get((name, family), 0),
                        counts.sent.get((name, family), 0),
                        pe.guard.routes.get(family.name),
                        _refused(session, family),
                    )
                    for family in sorted(families)
                ),
                synced=session is not None and session.end_of_rib >= session.opened.families,
                backlog=session.waiting if session else 0,
                refused_targets=sum(
                    routes for (peer, _), routes in counts.refused.items() if peer == name
                ),
                refused_flows=counts.refused_flows.get(name, 0),
                malformed=session.malformed if session else 0,
                updates_heard=session.updates_heard if session else 0,
                updates_sent=session.updates_sent if session else 0,
                last_error=(session.last_error if session else "") or state.reason,
                protection=_protection(pe.guard),
                asked=_asked(session),
                draining=session is not None and session.draining,
                paths=_paths(session),
                stale=_stale(engine, name, left),
            )
        )
    return tuple(found)


def _refused(session: Session | None, family: Family) -> int:
    if session is None or family.octets not in session.ledger.accounts:
        return 0
    return session.ledger.accounts[family.octets].refused


def _paths(session: Session | None) -> tuple[str, ...]:
    if session is None:
        return ()
    sent, taken = session.opened.paths_sent, session.opened.paths_taken
    return tuple(
        f"{family} {word} {by_family[family]}"
        for word, by_family in (("sent", sent), ("taken", taken))
        for family in sorted(by_family)
    )


def _stale(engine: Engine, peer: str, left: inspect.Left) -> tuple[str, ...]:
    counted: Counter[tuple[Family, bool, int | None]] = Counter()
    for path in engine.stale_paths(peer):
        counted[path.family, path.outlived, left(path)] += len(path.nlris)
    return tuple(
        f"{routes} {family}{' long-lived' if outlived else ''}"
        + ("" if seconds is None else f", {seconds} s left")
        for (family, outlived, seconds), routes in sorted(counted.items(), key=str)
    )


def _asked(session: Session | None) -> str:
    membership = session.membership if session else None
    if membership is None:
        return ""
    if membership.everything:
        return "everything"
    return f"{len(membership)} target{'' if len(membership) == 1 else 's'}"


def _protection(guard: Guard) -> tuple[str, ...]:
    words = [*(["md5"] if guard.md5 is not None else []), *(["tcp-ao"] if guard.tcp_ao else [])]
    return tuple(words if guard.hops is None else [*words, f"hops {guard.hops}"])


def vpns(rules: Rules) -> tuple[views.Vpn, ...]:
    """Every VPN with its endpoints."""
    heard_by: dict[SiteOfVpn, list[SiteOfVpn]] = {}
    for speaker, hearers in rules.hearers.items():
        for hearer in hearers:
            if hearer != speaker:
                heard_by.setdefault(hearer, []).append(speaker)
    return tuple(
        views.Vpn(
            name=vpn.name,
            service=vpn.service.value,
            topology=vpn.topology,
            sites=vpn.sites,
            extranets=tuple(sorted(vpn.extranets)),
            endpoints=tuple(
                views.Endpoint(
                    vpn=endpoint.vpn,
                    site=endpoint.site,
                    pe=endpoint.pe,
                    rd=str(endpoint.rd),
                    export_targets=tuple(map(str, endpoint.export_targets)),
                    import_targets=tuple(map(str, endpoint.import_targets)),
                    ve_id=endpoint.ve_id,
                    vlan=endpoint.vlan,
                    vni=endpoint.vni,
                    hears=tuple(
                        sorted(
                            str(speaker) if speaker.vpn != vpn.name else speaker.site
                            for speaker in heard_by.get(endpoint.member, ())
                        )
                    ),
                    place=str(endpoint.place),
                    inner_vlan=endpoint.inner_vlan,
                )
                for endpoint in vpn.endpoints
            ),
            place=str(vpn.place),
        )
        for _, vpn in sorted(rules.ruleset.vpns.items())
    )


def sites(ruleset: Ruleset) -> tuple[views.Site, ...]:
    """Every site with the VPNs that are there."""
    present: dict[str, list[str]] = {}
    for vpn in ruleset.vpns.values():
        for site in vpn.sites:
            present.setdefault(site, []).append(vpn.name)
    return tuple(
        views.Site(site.name, site.kind, site.pes, tuple(sorted(present.get(name, ()))))
        for name, site in sorted(ruleset.network.sites.items())
    )


def targets(engine: Engine) -> tuple[views.Target, ...]:
    """Every route target that an endpoint owns or a PE announced."""
    owners: dict[bytes, str] = {}
    exported: dict[bytes, set[str]] = {}
    imported: dict[bytes, set[str]] = {}
    for endpoint in engine.rules.ruleset.endpoints():
        for uses, listed in (
            (exported, endpoint.export_targets),
            (imported, endpoint.import_targets),
        ):
            for target in listed:
                owners[target.octets] = endpoint.vpn
                uses.setdefault(target.octets, set()).add(f"{endpoint.member} at {endpoint.pe}")
    routes: dict[bytes, int] = {}
    for group in engine.groups.values():
        if isinstance(group, FlowGroup | TakenGroup):
            continue  # nobody announced it, or it stands beside what was announced
        number = sum(len(path.nlris) for path in group.paths)
        for octets in group.targets:
            routes[octets] = routes.get(octets, 0) + number
    refused: dict[bytes, dict[str, int]] = {}
    for (peer, octets), number in inspect.counts(engine).refused.items():
        refused.setdefault(octets, {})[peer] = number
    return tuple(
        views.Target(
            target=str(RouteTarget(octets)),
            owner=owners.get(octets, ""),
            exported_by=tuple(sorted(exported.get(octets, ()))),
            imported_by=tuple(sorted(imported.get(octets, ()))),
            routes=routes.get(octets, 0),
            refused=refused.get(octets, {}),
        )
        for octets in sorted(owners.keys() | routes.keys())
    )


def _in_vpn(rules: Rules, path: Path, vpn: str | None) -> bool:
    """Whether a path speaks for an endpoint of a VPN, or is one of its access rules."""
    if isinstance(path, FlowPath):
        return vpn in (None, path.route.vpn)
    if isinstance(path, TakenPath):
        return vpn in (None, path.vpn)
    return vpn is None or any(
        endpoint.vpn == vpn
        for target in path.group.targets
        for endpoint in sources(rules, path.peer, path.family, target)
    )


def _routes(
    engine: Engine, peer: str, rows: Iterable[inspect.RibRow], vpn: str | None, limit: int
) -> tuple[views.Route, ...]:
    found = (
        views.Route(
            peer=peer,
            family=row.family.name,
            nlri=to_text(row.family, row.key),
            source=row.path.source,
            targets=_targets(row.targets),
            heard_targets=_targets(row.path.attributes.targets),
            next_hop=row.next_hop,
            as_path=path_text(row.path.attributes.as_path),
            status=row.status,
            actions=path_actions(row.path),
            path_id=row.path_id,
        )
        for row in rows
        if _in_vpn(engine.rules, row.path, vpn)
    )
    return tuple(islice(found, limit))


def rib_in(
    engine: Engine,
    peer: str,
    family: Family | None,
    vpn: str | None,
    limit: int,
    left: inspect.Left,
) -> tuple[views.Route, ...]:
    """Routes heard from a PE; ``left``: for how long they stay that are stale."""
    return _routes(engine, peer, inspect.rib_in(engine, peer, family, left), vpn, limit)


def rib_out(
    engine: Engine, peer: str, family: Family | None, vpn: str | None, limit: int
) -> tuple[views.Route, ...]:
    """Routes sent to a PE."""
    return _routes(engine, peer, inspect.rib_out(engine, peer, family), vpn, limit)


def access(engine: Engine, vpn: str | None) -> tuple[views.AccessRoute, ...]:
    """The access rules of a VPN, or of all, as the flow routes of each PE."""
    return tuple(
        views.AccessRoute(
            vpn=path.route.vpn,
            place=path.source,
            pe=path.route.pe,
            family=path.family.name,
            nlri=to_text(path.family, path.route.key),
            targets=_targets(path.route.targets),
            actions=path_actions(path),
            status=status,
        )
        for path, status in inspect.access(engine, vpn)
    )


def access_problems(engine: Engine) -> tuple[str, ...]:
    """PEs whose sessions are up and which cannot be told of access rules all the same."""
    deaf = {
        (path.route.pe, path.family.name)
        for path, _ in inspect.access(engine)
        if path.route.pe in engine.by_peer
        and path.family not in engine.by_peer[path.route.pe].opened.families
    }
    return tuple(
        f"{pe} did not negotiate {family}: its access rules are not enforced there"
        " (configure the family at the router; see 'vpnctl show access')"
        for pe, family in sorted(deaf)
    )


def explanation(
    engine: Engine, family: Family, key: bytes, nlri: str, peer: str, left: inspect.Left
) -> views.Explanation:
    """Why a PE has, or has not, a route; ``left``: for how long it stays that is stale."""
    sent, lines = inspect.explain(engine, family, key, peer, left)
    return views.Explanation(nlri, peer, sent, lines)


def use(found: InUse, taken: str = "") -> views.NumberInUse:
    """A number in use at a router, and who has it by the policy."""
    return views.NumberInUse(found.kind, found.value, found.where, found.port, taken)
