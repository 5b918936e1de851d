"""Address families that carry the VPN routes we rewrite (AFI/SAFI of RFC 4760)."""

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

#: Every family that is understood, by name.
FAMILIES: dict[str, Family] = {family.name: family for family in (VPNV4, VPNV6, VPLS, EVPN)}
