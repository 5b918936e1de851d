"""What each router shall have: the ruleset turned round, by router instead of by VPN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from vpnctl.model import (
    Endpoint,
    Family,
    Pe,
    Place,
    RouteDistinguisher,
    RouteTarget,
    Ruleset,
    Service,
    Vpn,
    site_range,
)

#: Labels that a VPLS PE announces at a time (RFC 4761 section 3.2.1), the default of Junos.  It
#: stays the same whatever the VPN grows to: another size resets the instance.
LABEL_BLOCK_SIZE = 8

_INNER_VLANS = 4094


@dataclass(frozen=True, slots=True)
class Attachment:
    """One endpoint as its router shall have it.

    ``ve_id``, ``site_range`` and ``label_block_size`` belong to a VPLS, ``vni`` to an EVPN.  With
    ``inner_vlan``, frames carry two tags and ``vlan`` is the outer one; without ``vlan`` the whole
    ``port`` is the customer's.  ``unit`` numbers the logical interface on the port.
    ``logical_system`` is the router's, `None` where its platform has none or none was chosen.
    """

    vpn: str
    site: str
    service: Service
    rd: RouteDistinguisher
    export_targets: tuple[RouteTarget, ...]
    import_targets: tuple[RouteTarget, ...]
    ve_id: int | None
    site_range: int | None
    label_block_size: int | None
    port: str
    unit: int
    vlan: int | None
    inner_vlan: int | None
    vni: int | None
    logical_system: str | None = None
    #: Where the policy asks for it; two that differ in nothing else are equal.
    place: Place | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What the router calls the instance: a VPN may have several sites at one router."""
        return f"{self.vpn}_{self.site}"

    @property
    def interface(self) -> str:
        """The logical interface, e.g. ``ge-0/0/1.100``."""
        return f"{self.port}.{self.unit}"


@dataclass(frozen=True, slots=True)
class RouterIntent:
    """Everything that vpnctl owns on one router.

    ``address`` and ``asn`` are the router's end of its session with the controller,
    ``controller_address``, ``controller_port`` and ``controller_asn`` the other; ``passive``: the
    router opens the session.  ``families`` are those of the session, ``hold_time`` is in seconds.
    ``attachments`` are in the order of their names.  A router of which nothing is ours has no
    intent at all; one without attachments still has its session.
    """

    router: str
    platform: str
    address: IPv4Address | IPv6Address
    asn: int
    controller_address: IPv4Address | IPv6Address
    controller_port: int
    controller_asn: int
    families: tuple[Family, ...]
    passive: bool
    hold_time: int
    port: str
    attachments: tuple[Attachment, ...]
    #: Where the policy has the router; two that differ in nothing else are equal.
    place: Place | None = field(default=None, compare=False)

    @property
    def internal(self) -> bool:
        """Whether the session with the controller is within one AS."""
        return self.asn == self.controller_asn


def intents(ruleset: Ruleset) -> Mapping[str, RouterIntent]:
    """The intent of every managed router, by its name.

    A virtual router of an ``l3vpn`` needs addresses toward the customer, which the policy does
    not have: these endpoints stay the operator's own.
    """
    attachments: dict[str, list[Attachment]] = {
        name: [] for name, pe in ruleset.network.pes.items() if pe.managed
    }
    for vpn in ruleset.vpns.values():
        if vpn.service is Service.L3VPN:
            continue
        sites = _site_range(vpn)
        for endpoint in vpn.endpoints:
            if endpoint.pe in attachments:
                pe = ruleset.network.pes[endpoint.pe]
                attachments[endpoint.pe].append(_attachment(endpoint, pe, sites))
    return {
        name: _intent(ruleset.network.pes[name], ruleset.network.controller.asn, attachments[name])
        for name in sorted(attachments)
    }


def _intent(pe: Pe, controller_asn: int, attachments: list[Attachment]) -> RouterIntent:
    return RouterIntent(
        router=pe.name,
        platform=pe.platform,
        address=pe.address,
        asn=pe.asn,
        controller_address=pe.listen.address,
        controller_port=pe.listen.port,
        controller_asn=controller_asn,
        families=tuple(sorted(pe.families)),
        passive=pe.passive,
        hold_time=pe.hold_time,
        port=pe.port,
        attachments=tuple(sorted(attachments, key=lambda one: (one.vpn, one.site))),
        place=pe.place,
    )


def _attachment(endpoint: Endpoint, pe: Pe, sites: int | None) -> Attachment:
    return Attachment(
        vpn=endpoint.vpn,
        site=endpoint.site,
        service=endpoint.service,
        rd=endpoint.rd,
        export_targets=endpoint.export_targets,
        import_targets=endpoint.import_targets,
        ve_id=endpoint.ve_id,
        site_range=sites,
        label_block_size=None if sites is None else LABEL_BLOCK_SIZE,
        port=pe.port,
        unit=_unit(endpoint, pe),
        vlan=endpoint.vlan,
        inner_vlan=endpoint.inner_vlan,
        vni=endpoint.vni if endpoint.service is Service.EVPN else None,
        place=endpoint.place,
    )


def _unit(endpoint: Endpoint, pe: Pe) -> int:
    """The VLAN's own number; those with two tags follow, outer tag by outer tag."""
    if endpoint.vlan is None:
        return 0
    if endpoint.inner_vlan is None:
        return endpoint.vlan
    first = endpoint.vlan if pe.outer_vlans is None else pe.outer_vlans[0]
    return (endpoint.vlan - first + 1) * _INNER_VLANS + endpoint.inner_vlan


def _site_range(vpn: Vpn) -> int | None:
    ve_ids = [endpoint.ve_id for endpoint in vpn.endpoints if endpoint.ve_id is not None]
    return site_range(max(ve_ids)) if ve_ids else None
