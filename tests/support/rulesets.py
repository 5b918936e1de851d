"""Rulesets as hypothesis draws them: small networks in which everything meets everything.

A `Policy` is an intent that is easy to draw and to change; `build` makes a `Ruleset` of it as
the checks of a policy directory would let it through, and keeps the `Vpn` objects of an earlier
one that did not change, as the loader does.  Every target belongs to one VPN, and every import
target to one endpoint, unless a full mesh shares a single one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from hypothesis import strategies as st

from vpnctl.model import (
    FAMILIES,
    Controller,
    Endpoint,
    Listen,
    Network,
    Pe,
    Place,
    Pools,
    RouteDistinguisher,
    RouteTarget,
    Ruleset,
    Service,
    SiteOfVpn,
    Vpn,
)

LOCAL_ASN = 65000
ROUTER_ID = IPv4Address("10.0.0.100")
PES = ("pe0", "pe1", "pe2", "pe3")
_LISTEN = Listen(ROUTER_ID)


def network(pes: tuple[str, ...] = PES) -> Network:
    """A provider with these PEs; ``pe2`` is in an AS of its own and speaks over IPv6."""
    return Network(
        Controller(LOCAL_ASN, ROUTER_ID, (_LISTEN,), Pools(("65000", 100, 9999), (100, 999))),
        sites={},
        pes={
            name: Pe(
                name=name,
                address=IPv6Address(f"2001:db8::{number + 1}")
                if name == "pe2"
                else IPv4Address(f"10.0.0.{number + 1}"),
                asn=65002 if name == "pe2" else LOCAL_ASN,
                platform="generic",
                families=frozenset(FAMILIES.values()),
                listen=_LISTEN,
                port="",
                vlans=(1, 4094),
            )
            for number, name in enumerate(pes)
        },
    )


@dataclass(frozen=True)
class VpnIntent:
    """A VPN: the PEs of each of its sites, and how the sites may talk.

    ``topology``: ``full-mesh``, ``hub-and-spoke`` (the first site is the hub) or ``links`` (each
    site is heard by the next one only).  ``targets``: ``one`` (all endpoints share one target),
    ``own`` (one for both directions per endpoint) or ``split`` (two exported, another imported).
    ``edition`` changes all targets.
    """

    service: Service
    sites: tuple[tuple[str, ...], ...]
    topology: str = "full-mesh"
    targets: str = "own"
    edition: int = 0


@dataclass(frozen=True)
class Policy:
    """VPNs by number, and directed extranet links ``(speaker VPN, site, hearer VPN, site)``."""

    vpns: dict[int, VpnIntent] = field(default_factory=dict)
    extranets: frozenset[tuple[int, int, int, int]] = frozenset()


def name_of(number: int) -> str:
    return f"V{number}"


def target(text: str) -> RouteTarget:
    return RouteTarget.parse(text)


def _targets(
    number: int, index: int, intent: VpnIntent
) -> tuple[tuple[RouteTarget, ...], tuple[RouteTarget, ...]]:
    base = 1000 * number + 100 * intent.edition
    if intent.targets == "one" and intent.topology == "full-mesh":
        shared = (target(f"65000:{base}"),)
        return shared, shared
    own = target(f"65000:{base + 10 * index + 1}")
    if intent.targets == "split":
        other = target(f"10.0.0.1:{base + 10 * index + 2}")
        return (own, other), (target(f"4200000000:{base + 10 * index + 3}"),)
    return (own,), (own,)


def _links(number: int, intent: VpnIntent) -> set[tuple[SiteOfVpn, SiteOfVpn]]:
    sites = [SiteOfVpn(name_of(number), f"s{index}") for index in range(len(intent.sites))]
    pairs = [(a, b) for a in sites for b in sites if a != b]
    if intent.topology == "hub-and-spoke":
        return {(a, b) for a, b in pairs if sites[0] in (a, b)}
    if intent.topology == "links":
        return set(pairwise(sites))
    return set(pairs)


def _vpn(number: int, policy: Policy) -> Vpn:
    intent = policy.vpns[number]
    name = name_of(number)
    endpoints = []
    for site, pes in enumerate(intent.sites):
        for pe in pes:
            index = len(endpoints)
            exports, imports = _targets(number, index, intent)
            endpoints.append(
                Endpoint(
                    vpn=name,
                    site=f"s{site}",
                    pe=pe,
                    service=intent.service,
                    rd=RouteDistinguisher.parse(f"65000:{10 * number + index}"),
                    export_targets=exports,
                    import_targets=imports,
                    ve_id=None,
                    vlan=None,
                    vni=None,
                    place=Place(f"{name}.yaml", 3 + index),
                )
            )
    links = _links(number, intent)
    partners = set()
    for a, a_site, b, b_site in policy.extranets:
        if a == number:
            speaker = SiteOfVpn(name, f"s{a_site}")
            links.add((speaker, SiteOfVpn(name_of(b), f"s{b_site}")))
        if number in (a, b):
            partners |= {name_of(a), name_of(b)} - {name}
    return Vpn(
        name=name,
        service=intent.service,
        topology=intent.topology,
        endpoints=tuple(endpoints),
        links=frozenset(links),
        place=Place(f"{name}.yaml", 1),
        extranets=frozenset(partners),
    )


def build(policy: Policy, before: Ruleset | None = None) -> Ruleset:
    """The ruleset of a policy, with the unchanged `Vpn` objects of the one before."""
    known = before.vpns if before is not None else {}
    vpns = {}
    for number in sorted(policy.vpns):
        vpn = _vpn(number, policy)
        earlier = known.get(vpn.name)
        vpns[vpn.name] = earlier if earlier == vpn else vpn
    return Ruleset(before.network if before is not None else network(), vpns)


def vpn_intents() -> st.SearchStrategy[VpnIntent]:
    pes = st.lists(st.sampled_from(PES), min_size=1, max_size=2, unique=True).map(tuple)
    return st.builds(
        VpnIntent,
        service=st.sampled_from(Service),
        sites=st.lists(pes, min_size=1, max_size=3).map(tuple),
        topology=st.sampled_from(("full-mesh", "full-mesh", "hub-and-spoke", "links")),
        targets=st.sampled_from(("one", "own", "split")),
        edition=st.integers(0, 1),
    )


def without_dangling(policy: Policy) -> Policy:
    """Drop the extranet links to VPNs or sites that do not exist."""
    return replace(
        policy,
        extranets=frozenset(
            (a, a_site, b, b_site)
            for a, a_site, b, b_site in policy.extranets
            if a != b
            and a in policy.vpns
            and b in policy.vpns
            and a_site < len(policy.vpns[a].sites)
            and b_site < len(policy.vpns[b].sites)
        ),
    )


def extranets() -> st.SearchStrategy[frozenset[tuple[int, int, int, int]]]:
    number, site = st.integers(1, 4), st.integers(0, 2)
    return st.frozensets(st.tuples(number, site, number, site), max_size=4)


def policies() -> st.SearchStrategy[Policy]:
    vpns = st.dictionaries(st.integers(1, 4), vpn_intents(), min_size=1, max_size=4)
    return st.builds(Policy, vpns=vpns, extranets=extranets()).map(without_dangling)


@st.composite
def edited(draw: st.DrawFn, policy: Policy) -> Policy:
    """A policy with one thing changed: a VPN added, replaced or removed, or other extranets."""
    number = draw(st.integers(1, 4))
    match draw(st.sampled_from(("put", "put", "remove", "edition", "extranets"))):
        case "put":
            vpns = {**policy.vpns, number: draw(vpn_intents())}
            return without_dangling(replace(policy, vpns=vpns))
        case "remove":
            vpns = {other: intent for other, intent in policy.vpns.items() if other != number}
            return without_dangling(replace(policy, vpns=vpns))
        case "edition" if number in policy.vpns:
            intent = policy.vpns[number]
            changed = replace(intent, edition=1 - intent.edition)
            return replace(policy, vpns={**policy.vpns, number: changed})
    return without_dangling(replace(policy, extranets=draw(extranets())))
