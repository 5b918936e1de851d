"""The shape of ``network.yaml``: the provider's network, once per directory."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from vpnctl.model import EVPN, FAMILIES, VPNV4, VPNV6, Family
from vpnctl.ruleset.guard import GuardEntry
from vpnctl.ruleset.login import FrrEntry, NetconfEntry
from vpnctl.ruleset.shape import OneOrMore, Shape
from vpnctl.ruleset.values import (
    NAME_SCHEMA,
    Address,
    Asn,
    FamilyName,
    Flag,
    HoldTime,
    Interface,
    ListenAddress,
    LongLivedTime,
    Name,
    OuterVlanRange,
    PathsCount,
    Port,
    RestartTime,
    RouterId,
    TargetRange,
    VlanRange,
    VniRange,
    leaf,
    one_of,
    parse_name,
)

_ALL = frozenset(FAMILIES.values())

#: The families that a PE of a platform speaks unless its entry says otherwise.
PLATFORMS: MappingProxyType[str, frozenset[Family]] = MappingProxyType(
    {
        "generic": _ALL,
        "junos-mx": _ALL,
        "junos-evo": _ALL,
        "junos-evpn": _ALL,
        "junos-bgp-only": _ALL,
        "gobgp": _ALL,
        "exabgp": _ALL,
        "frr": frozenset((VPNV4, VPNV6, EVPN)),
        "frr-evpn": frozenset((EVPN,)),
        "bird": frozenset((VPNV4, VPNV6)),
    }
)

#: Those whose PEs send with the VNI of the VPN that a packet comes from, whatever the route says
#: (as RFC 8365 section 5.1.2 lets them, where all PEs have the same).
OWN_VNI_ONLY = frozenset(("frr", "frr-evpn"))

# A user's own platform is a folder of templates, which nobody looks for here.
Platform = Annotated[
    str, *leaf(parse_name, {"anyOf": [{"type": "string", "enum": list(PLATFORMS)}, NAME_SCHEMA]})
]
Kind = Annotated[str, *one_of(("enterprise", "cloud"), "kind of site", "kinds")]


class PoolsEntry(Shape):
    """Where numbers come from that the policy leaves out."""

    route_targets: TargetRange | None = Field(
        None,
        description="Route targets, `ADMINISTRATOR:FIRST-LAST`; default the controller's AS "
        "with 100-9999.",
        examples=["65000:100-9999"],
    )
    vlans: VlanRange = Field(
        (100, 999), description="VLANs at cloud sites, within 1-4094.", examples=["100-999"]
    )
    outer_vlans: OuterVlanRange | None = Field(
        None,
        description="Outer tags, at most three: where `vlans` is used up, each has 4094 further "
        "VLANs inside (Q-in-Q).",
        examples=["4001-4003"],
    )
    vnis: VniRange = Field(
        (10000, 19999),
        description="VNIs of EVPN VPNs, within 1-16777215.",
        examples=["10000-19999"],
    )


class ControllerEntry(Shape):
    """The route server itself."""

    asn: Asn = Field(description="AS number, 2 or 4 octets.", examples=[65000])
    router_id: RouterId = Field(
        description="BGP identifier; also the CLUSTER_ID of the route reflector.",
        examples=["10.0.0.100"],
    )
    listen: OneOrMore[ListenAddress] = Field(
        description="Addresses on which BGP sessions are accepted and from which they are opened: "
        "`ADDRESS`, `IPV4:PORT` or `[IPV6]:PORT`; port 179 unless given.",
        examples=[["10.0.0.100", "127.0.0.1:1790", "[::1]:1790"]],
    )
    pools: PoolsEntry = Field(
        default_factory=lambda: PoolsEntry.model_validate({}),
        description="Ranges from which numbers are allocated.",
    )
    guard: GuardEntry | None = Field(
        None,
        description="What guards the session of every PE, where its own `guard` says nothing.",
        examples=[{"routes": 10000}],
    )


class SiteEntry(Shape):
    """A place where customers are: an enterprise's own data center, or a cloud's."""

    kind: Kind = Field(
        description="`enterprise` or `cloud`; at a cloud site every VPN gets a VLAN.",
        examples=["cloud"],
    )
    pes: OneOrMore[Name] = Field(
        description="The PEs of the site; every VPN here has an endpoint at each of them.",
        examples=[["pe-c2a", "pe-c2b"]],
    )


class AddPathEntry(Shape):
    """Several paths to one destination (RFC 7911), in `vpnv4` and `vpnv6`."""

    send: PathsCount = Field(
        0,
        description="The PE is sent so many of the best paths to a destination, if it takes them; "
        "0: the best one alone.",
        examples=[4],
    )
    receive: PathsCount = Field(
        0,
        description="The PE may announce so many paths to a destination; further ones are not "
        "taken in; 0: one.",
        examples=[8],
    )


class PeEntry(Shape):
    """A router that keeps a BGP session with the controller."""

    address: Address = Field(
        description="The PE's end of the BGP session.", examples=["10.0.0.1", "2001:db8::1"]
    )
    asn: Asn | None = Field(
        None,
        description="AS number; default the controller's (iBGP).  Another one makes the session "
        "eBGP.",
        examples=[65001],
    )
    platform: Platform = Field(
        "generic",
        description="What the PE is: one of the platforms below, or one of your own, with its "
        "`families`.",
        examples=["generic", "junos-mx"],
    )
    families: OneOrMore[FamilyName] | None = Field(
        None,
        description="Address families of the session; default what the platform speaks.",
        examples=[["vpls", "evpn"]],
    )
    port: Interface = Field(
        "",
        description="Interface to which customers' VLANs attach, where it matters which.",
        examples=["ge-0/0/1"],
    )
    vlans: VlanRange | None = Field(
        None,
        description="VLANs that may be used at that port; default the controller's pool.",
        examples=["200-299"],
    )
    outer_vlans: OuterVlanRange | None = Field(
        None,
        description="Outer tags for further VLANs at that port; default the controller's pool.",
        examples=["4001-4003"],
    )
    bgp_port: Port = Field(
        179, description="TCP port on which the PE listens for BGP.", examples=[179]
    )
    passive: Flag = Field(
        False,
        description="Wait for the PE to connect instead of connecting to it.",
        examples=[True],
    )
    rt_constraint: Flag = Field(
        False,
        description="Offer route target constraint (RFC 4684): a PE that takes it is sent those "
        "routes only whose targets it asks for.",
        examples=[True],
    )
    graceful_restart: RestartTime = Field(
        0,
        description="Offer graceful restart (RFC 4724): when the PE restarts, or the controller, "
        "routes stay for so many seconds; 0: they go at once.",
        examples=[60],
    )
    long_lived_graceful_restart: LongLivedTime = Field(
        0,
        description="Offer long-lived graceful restart (RFC 9494): a PE, or the controller, that "
        "is away for longer than `graceful_restart` leaves its routes as everybody's last choice "
        "for so many seconds more; 0: they go.",
        examples=[86400],
    )
    stale_routes: Flag = Field(
        False,
        description="Send the PE such routes although it does not offer that itself: with "
        "LOCAL_PREF 0 and NO_EXPORT (RFC 9494, section 4.6).  For iBGP alone.",
        examples=[True],
    )
    add_path: AddPathEntry | None = Field(
        None,
        description="Offer several paths to one destination (RFC 7911).",
        examples=[{"send": 4, "receive": 8}],
    )
    drain: Flag = Field(
        False,
        description="The PE is to be taken out of service: its routes become the last choice "
        "(RFC 8326).  For a while only: `vpnctl drain`.",
        examples=[True],
    )
    flow_routes: Flag = Field(
        False,
        description="Take the PE's own flow routes and send them to the other PEs of their VPN, "
        "where they drop or limit what its unicast routes lead to (RFC 9117).",
        examples=[True],
    )
    hold_time: HoldTime = Field(
        90, description="Hold time in seconds: 0, or 3 to 65535.", examples=[90]
    )
    local: ListenAddress | None = Field(
        None,
        description="Which entry of `controller.listen` serves this PE; default the first of the "
        "same IP version.",
        examples=["127.0.0.1:1790"],
    )
    netconf: NetconfEntry | None = Field(
        None, description="How to log in to the PE over NETCONF, to configure it."
    )
    frr: FrrEntry | None = Field(
        None, description="How to reach the PE's `vtysh`, to configure it."
    )
    guard: GuardEntry | None = Field(
        None,
        description="What guards the session with the PE.",
        examples=[{"hops": 1, "routes": 10000}],
    )


class NetworkFile(Shape):
    """`network.yaml`: the controller, the sites and the PEs of the provider."""

    controller: ControllerEntry = Field(description="The route server itself.")
    sites: dict[Name, SiteEntry] = Field(description="The sites by name.")
    pes: dict[Name, PeEntry] = Field(description="The PEs by name.")
