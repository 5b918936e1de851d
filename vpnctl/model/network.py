"""The provider's network: controller, sites and PEs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from vpnctl.model.family import Family


@dataclass(frozen=True, slots=True, order=True)
class Listen:
    """An address and TCP port on which the controller accepts BGP sessions."""

    address: IPv4Address | IPv6Address
    port: int = 179

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Pools:
    """Where numbers come from when the operator gives none.

    ``route_targets``: (administrator, first, last), e.g. ``("65000", 100, 9999)``;
    ``vlans``: (first, last), both within 1..4094; ``vnis``: (first, last), both within
    1..16777215 (RFC 7348 section 5).
    """

    route_targets: tuple[str, int, int]
    vlans: tuple[int, int]
    vnis: tuple[int, int] = (10000, 19999)


@dataclass(frozen=True, slots=True)
class Controller:
    """The route server itself.  ``router_id`` is also its CLUSTER_ID (RFC 4456)."""

    asn: int
    router_id: IPv4Address
    listen: tuple[Listen, ...]
    pools: Pools


@dataclass(frozen=True, slots=True)
class Netconf:
    """How to log in to a PE over NETCONF: a user and the path of a private key, never a secret."""

    user: str
    key: str


@dataclass(frozen=True, slots=True)
class Pe:
    """A router that holds a BGP session with the controller.

    ``listen`` is the controller's end of the session.  ``port`` is the name of the interface to
    which customers' VLANs attach, empty where there is one only; ``vlans`` is the range that may
    be used there.  ``bgp_port`` is the TCP port that the controller connects to unless the
    session is ``passive``; ``hold_time`` is in seconds.
    """

    name: str
    address: IPv4Address | IPv6Address
    asn: int
    platform: str
    families: frozenset[Family]
    listen: Listen
    port: str
    vlans: tuple[int, int]
    bgp_port: int = 179
    passive: bool = False
    hold_time: int = 90
    netconf: Netconf | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A place: an enterprise's or a cloud's data center.  ``kind``: ``enterprise`` or ``cloud``."""

    name: str
    kind: str
    pes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """The provider's network, one per policy directory; the mappings are keyed by name."""

    controller: Controller
    sites: Mapping[str, Site]
    pes: Mapping[str, Pe]
