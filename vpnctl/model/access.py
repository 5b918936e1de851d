"""Access rules: which packets of a VPN pass at which sites, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from vpnctl.model.place import Place


class Span(NamedTuple):
    """Numbers from ``first`` to ``last``, both included."""

    first: int
    last: int


class Fragment(Enum):
    """How a packet is, or is not, a fragment (RFC 8955 section 4.2.2.12)."""

    DONT = "dont-fragment"
    IS = "is-fragment"
    FIRST = "first-fragment"
    LAST = "last-fragment"
    NOT = "not-a-fragment"


class TcpFlags(NamedTuple):
    """Bits of the TCP header's flags octet that must be set, and that must not be."""

    present: int
    absent: int


@dataclass(frozen=True, slots=True)
class Match:
    """What a packet must be like; what is empty or None does not matter.

    ``versions``: the IP versions meant, 4 and 6; of the prefixes, those of a version count for
    it.  ``ports`` match either end's port.  ``lengths`` are those of the IP packet in octets.
    """

    versions: frozenset[int]
    destinations: tuple[IPv4Network | IPv6Network, ...] = ()
    sources: tuple[IPv4Network | IPv6Network, ...] = ()
    protocols: tuple[Span, ...] = ()
    ports: tuple[Span, ...] = ()
    destination_ports: tuple[Span, ...] = ()
    source_ports: tuple[Span, ...] = ()
    icmp_types: tuple[Span, ...] = ()
    icmp_codes: tuple[Span, ...] = ()
    tcp_flags: TcpFlags | None = None
    lengths: tuple[Span, ...] = ()
    dscps: tuple[Span, ...] = ()
    fragments: tuple[Fragment, ...] = ()


class RateUnit(Enum):
    """What a rate counts, each second."""

    OCTETS = "octets"
    PACKETS = "packets"


class Rate(NamedTuple):
    """At most so much a second, at each place where the rule is enforced."""

    per_second: float
    unit: RateUnit


@dataclass(frozen=True, slots=True)
class Treatment:
    """What becomes of a packet: it is dropped, or it passes and all that is not None is done.

    ``redirect`` names the VPN in which it is forwarded instead; ``dscp``: 0 to 63.
    """

    drop: bool = False
    rate: Rate | None = None
    redirect: str | None = None
    dscp: int | None = None


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One access rule of a VPN; ``sites`` are those whose PEs enforce it."""

    match: Match
    treatment: Treatment
    sites: tuple[str, ...]
    place: Place
