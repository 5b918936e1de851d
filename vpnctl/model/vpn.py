"""VPNs, their endpoints, and the ruleset that says which of them may talk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from vpnctl.model.access import AccessRule
from vpnctl.model.community import RouteDistinguisher, RouteTarget
from vpnctl.model.family import EVPN, VPLS, VPNV4, VPNV6, Family
from vpnctl.model.network import Network
from vpnctl.model.place import Place


class Service(Enum):
    """What a VPN offers its sites, and so which address families carry its routes."""

    VPLS = "vpls"
    EVPN = "evpn"
    L3VPN = "l3vpn"

    @property
    def families(self) -> frozenset[Family]:
        """An L3VPN may also announce its prefixes as EVPN type 5 (RFC 9136)."""
        return _FAMILIES_OF_SERVICE[self]


_FAMILIES_OF_SERVICE: dict[Service, frozenset[Family]] = {
    Service.VPLS: frozenset((VPLS,)),
    Service.EVPN: frozenset((EVPN,)),
    Service.L3VPN: frozenset((VPNV4, VPNV6, EVPN)),
}


class SiteOfVpn(NamedTuple):
    """A VPN's presence at a site: the node of the connectivity graph."""

    vpn: str
    site: str

    def __str__(self) -> str:
        return f"{self.vpn}/{self.site}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A VPN's VRF at one PE.

    A route announced with one of ``export_targets`` by ``pe`` comes from this endpoint; a route
    carrying one of ``import_targets`` is taken in by it.  Where there is an ``inner_vlan``, frames
    have two tags, and ``vlan`` is the outer one (IEEE 802.1ad).
    """

    vpn: str
    site: str
    pe: str
    service: Service
    rd: RouteDistinguisher
    export_targets: tuple[RouteTarget, ...]
    import_targets: tuple[RouteTarget, ...]
    ve_id: int | None
    vlan: int | None
    vni: int | None
    place: Place
    inner_vlan: int | None = None

    @property
    def member(self) -> SiteOfVpn:
        return SiteOfVpn(self.vpn, self.site)


@dataclass(frozen=True, slots=True)
class Vpn:
    """A customer's VPN.

    ``endpoints``: one per (site, PE of that site).  ``links``: directed edges
    ``(speaker, hearer)``: routes of the speaker may be heard by the hearer.  A link's speaker is
    always a site of this VPN; the hearer is a site of this VPN or, by an extranet, of another.
    The PEs of one site always hear each other and need no link.
    ``topology`` is the name to show: ``full-mesh``, ``hub-and-spoke`` or ``links``.
    ``extranets``: names of the other VPNs that occur in ``links`` of either.  ``access``: the
    access rules, in the order in which a packet is compared with them.
    """

    name: str
    service: Service
    topology: str
    endpoints: tuple[Endpoint, ...]
    links: frozenset[tuple[SiteOfVpn, SiteOfVpn]]
    place: Place
    extranets: frozenset[str] = field(default=frozenset())
    access: tuple[AccessRule, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, in the order of the policy file."""
        return tuple(dict.fromkeys(endpoint.site for endpoint in self.endpoints))


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A checked policy with every number resolved; ``vpns`` is keyed by name."""

    network: Network
    vpns: Mapping[str, Vpn]

    def endpoints(self) -> Iterable[Endpoint]:
        """Every endpoint of every VPN."""
        for vpn in self.vpns.values():
            yield from vpn.endpoints
