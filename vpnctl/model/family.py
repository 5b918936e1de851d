"""Address families (AFI/SAFI of RFC 4760): VPN routes that we rewrite, and flow specifications."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Family:
    """An AFI/SAFI pair with the name used in YAML, on the command line, in JSON and in metrics."""

    afi: int
    safi: int
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def octets(self) -> bytes:
        """AFI (2 octets) and SAFI (1 octet) as MP_REACH_NLRI and MP_UNREACH_NLRI begin."""
        return self.afi.to_bytes(2, "big") + bytes((self.safi,))


VPNV4 = Family(1, 128, "vpnv4")
VPNV6 = Family(2, 128, "vpnv6")
VPLS = Family(25, 65, "vpls")
EVPN = Family(25, 70, "evpn")

FLOW4 = Family(1, 133, "ipv4 flow")
FLOW6 = Family(2, 133, "ipv6 flow")
FLOW_VPN4 = Family(1, 134, "ipv4 flow-vpn")
FLOW_VPN6 = Family(2, 134, "ipv6 flow-vpn")

#: Route target membership (RFC 4684): no routes, but which of them a PE wants.
RT_CONSTRAINT = Family(1, 132, "rt-constraint")

#: Every family whose routes are rewritten from PE to PE, by name.
FAMILIES: dict[str, Family] = {family.name: family for family in (VPNV4, VPNV6, VPLS, EVPN)}

#: The families of flow specifications (RFC 8955, 8956), by name: their routes are our own, made
#: of access rules.
FLOW_FAMILIES: dict[str, Family] = {
    family.name: family for family in (FLOW4, FLOW6, FLOW_VPN4, FLOW_VPN6)
}

#: Every family that a session may have, by name.
SESSION_FAMILIES: dict[str, Family] = {**FAMILIES, **FLOW_FAMILIES}
