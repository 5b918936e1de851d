"""Access rules as flows: one flow for each pair of prefixes and IP version."""

from __future__ import annotations

from ipaddress import ip_network

from vpnctl.flowspec.components import (
    AND,
    DESTINATION,
    DESTINATION_PORT,
    DONT_FRAGMENT,
    DSCP,
    FIRST_FRAGMENT,
    FRAGMENT,
    ICMP_CODE,
    ICMP_TYPE,
    IS_FRAGMENT,
    LAST_FRAGMENT,
    LENGTH,
    MATCH,
    NOT,
    PORT,
    PROTOCOL,
    SOURCE,
    SOURCE_PORT,
    TCP_FLAGS,
    Component,
    Flow,
    Term,
    Terms,
    prefix,
    spans,
)
from vpnctl.model.access import Fragment, Match, Span, TcpFlags

#: A flow without a destination is not feasible by default (RFC 9117 section 4.1), and one with
#: this is looked at after all that say where packets go.
_ANYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}

#: The protocol that belongs to the other IP version: ICMPv6 and ICMP.
_FOREIGN = {4: Span(58, 58), 6: Span(1, 1)}

_FRAGMENT_TERMS = {
    Fragment.DONT: Term(MATCH, DONT_FRAGMENT),
    Fragment.IS: Term(MATCH, IS_FRAGMENT),
    Fragment.FIRST: Term(MATCH, FIRST_FRAGMENT),
    Fragment.LAST: Term(MATCH, LAST_FRAGMENT),
    # Not any of the two: a packet that is whole has neither bit.
    Fragment.NOT: Term(NOT, IS_FRAGMENT | FIRST_FRAGMENT),
}


def flows(match: Match, version: int) -> tuple[Flow, ...]:
    """The flows that together match what a rule matches of an IP version (4 or 6)."""
    if version not in match.versions:
        return ()
    protocols = tuple(span for span in match.protocols if span != _FOREIGN[version])
    if match.protocols and not protocols:
        return ()
    others = _others(match, protocols)
    destinations = match.destinations or (_ANYWHERE[version],)
    sources = [
        (prefix(SOURCE, network),) for network in match.sources if network.version == version
    ]
    return tuple(
        (prefix(DESTINATION, destination), *source, *others)
        for destination in destinations
        if destination.version == version
        for source in (sources if match.sources else [()])
    )


def _others(match: Match, protocols: tuple[Span, ...]) -> tuple[Component, ...]:
    """All components but the prefixes, ascending."""
    found: list[Component] = [
        spans(kind, ranges)
        for kind, ranges in (
            (PROTOCOL, protocols),
            (PORT, match.ports),
            (DESTINATION_PORT, match.destination_ports),
            (SOURCE_PORT, match.source_ports),
            (ICMP_TYPE, match.icmp_types),
            (ICMP_CODE, match.icmp_codes),
            (LENGTH, match.lengths),
            (DSCP, match.dscps),
        )
        if ranges
    ]
    if match.tcp_flags is not None:
        found.append(_tcp_flags(match.tcp_flags))
    if match.fragments:
        terms = tuple(_FRAGMENT_TERMS[fragment] for fragment in match.fragments)
        found.append(Terms(FRAGMENT, terms))
    return tuple(sorted(found, key=lambda component: component.type))


def _tcp_flags(flags: TcpFlags) -> Terms:
    terms = []
    if flags.present:
        terms.append(Term(MATCH, flags.present))
    if flags.absent:
        terms.append(Term((AND if terms else 0) | NOT, flags.absent))
    return Terms(TCP_FLAGS, tuple(terms))
