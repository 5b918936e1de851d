"""The provider's network: controller, sites and PEs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from vpnctl.model.family import Family
from vpnctl.model.guard import Guard
from vpnctl.model.place import Place


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
    ``vlans`` and ``outer_vlans``: (first, last), both within 1..4094; ``vnis``: (first, last),
    both within 1..16777215 (RFC 7348 section 5).
    """

    route_targets: tuple[str, int, int]
    vlans: tuple[int, int]
    vnis: tuple[int, int] = (10000, 19999)
    outer_vlans: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Controller:
    """The route server itself.  ``router_id`` is also its CLUSTER_ID (RFC 4456)."""

    asn: int
    router_id: IPv4Address
    listen: tuple[Listen, ...]
    pools: Pools


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for a router, in seconds: for a session, an answer, a commit.

    ``route``: for a new endpoint's first route after the commit; 0: no change waits for it.
    """

    connect: float = 10
    rpc: float = 30
    commit: float = 120
    route: float = 15


@dataclass(frozen=True, slots=True)
class Netconf:
    """How to log in to a PE over NETCONF (RFC 6242), never with a secret.

    ``key``: path of a private key, empty for the SSH agent's.  ``host_key``: the fingerprint of
    the router's key (``SHA256:...``), or the path of a ``known_hosts`` file; empty for the user's
    own.  ``address``: where it differs from the PE's, as the management address does.
    """

    user: str
    key: str = ""
    address: IPv4Address | IPv6Address | None = None
    port: int = 830
    host_key: str = ""
    timeouts: Timeouts = Timeouts()


@dataclass(frozen=True, slots=True)
class Frr:
    """How to reach the ``vtysh`` of an FRR PE.

    Without a ``user`` it runs on the controller's machine, in the network namespace ``netns``
    where one is named, on the sockets in the directory ``vty_socket`` where they are not in FRR's
    own; with one, over SSH, and then ``key``, ``address`` and ``host_key`` are as in `Netconf`.
    """

    netns: str = ""
    vty_socket: str = ""
    user: str = ""
    key: str = ""
    address: IPv4Address | IPv6Address | None = None
    port: int = 22
    host_key: str = ""
    timeouts: Timeouts = Timeouts()


@dataclass(frozen=True, slots=True)
class AddPath:
    """How many paths to one destination a PE is sent, and may send (RFC 7911); 0: the best alone.

    That is for the VPN-IP families: what identifies a route of the others names its PE, too.
    """

    send: int = 0
    receive: int = 0


@dataclass(frozen=True, slots=True)
class Pe:
    """A router that holds a BGP session with the controller.

    ``listen`` is the controller's end of the session.  ``port`` is the name of the interface to
    which customers' VLANs attach, empty where there is one only; ``vlans`` is the range that may
    be used there, and ``outer_vlans`` the range of outer tags under which further ones are found
    when it is used up (Q-in-Q), if any.  ``bgp_port`` is the TCP port that the controller connects
    to unless the session is ``passive``; ``hold_time`` is in seconds.  ``netconf`` or ``frr`` says
    how to configure it; without either, somebody else does.
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
    frr: Frr | None = None
    outer_vlans: tuple[int, int] | None = None
    #: Whether the PE is sent those routes only that it asks for (RFC 4684).
    rt_constraint: bool = False
    #: Seconds for which a restart of the PE, or of the controller, is waited for (RFC 4724); 0 for
    #: not at all.
    graceful_restart: int = 0
    #: Seconds for which routes stay when that was not enough (RFC 9494); 0 for not at all.
    long_lived_graceful_restart: int = 0
    #: Whether it is sent such routes although it does not know them (RFC 9494 section 4.6).
    stale_routes: bool = False
    #: Whether it is to be taken out of service: its routes are the last choice (RFC 8326).
    drain: bool = False
    #: Whether its own flow routes are taken where they are feasible (RFC 9117).
    flow_routes: bool = False
    #: What guards the session.
    guard: Guard = field(default_factory=Guard)
    #: Whether several paths to one destination may be told, and how many.
    add_path: AddPath = AddPath()
    #: Where the policy has it; two that differ in nothing else are equal.
    place: Place | None = field(default=None, compare=False)

    @property
    def managed(self) -> bool:
        """Whether the controller configures the router itself."""
        return self.netconf is not None or self.frr is not None


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
