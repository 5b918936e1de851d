"""What becomes of a flow route that a PE announces: one pure function of rules and tables.

It is for the VPN whose endpoint at the PE has its route distinguisher and exports all of its
targets, and for no other; there it may take traffic away, and only such as the unicast routes of a
VRF lead to the PE's own site.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from struct import unpack

from vpnctl.flowspec.actions import RATE_BYTES, RATE_PACKETS, action_texts
from vpnctl.flowspec.nlri import RD_OCTETS, has_rd, parts, version_of
from vpnctl.model import VPNV4, VPNV6, Endpoint, Family, RouteDistinguisher, RouteTarget
from vpnctl.routing.attributes import Attributes
from vpnctl.routing.flowspec.validation import Speaker, Unicast, UnicastTable, infeasible
from vpnctl.routing.rewrite import Rules, rewrite
from vpnctl.routing.table import Path, Tables, TargetGroup

#: By IP version, the family of unicast routes that a flow is judged by.
UNICAST: Mapping[int, Family] = {4: VPNV4, 6: VPNV6}


@dataclass(frozen=True, slots=True)
class FlowVerdict:
    """``sent``: PE -> targets, 8 octets each, sorted; ``why``: why nobody gets it, if so.

    ``vpn``: whose it is, empty where it is nobody's; ``unfit``: PE -> why the flow is not feasible
    in the VPN's VRF there.
    """

    sent: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    why: str = ""
    vpn: str = ""
    unfit: Mapping[str, str] = field(default_factory=dict)


def prefix_of(key: bytes) -> tuple[int, int]:
    """Length and bits of the prefix in the key of a VPNv4 or VPNv6 route."""
    # Prefix length, route distinguisher, prefix.
    bits, octets = key[0], key[1 + RD_OCTETS :]
    return bits, int.from_bytes(octets, "big") >> (8 * len(octets) - bits)


class Vrfs:
    """The unicast routes of endpoints' VRFs under some rules, each looked up once."""

    def __init__(self, tables: Tables, rules: Rules) -> None:
        self._tables = tables
        self._rules = rules
        self._known: dict[tuple[Endpoint, int], UnicastTable] = {}

    @property
    def rules(self) -> Rules:
        return self._rules

    def table(self, endpoint: Endpoint, version: int) -> UnicastTable:
        """What an endpoint announces and hears, of an IP version."""
        found = self._known.get((endpoint, version))
        if found is None:
            found = UnicastTable(version, self._routes(endpoint, UNICAST[version]))
            self._known[endpoint, version] = found
        return found

    def _routes(self, endpoint: Endpoint, family: Family) -> Iterator[Unicast]:
        for group in self._groups(endpoint, family):
            for path in group.paths:
                attributes = path.attributes
                originator, neighbor_as = attributes.originator_id, attributes.neighbor_as
                for key in path.nlris:
                    yield Unicast(*prefix_of(key), path.peer, originator, neighbor_as)

    def _groups(self, endpoint: Endpoint, family: Family) -> set[TargetGroup]:
        rules = self._rules
        exported = frozenset(target.octets for target in endpoint.export_targets)
        imported = frozenset(target.octets for target in endpoint.import_targets)
        vpns = rules.ruleset.vpns
        names = (endpoint.vpn, *vpns[endpoint.vpn].extranets)
        near = {
            target.octets
            for name in names
            for one in vpns[name].endpoints
            for target in one.export_targets
        }
        found = set()
        for target in near:
            for group in self._tables.groups_of(target):
                if group.family != family:
                    continue
                if group.peer == endpoint.pe:
                    if group.targets & exported:
                        found.add(group)
                elif not imported.isdisjoint(self._allowed(group).get(endpoint.pe, ())):
                    found.add(group)
        return found

    def _allowed(self, group: TargetGroup) -> Mapping[str, tuple[bytes, ...]]:
        if self._rules is self._tables.rules:
            return group.allowed.sent
        return rewrite(self._rules, group.peer, group.family, group.targets).sent


def judge(vrfs: Vrfs, path: Path, key: bytes) -> FlowVerdict:
    """Who may have a flow route that a PE announces, if anybody."""
    rules, attributes = vrfs.rules, path.heard
    if attributes.loop:
        return FlowVerdict(why=attributes.loop)
    if not has_rd(path.family):
        return FlowVerdict(why="it would concern every VPN at the PEs that hear it")
    source, why = _source(rules, path, key)
    if source is None:
        return FlowVerdict(why=why)
    why = _too_much(attributes, bool(rules.ruleset.vpns[source.vpn].access))
    if why:
        return FlowVerdict(why=why, vpn=source.vpn)
    site = frozenset(one.pe for one in rules.endpoints[source.member])
    speaker = Speaker(path.peer, attributes.originator_id, attributes.neighbor_as, site)
    flow = parts(path.family, key)[1]
    sent: dict[str, set[bytes]] = {}
    unfit: dict[str, str] = {}
    for endpoint in _hearing(rules, source):
        why = infeasible(flow, speaker, vrfs.table(endpoint, version_of(path.family)))
        if why:
            unfit[endpoint.pe] = why
        else:
            targets = {target.octets for target in endpoint.import_targets}
            sent.setdefault(endpoint.pe, set()).update(targets)
    fit = {pe: tuple(sorted(found)) for pe, found in sorted(sent.items()) if pe not in unfit}
    if fit:
        return FlowVerdict(fit, "", source.vpn, unfit)
    words = f"no other PE may hear {source.site}"
    if unfit:
        words = f"not feasible (RFC 9117): {'; '.join(sorted(set(unfit.values())))}"
    return FlowVerdict({}, words, source.vpn, unfit)


def vpn_of(rules: Rules, path: Path, key: bytes) -> str:
    """The VPN that a flow route speaks for, empty for none."""
    source, _ = _source(rules, path, key)
    return "" if source is None else source.vpn


def _source(rules: Rules, path: Path, key: bytes) -> tuple[Endpoint | None, str]:
    """The endpoint at the PE that a flow route speaks for, or why there is none."""
    rd = key[:RD_OCTETS]
    owner = rules.owners.get(rd)
    text = RouteDistinguisher(rd)
    if owner is None:
        return None, f"{text} is nobody's route distinguisher"
    if owner != path.peer:
        return None, f"{text} is the route distinguisher of another PE, {owner}"
    targets = path.heard.targets
    if not targets:
        return None, "it has no route target"
    speaking: set[Endpoint] | None = None
    for target in sorted(targets):
        exporting = {
            one for one in rules.exporters.get((path.peer, target), ()) if one.rd.octets == rd
        }
        if not exporting:
            return None, f"{RouteTarget(target)} is not exported by the endpoint that has {text}"
        speaking = exporting if speaking is None else speaking & exporting
    found = min(speaking or (), key=lambda one: one.site, default=None)
    return found, "" if found else f"no endpoint that has {text} exports all of its targets"


def _too_much(attributes: Attributes, ruled: bool) -> str:
    """Why a PE may not ask for what a flow route does; ``ruled``: its VPN has access rules."""
    communities = attributes.communities
    for at in range(0, len(communities), 8):
        if communities[at : at + 2] not in (RATE_BYTES, RATE_PACKETS):
            (words,) = tuple(action_texts(communities[at : at + 8])) or ("something unknown",)
            return f"it may only drop or limit, and it does {words!r}"
        per_second: float = unpack("!f", communities[at + 4 : at + 8])[0]
        if not isfinite(per_second) or per_second < 0:
            return "its rate is no number"
        if per_second > 0 and ruled:
            # A router would let pass what it limits, and look no further.
            return "it could let pass what an access rule of the VPN denies: it may only drop"
    return "" if communities else "it may only drop or limit, and it accepts"


def _hearing(rules: Rules, source: Endpoint) -> Iterable[Endpoint]:
    """The endpoints of the source's VPN, at other PEs, that hear it."""
    for member in rules.hearers[source.member]:
        if member.vpn == source.vpn:
            for endpoint in rules.endpoints.get(member, ()):
                if endpoint.pe != source.pe and endpoint.import_targets:
                    yield endpoint
