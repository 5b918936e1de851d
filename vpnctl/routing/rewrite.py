"""The rule of rewriting: from (rules, PE, family, targets) to (PE -> targets).

A route comes from PE *p* with route targets *T*.  Its source endpoints are the endpoints at *p*
whose export target is in *T*; a target that no endpoint at *p* owns is refused, because a PE
cannot speak for a VRF it does not host.  For every other PE *q* the new targets are the import
targets of the endpoints at *q* that may hear a source; a PE without one does not get the route.

EVPN Ethernet Segment routes (RFC 7432 section 7.4) belong to no VPN but to a place: with the
ES-Import target that they carry they go, unchanged, to the other PEs of the announcing PE's sites.

`rewrite` is pure and knows nothing of sessions, NLRI or attributes.  What it promises, for any
rules that passed the checks of `vpnctl.ruleset`: no route of one VPN ever carries a target that
another VPN imports, unless an extranet says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from immutables import Map

from vpnctl.model import Endpoint, Family, Network, Ruleset, SiteOfVpn, Vpn
from vpnctl.model.community import ES_IMPORT
from vpnctl.routing.flowspec.routes import FlowRoute, flow_routes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the routes that a PE announces with certain targets.

    ``sent``: PE name -> the new targets (8 octets each, sorted); ``refused``: targets that no
    endpoint of the announcing PE owns.
    """

    sent: Mapping[str, tuple[bytes, ...]]
    refused: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Rules:
    """A ruleset indexed for `rewrite`.

    The next rules share what did not change with these, so that to change one of a thousand VPNs
    is work for one.

    ``exporters``: (PE, target) -> endpoints there that export it; ``endpoints``: site of a VPN ->
    its endpoints; ``hearers``: site of a VPN -> the sites of VPNs that may hear it, itself
    included, because the PEs of one site share one LAN; ``owners``: route distinguisher -> PE;
    ``neighbors``: PE -> the other PEs of its sites, where Ethernet Segments may be shared;
    ``flows``: VPN -> the flow routes that its access rules are, where it has some.
    """

    ruleset: Ruleset
    exporters: Map[tuple[str, bytes], tuple[Endpoint, ...]]
    endpoints: Map[SiteOfVpn, tuple[Endpoint, ...]]
    hearers: Map[SiteOfVpn, tuple[SiteOfVpn, ...]]
    owners: Map[bytes, str]
    neighbors: Mapping[str, frozenset[str]]
    flows: Map[str, tuple[FlowRoute, ...]] = field(default_factory=Map)


@dataclass(frozen=True, slots=True)
class RulesChange:
    """From one set of rules to the next.

    ``targets``: the route targets whose routes may be treated otherwise, `ES_IMPORT` for all
    ES-Import targets; ``distinguishers``: those that changed hands; ``vpns``: names of the VPNs
    that differ; ``flows``: names of those whose flow routes may differ.
    """

    rules: Rules
    targets: frozenset[bytes]
    distinguishers: frozenset[bytes]
    vpns: tuple[str, ...]
    flows: frozenset[str] = frozenset()


def _flows(
    before: Rules | None, ruleset: Ruleset, touched: Iterable[str]
) -> tuple[Map[str, tuple[FlowRoute, ...]], frozenset[str]]:
    """The flow routes of all VPNs, and the names of those whose may differ from before."""
    old: Map[str, tuple[FlowRoute, ...]] = before.flows if before else Map()
    if before is None or before.ruleset.network is not ruleset.network:
        # What families a PE speaks may have changed.
        touched = {*old, *ruleset.vpns}
    new = old.mutate()
    differing = set()
    for name in touched:
        vpn = ruleset.vpns.get(name)
        routes = () if vpn is None else flow_routes(vpn, ruleset)
        if routes or name in old:
            differing.add(name)
        if routes:
            new[name] = routes
        else:
            new.pop(name, None)
    return new.finish(), frozenset(differing)


def _exports(vpns: Iterable[Vpn]) -> Iterable[tuple[tuple[str, bytes], Endpoint]]:
    for vpn in vpns:
        for endpoint in vpn.endpoints:
            for target in endpoint.export_targets:
                yield (endpoint.pe, target.octets), endpoint


def _neighbors(network: Network) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for site in network.sites.values():
        for pe in site.pes:
            found.setdefault(pe, set()).update(other for other in site.pes if other != pe)
    return {pe: frozenset(others) for pe, others in found.items() if others}


def _same_endpoints(vpn: Vpn, other: Vpn | None) -> bool:
    return other is not None and other.endpoints is vpn.endpoints


def _differing(new: Mapping[str, Vpn], old: Mapping[str, Vpn]) -> Iterable[str]:
    """Names of the VPNs that are other objects than before, or were there before only."""
    yield from (name for name, vpn in new.items() if old.get(name) is not vpn)
    yield from (name for name in old if name not in new)


def compile_rules(
    ruleset: Ruleset, before: Rules | None = None, differing: Iterable[str] | None = None
) -> RulesChange:
    """Index a ruleset; with ``before`` only the VPNs that are other objects than there are read.

    ``differing``: the names of those, and of VPNs that are gone, where the caller knows them.
    """
    old: Mapping[str, Vpn] = before.ruleset.vpns if before else {}
    names = tuple(_differing(ruleset.vpns, old) if differing is None else differing)
    gone = [old[name] for name in names if name in old]
    come = [ruleset.vpns[name] for name in names if name in ruleset.vpns]
    # Of a VPN that became another's partner only the links differ, if these do.
    moved_out = [vpn for vpn in gone if not _same_endpoints(vpn, ruleset.vpns.get(vpn.name))]
    moved_in = [vpn for vpn in come if not _same_endpoints(vpn, old.get(vpn.name))]

    exporters = (before.exporters if before else Map()).mutate()
    endpoints = (before.endpoints if before else Map()).mutate()
    hearers = (before.hearers if before else Map()).mutate()
    owners = (before.owners if before else Map()).mutate()

    left_owners = {e.rd.octets: e.pe for vpn in moved_out for e in vpn.endpoints}
    for key, endpoint in _exports(moved_out):
        rest = tuple(other for other in exporters.get(key, ()) if other is not endpoint)
        if rest:
            exporters[key] = rest
        else:
            exporters.pop(key, None)
    for vpn in moved_out:
        for endpoint in vpn.endpoints:
            endpoints.pop(endpoint.member, None)
            hearers.pop(endpoint.member, None)
            owners.pop(endpoint.rd.octets, None)

    for key, endpoint in _exports(moved_in):
        exporters[key] = (*exporters.get(key, ()), endpoint)
    for vpn in moved_in:
        for endpoint in vpn.endpoints:
            endpoints[endpoint.member] = (*endpoints.get(endpoint.member, ()), endpoint)
            owners[endpoint.rd.octets] = endpoint.pe
    for vpn in come:
        former = old.get(vpn.name)
        if former and former.links is vpn.links and _same_endpoints(vpn, former):
            continue
        heard_by = {endpoint.member: {endpoint.member: None} for endpoint in vpn.endpoints}
        for speaker, hearer in vpn.links:
            heard_by[speaker][hearer] = None
        for speaker, members in heard_by.items():
            hearers[speaker] = tuple(members)

    # A partner's extranet routes carry import targets of a VPN that changed.
    partners = {name for vpn in (*gone, *come) for name in vpn.extranets}
    touched = [*gone, *come, *(ruleset.vpns[name] for name in partners if name in ruleset.vpns)]
    flows, flowing = _flows(before, ruleset, {*names, *partners})
    new_owners = {e.rd.octets: e.pe for vpn in moved_in for e in vpn.endpoints}
    targets = {target for (_, target), _ in _exports(touched)}
    if before is not None and before.ruleset.network is ruleset.network:
        neighbors = before.neighbors
    else:
        neighbors = _neighbors(ruleset.network)
        targets.add(ES_IMPORT)
    return RulesChange(
        rules=Rules(
            ruleset,
            exporters.finish(),
            endpoints.finish(),
            hearers.finish(),
            owners.finish(),
            neighbors,
            flows,
        ),
        targets=frozenset(targets),
        distinguishers=frozenset(
            rd
            for rd in left_owners.keys() | new_owners.keys()
            if left_owners.get(rd) != new_owners.get(rd)
        ),
        vpns=names,
        flows=flowing,
    )


def sources(rules: Rules, pe: str, family: Family, target: bytes) -> tuple[Endpoint, ...]:
    """The endpoints at ``pe`` for which a route of ``family`` with ``target`` speaks."""
    return tuple(
        endpoint
        for endpoint in rules.exporters.get((pe, target), ())
        if family in endpoint.service.families
    )


def rewrite(rules: Rules, pe: str, family: Family, targets: Iterable[bytes]) -> Verdict:
    """Decide which PEs get a route that ``pe`` announces, and with which targets."""
    sent: dict[str, set[bytes]] = {}
    refused = set()
    for target in targets:
        if target.startswith(ES_IMPORT):
            for neighbor in rules.neighbors.get(pe, ()):
                sent.setdefault(neighbor, set()).add(target)
            continue
        speaking = sources(rules, pe, family, target)
        if not speaking:
            refused.add(target)
        for source in speaking:
            for member in rules.hearers[source.member]:
                for endpoint in rules.endpoints.get(member, ()):
                    if endpoint.pe != pe and family in endpoint.service.families:
                        heard = sent.setdefault(endpoint.pe, set())
                        heard.update(imported.octets for imported in endpoint.import_targets)
    return Verdict(
        sent={name: tuple(sorted(found)) for name, found in sorted(sent.items()) if found},
        refused=frozenset(refused),
    )
