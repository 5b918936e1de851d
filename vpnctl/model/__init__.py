"""The words of the product as frozen values; no I/O, no clocks, no parsing of YAML.

- *Site*: a place; *PE*: a router there; *VPN*: a customer's pool of sites.
- *Endpoint*: a VPN's VRF at one PE, with its route distinguisher and route targets.
- *Access rule*: which packets of a VPN pass at which sites (`vpnctl.model.access`).
- *Ruleset*: network, VPNs and which endpoints may talk; the compiled form of a policy directory.
- *Allocation*: a number that the controller chose and must keep choosing.
"""

from vpnctl.model.allocation import Allocation, InUse, site_range
from vpnctl.model.community import RouteDistinguisher, RouteTarget
from vpnctl.model.family import EVPN, FAMILIES, VPLS, VPNV4, VPNV6, Family
from vpnctl.model.guard import AoAlgorithm, AoKey, Beyond, Guard, Secret
from vpnctl.model.network import (
    AddPath,
    Controller,
    Frr,
    Listen,
    Netconf,
    Network,
    Pe,
    Pools,
    Site,
    Timeouts,
)
from vpnctl.model.place import Place
from vpnctl.model.vpn import Endpoint, Ruleset, Service, SiteOfVpn, Vpn

__all__ = [
    "EVPN",
    "FAMILIES",
    "VPLS",
    "VPNV4",
    "VPNV6",
    "AddPath",
    "Allocation",
    "AoAlgorithm",
    "AoKey",
    "Beyond",
    "Controller",
    "Endpoint",
    "Family",
    "Frr",
    "Guard",
    "InUse",
    "Listen",
    "Netconf",
    "Network",
    "Pe",
    "Place",
    "Pools",
    "RouteDistinguisher",
    "RouteTarget",
    "Ruleset",
    "Secret",
    "Service",
    "Site",
    "SiteOfVpn",
    "Timeouts",
    "Vpn",
    "site_range",
]
