"""How to reach a router, as the journal keeps it: a restart asks routers of policies long gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from vpnctl.model import Frr, Listen, Netconf, Pe, Timeouts


def document(pe: Pe) -> dict[str, Any]:
    """What `pe_of` needs, as JSON values; no secret is in it, as there is none in a policy."""
    return {
        "name": pe.name,
        "address": str(pe.address),
        "platform": pe.platform,
        "netconf": _plain(pe.netconf),
        "frr": _plain(pe.frr),
    }


def pe_of(document: Mapping[str, Any]) -> Pe:
    """A PE that can be reached as the one of `document` could; of its BGP session it knows nothing.

    The lists of a `document` that was written by another version may be longer or shorter: what
    is not known any more raises `TypeError`.
    """
    address = ip_address(document["address"])
    netconf, frr = document["netconf"], document["frr"]
    return Pe(
        name=document["name"],
        address=address,
        asn=0,
        platform=document["platform"],
        families=frozenset(),
        listen=Listen(address),
        port="",
        vlans=(1, 4094),
        netconf=None if netconf is None else Netconf(**_values(netconf)),
        frr=None if frr is None else Frr(**_values(frr)),
    )


def _plain(access: Netconf | Frr | None) -> dict[str, Any] | None:
    if access is None:
        return None
    values = asdict(access)
    address = values["address"]
    return {**values, "address": None if address is None else str(address)}


def _values(plain: Mapping[str, Any]) -> dict[str, Any]:
    address: IPv4Address | IPv6Address | None = None
    if plain["address"] is not None:
        address = ip_address(plain["address"])
    return {**plain, "address": address, "timeouts": Timeouts(**plain["timeouts"])}
