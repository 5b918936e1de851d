"""From the access rules of a VPN to the flow routes of each of its endpoints.

A rule is enforced by the PEs of its sites.  Each of their endpoints gets the rule's flows with its
own route distinguisher and import targets (RFC 8955 section 8), so that they take effect in the
VPN's VRF there and nowhere else.  A PE that does not speak the VPN families gets them without both,
for its only table; the checks of the policy see to it that it serves one VPN only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vpnctl.flowspec import actions
from vpnctl.flowspec.flows import flows
from vpnctl.flowspec.nlri import flow_family, frame, make_key
from vpnctl.model import Endpoint, Family, Network, Ruleset, Vpn
from vpnctl.model.access import AccessRule, RateUnit, Treatment

_VERSIONS = (4, 6)


@dataclass(frozen=True, slots=True)
class FlowRoute:
    """A flow route that one PE is to have.

    ``key`` and ``nlri``: see `vpnctl.flowspec.nlri`; ``targets``: 8 octets each, sorted;
    ``communities``: the actions, 8 octets each; ``number``: the rule's place among those of its
    VPN, from 0.
    """

    pe: str
    family: Family
    key: bytes
    nlri: bytes
    targets: tuple[bytes, ...]
    communities: bytes
    vpn: str
    number: int
    rule: AccessRule

    @property
    def identity(self) -> tuple[str, Family, bytes]:
        """What no other flow route has."""
        return self.pe, self.family, self.key

    def looks_like(self, other: FlowRoute) -> bool:
        """Whether a peer that has the one needs not be told of the other."""
        return (self.targets, self.communities) == (other.targets, other.communities)


def flow_routes(vpn: Vpn, ruleset: Ruleset) -> tuple[FlowRoute, ...]:
    """The flow routes of a VPN: for each endpoint concerned, in the order of the rules."""
    if not vpn.access:
        return ()
    return tuple(
        route
        for endpoint in vpn.endpoints
        for number, rule in enumerate(vpn.access)
        if endpoint.site in rule.sites
        for route in _of_endpoint(vpn, endpoint, number, rule, ruleset)
    )


def _of_endpoint(
    vpn: Vpn, endpoint: Endpoint, number: int, rule: AccessRule, ruleset: Ruleset
) -> Iterator[FlowRoute]:
    communities = _communities(rule.treatment, endpoint, ruleset)
    for version in _VERSIONS:
        family = _spoken(ruleset.network, endpoint.pe, version)
        if family is None:
            continue
        separate = family == flow_family(version, vpn=True)
        targets = sorted(target.octets for target in endpoint.import_targets) if separate else []
        for flow in flows(rule.match, version):
            key = make_key(endpoint.rd if separate else None, version, flow)
            yield FlowRoute(
                endpoint.pe,
                family,
                key,
                frame(key),
                tuple(targets),
                # Extended communities that hold nothing would be malformed.
                communities if targets or communities else actions.NO_ACTION,
                vpn.name,
                number,
                rule,
            )


def _spoken(network: Network, pe: str, version: int) -> Family | None:
    """The family in which a PE hears of flows of an IP version, the VPN's if it can."""
    families = network.pes[pe].families
    for vpn in (True, False):
        family = flow_family(version, vpn=vpn)
        if family in families:
            return family
    return None


def _communities(treatment: Treatment, endpoint: Endpoint, ruleset: Ruleset) -> bytes:
    asn = ruleset.network.controller.asn
    if treatment.drop:
        return actions.rate_bytes(0.0, asn)
    found = []
    rate = treatment.rate
    if rate is not None:
        of_unit = actions.rate_bytes if rate.unit is RateUnit.OCTETS else actions.rate_packets
        found.append(of_unit(rate.per_second, asn))
    if treatment.redirect is not None:
        found += _redirect(ruleset.vpns, treatment.redirect, endpoint.pe)
    if treatment.dscp is not None:
        found.append(actions.mark(treatment.dscp))
    return b"".join(found)


def _redirect(vpns: Mapping[str, Vpn], name: str, pe: str) -> Iterator[bytes]:
    """To the VRF of another VPN at the same PE: the first one, where it has several."""
    for endpoint in vpns[name].endpoints:
        if endpoint.pe == pe:
            yield actions.redirect(min(endpoint.import_targets))
            return
