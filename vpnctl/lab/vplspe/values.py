"""What a VPLS PE knows, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from vpnctl.lab.vplspe.labels import LabelBlock
from vpnctl.model import RouteDistinguisher, RouteTarget

#: Encapsulation of the layer 2 info extended community (RFC 4761 section 3.2.4).
ENCAPSULATION_VPLS = 19


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A route server.  ``passive``: it connects to us."""

    address: IPv4Address
    asn: int
    port: int
    passive: bool


@dataclass(frozen=True, slots=True)
class Filtered:
    """A VPN whose packets are filtered.

    ``imports``: the targets of its flow routes, ``None`` for those that have none, because its PE
    has one table for all; ``ports``: the devices of its customer ports.
    """

    name: str
    imports: frozenset[RouteTarget] | None
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VpnAtPe:
    """A VPN at this PE: its VE, its bridge and its ports.

    ``vlan``: the tag of its frames at the ports, ``None`` for untagged ones.
    """

    name: str
    rd: RouteDistinguisher
    imports: frozenset[RouteTarget]
    exports: tuple[RouteTarget, ...]
    ve_id: int
    block: LabelBlock
    bridge: str
    interfaces: tuple[str, ...]
    vlan: int | None
    mtu: int

    @property
    def filtered(self) -> Filtered:
        """As whoever filters sees it."""
        ports = self.interfaces
        if self.vlan is not None:
            ports = tuple(f"{interface[:10]}.{self.vlan}" for interface in ports)
        return Filtered(self.name, self.imports, ports)


@dataclass(frozen=True, slots=True)
class PeConfig:
    """``address``: where sessions and pseudowires begin; ``hold_time``: seconds.

    ``restart_time`` and ``long_lived_time``: seconds for which routes stay when a session is lost,
    and for how many more after that (RFC 4724, RFC 9494), 0 for not offering that.
    ``underlay``: where next hops may lie, empty for anywhere.
    """

    router_id: IPv4Address
    address: IPv4Address
    asn: int
    hold_time: int
    neighbors: tuple[Neighbor, ...]
    underlay: tuple[IPv4Network, ...]
    vpns: tuple[VpnAtPe, ...]
    restart_time: int = 0
    long_lived_time: int = 0

    @property
    def filtered(self) -> tuple[Filtered, ...]:
        """All VPNs as whoever filters sees them."""
        return tuple(vpn.filtered for vpn in self.vpns)


class Layer2Info(NamedTuple):
    """RFC 4761 section 3.2.4; ``mtu`` in octets, 0 for not said."""

    encapsulation: int
    mtu: int


class NlriKey(NamedTuple):
    """What identifies a VE's route (RFC 4761 section 3.2.2); written as the controller does."""

    rd: str
    ve_id: int
    offset: int

    def __str__(self) -> str:
        return f"{self.rd}:ve{self.ve_id}@{self.offset}"


@dataclass(frozen=True, slots=True)
class VeRoute:
    """A VE as its PE announced it; ``next_hop`` as it was written.

    ``long_lived_stale``: the PE has been away for long, so that the route is the last choice (RFC
    9494 section 4.3).
    """

    key: NlriKey
    block: LabelBlock
    next_hop: str
    targets: frozenset[RouteTarget]
    local_preference: int
    layer2: Layer2Info | None
    long_lived_stale: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Pseudowire:
    """To the VE ``ve_id`` of a VPN: frames from it have the label ``receive``, frames to it go to
    ``peer`` with the label ``transmit``.
    """

    vpn: str
    ve_id: int
    peer: IPv4Address
    receive: int
    transmit: int

    @property
    def device(self) -> str:
        """Its network device; a label is given out once, so the name is unique."""
        return f"pw{self.receive}"


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A route that a VPN's import targets ask for and that cannot be used."""

    vpn: str
    route: str
    neighbor: str
    why: str
