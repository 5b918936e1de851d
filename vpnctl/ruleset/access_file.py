"""The shape of an access rule in a VPN's file, and the words of its leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from pydantic import Field, model_validator

from vpnctl.model.access import Fragment, Rate, RateUnit, Span
from vpnctl.ruleset.shape import OneOrMore, Shape
from vpnctl.ruleset.values import (
    NAME_SCHEMA,
    Name,
    leaf,
    mistake,
    one_of,
    parse_name,
    whole_number,
)
from vpnctl.yamltree.mistake import choices, quote, suggestion

#: IP protocol numbers by the names that people use.
PROTOCOLS: Mapping[str, int] = MappingProxyType(
    {
        "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51,
        "icmp6": 58, "eigrp": 88, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132,
    }
)  # fmt: skip
#: Differentiated services code points (RFC 2474, 2597, 3246, 5865, 8622).
DSCPS: Mapping[str, int] = MappingProxyType(
    {
        **{f"cs{number}": 8 * number for number in range(8)},
        **{f"af{one}{two}": 8 * one + 2 * two for one in range(1, 5) for two in range(1, 4)},
        "be": 0, "ef": 46, "le": 1, "va": 44,
    }
)  # fmt: skip
#: Bits of the TCP header's flags octet (RFC 9293 section 3.1).
TCP_FLAGS: Mapping[str, int] = MappingProxyType(
    {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}
)

_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
_RATE = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?) ?(?P<unit>[A-Za-z]+/s)")
#: Octets, or packets, a second.
_UNITS: Mapping[str, tuple[float, RateUnit]] = MappingProxyType(
    {
        "b/s": (1 / 8, RateUnit.OCTETS),
        "kb/s": (1e3 / 8, RateUnit.OCTETS),
        "Mb/s": (1e6 / 8, RateUnit.OCTETS),
        "Gb/s": (1e9 / 8, RateUnit.OCTETS),
        "packets/s": (1.0, RateUnit.PACKETS),
    }
)
_MAX_OCTET, _MAX_PORT, _MAX_LENGTH, _MAX_DSCP = 255, 65535, 65535, 63


class End(NamedTuple):
    """Where packets go, or come from: a site by its name, or a prefix."""

    site: str | None
    network: IPv4Network | IPv6Network | None


def _parse_network(written: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(written)
    except ValueError as error:
        try:
            meant = ip_network(written, strict=False)
        except ValueError:
            raise mistake(
                f"{quote(written)} is no prefix", "write one like 10.1.0.0/16 or 2001:db8::/32"
            ) from None
        raise mistake(f"{quote(written)} is no prefix: {error}", f"write {meant}") from None


def _parse_end(written: str) -> End:
    if "/" in written or ":" in written or re.fullmatch(r"[0-9.]+", written):
        return End(None, _parse_network(written))
    return End(parse_name(written), None)


def _parse_span(written: str, last: int, what: str) -> Span:
    match = _RANGE.fullmatch(written)
    if match is None:
        raise mistake(
            f"{quote(written)} is no {what}", f"write a number of 0 to {last}, or a range like 1-9"
        )
    low = whole_number(match[1], 0, last, what)
    high = whole_number(match[2] or match[1], 0, last, what)
    if high < low:
        raise mistake(f"the range {low}-{high} runs backwards", f"write {high}-{low}")
    return Span(low, high)


def _span(last: int, what: str) -> tuple[Any, Any]:
    return leaf(
        lambda written: _parse_span(written, last, what),
        {"type": ["integer", "string"], "pattern": r"^[0-9]+(-[0-9]+)?$"},
    )


def _named_span(names: Mapping[str, int], last: int, what: str, plural: str) -> tuple[Any, Any]:
    """A number, a range, or one of some names."""

    def parse(written: str) -> Span:
        if written in names:
            return Span(names[written], names[written])
        if not written[:1].isdigit():
            raise mistake(
                f"no {what} is called {quote(written)}{suggestion(written, names)}",
                f"{choices(names, plural)}; or write its number",
            )
        return _parse_span(written, last, what)

    schema = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    return leaf(parse, schema)


def _parse_dscp(written: str) -> int:
    if written in DSCPS:
        return DSCPS[written]
    if not written[:1].isdigit():
        raise mistake(
            f"no DSCP is called {quote(written)}{suggestion(written, DSCPS)}",
            f"{choices(DSCPS, 'DSCPs')}; or write its number",
        )
    return whole_number(written, 0, _MAX_DSCP, "DSCP")


def _parse_rate(written: str) -> Rate:
    match = _RATE.fullmatch(written)
    if match is None or match["unit"] not in _UNITS:
        raise mistake(
            f"{quote(written)} is no rate", f"write 10 Mb/s, say; units: {', '.join(_UNITS)}"
        )
    size, unit = _UNITS[match["unit"]]
    per_second = float(match["number"]) * size
    if per_second == 0:
        raise mistake("a rate of 0 lets nothing pass", "write `deny` instead of `accept`")
    return Rate(per_second, unit)


_FLAG_WORDS = (*TCP_FLAGS, *(f"not-{name}" for name in TCP_FLAGS))
_FRAGMENT_WORDS = tuple(fragment.value for fragment in Fragment)

Prefix = Annotated[IPv4Network | IPv6Network, *leaf(_parse_network, {"type": "string"})]
EndName = Annotated[End, *leaf(_parse_end, {"anyOf": [NAME_SCHEMA, {"type": "string"}]})]
IpVersion = Annotated[str, *one_of(("ipv4", "ipv6"), "IP version", "IP versions")]
Protocol = Annotated[Span, *_named_span(PROTOCOLS, _MAX_OCTET, "protocol", "protocols")]
PortSpan = Annotated[Span, *_span(_MAX_PORT, "port")]
OctetSpan = Annotated[Span, *_span(_MAX_OCTET, "number")]
LengthSpan = Annotated[Span, *_span(_MAX_LENGTH, "length")]
DscpSpan = Annotated[Span, *_named_span(DSCPS, _MAX_DSCP, "DSCP", "DSCPs")]
Dscp = Annotated[int, *leaf(_parse_dscp, {"anyOf": [{"type": "integer"}, {"enum": sorted(DSCPS)}]})]
FlagWord = Annotated[str, *one_of(_FLAG_WORDS, "TCP flag", "TCP flags")]
FragmentWord = Annotated[str, *one_of(_FRAGMENT_WORDS, "kind of fragment", "kinds of fragments")]
RateText = Annotated[Rate, *leaf(_parse_rate, {"type": "string"})]


class MatchEntry(Shape):
    """What a packet must be like, all of it; what is left out does not matter."""

    to: OneOrMore[EndName] | None = Field(
        None,
        description="Where it goes: a site, which needs `prefixes`, or a prefix.",
        examples=["e2-hq"],
    )
    from_: OneOrMore[EndName] | None = Field(
        None,
        alias="from",
        description="Where it comes from: a site, which needs `prefixes`, or a prefix.",
        examples=["198.51.100.0/24"],
    )
    at: OneOrMore[Name] | None = Field(
        None,
        description="Sites whose PEs enforce the rule; default those that `to` and `from` name, "
        "else all of the VPN.",
        examples=[["e2-hq"]],
    )
    family: OneOrMore[IpVersion] | None = Field(
        None, description="`ipv4` or `ipv6`; default both.", examples=["ipv4"]
    )
    protocol: OneOrMore[Protocol] | None = Field(
        None,
        description="IP protocol by name or number; `icmp` means IPv4, `icmp6` IPv6.",
        examples=["tcp"],
    )
    port: OneOrMore[PortSpan] | None = Field(
        None, description="TCP or UDP port at either end: a number or a range.", examples=["22"]
    )
    from_port: OneOrMore[PortSpan] | None = Field(
        None, description="Port that it comes from.", examples=["1024-65535"]
    )
    to_port: OneOrMore[PortSpan] | None = Field(
        None, description="Port that it goes to.", examples=[["80", "443", "8000-8080"]]
    )
    icmp_type: OneOrMore[OctetSpan] | None = Field(
        None, description="Type of an ICMP message (0-255); needs `protocol`.", examples=["8"]
    )
    icmp_code: OneOrMore[OctetSpan] | None = Field(
        None, description="Code of an ICMP message (0-255); needs `protocol`.", examples=["0"]
    )
    tcp_flags: OneOrMore[FlagWord] | None = Field(
        None,
        description="TCP flags that must all be as said: `syn`, `not-ack`.",
        examples=[["syn", "not-ack"]],
    )
    length: OneOrMore[LengthSpan] | None = Field(
        None, description="Octets of the IP packet: a number or a range.", examples=["1-128"]
    )
    dscp: OneOrMore[DscpSpan] | None = Field(
        None, description="DSCP by name, number or range.", examples=["ef"]
    )
    fragment: OneOrMore[FragmentWord] | None = Field(
        None,
        description="One of: `dont-fragment` (IPv4), `is-fragment` (not the first), "
        "`first-fragment`, `last-fragment`, `not-a-fragment`.",
        examples=["is-fragment"],
    )


class AccessEntry(Shape):
    """What becomes of which packets: `accept` or `deny`, and on the way what is to be done."""

    accept: MatchEntry | None = Field(None, description="These packets pass.")
    deny: MatchEntry | None = Field(None, description="These packets are dropped.")
    rate: RateText | None = Field(
        None,
        description="At most so much at each PE: `b/s`, `kb/s`, `Mb/s`, `Gb/s` or `packets/s`.",
        examples=["10 Mb/s"],
    )
    mark: Dscp | None = Field(
        None, description="They get this DSCP: name or number.", examples=["af11"]
    )
    redirect: Name | None = Field(
        None,
        description="They are forwarded in this VPN, with which there is an `extranet` and which "
        "is at the same PEs.",
        examples=["scrubbing"],
    )

    @model_validator(mode="after")
    def _one_verb(self) -> AccessEntry:
        if (self.accept is None) == (self.deny is None):
            raise mistake(
                "must either accept or deny",
                "write {accept: {..}} or {deny: {..}}, with what the packets are like",
            )
        extra = [key for key in ("rate", "mark", "redirect") if getattr(self, key) is not None]
        if self.deny is not None and extra:
            raise mistake(
                f"denies packets, and so has nothing to {extra[0]}",
                f"take `{extra[0]}` out, or write `accept` instead of `deny`",
            )
        return self
