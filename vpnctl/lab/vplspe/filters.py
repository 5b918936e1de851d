"""From flow routes to nftables: what the PE lets pass between a VPN's ports.

A packet that crosses a VPN's bridge is compared with the VPN's flows in the order of RFC 8955
section 5.1; the first one that it matches decides.  Each flow has a chain of its own with what it
does, since it may need several rules to say what it matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from struct import unpack
from typing import Any

from vpnctl.flowspec import actions
from vpnctl.flowspec.components import (
    DESTINATION,
    DESTINATION_PORT,
    DONT_FRAGMENT,
    DSCP,
    FIRST_FRAGMENT,
    FLOW_LABEL,
    FRAGMENT,
    ICMP_CODE,
    ICMP_TYPE,
    IS_FRAGMENT,
    LAST_FRAGMENT,
    LENGTH,
    PORT,
    PROTOCOL,
    SOURCE,
    SOURCE_PORT,
    TCP_FLAGS,
    Component,
    Prefix,
    Terms,
)
from vpnctl.flowspec.nlri import has_rd, prefix_text, to_text, version_of
from vpnctl.flowspec.precedence import bit_values, looked_at, ranges
from vpnctl.lab.vplspe.flow_events import FlowKey, FlowRoute
from vpnctl.lab.vplspe.values import Filtered, Refusal

#: Name of our table in the bridge family of nftables.
TABLE = "pe_filters"
#: Octets, or packets, that may come at once before a rate is kept: a tenth of a second's, at least
#: a few full frames.
_LEAST_BURST = {actions.RATE_BYTES: 15_000, actions.RATE_PACKETS: 5}

_HEADER = {4: "ip", 6: "ip6"}
_IPV6_HEADER = 40
#: Where a field is in the transport header: offset and length in bits.
_TRANSPORT = {
    DESTINATION_PORT: "@th,16,16",
    SOURCE_PORT: "@th,0,16",
    ICMP_TYPE: "@th,0,8",
    ICMP_CODE: "@th,8,8",
    TCP_FLAGS: "@th,104,8",
}
_MOST = {
    PROTOCOL: 255, PORT: 65535, DESTINATION_PORT: 65535, SOURCE_PORT: 65535, ICMP_TYPE: 255,
    ICMP_CODE: 255, LENGTH: 65535, DSCP: 63, FLOW_LABEL: (1 << 20) - 1,
}  # fmt: skip
_PROTOCOLS_WITH_PORTS = "{ 6, 17, 132 }"

#: Flow routes by neighbor, then by what identifies them.
Heard = Mapping[str, Mapping[FlowKey, FlowRoute]]


class _CannotError(ValueError):
    """A flow route that this PE cannot enforce; the message says why."""


@dataclass(frozen=True, slots=True)
class Filters:
    """``script``: for ``nft -f``, empty where nothing is filtered; ``enforced``: by VPN, flows in
    their order, as text; ``refusals``: what could not be done."""

    script: str
    enforced: Mapping[str, tuple[str, ...]]
    refusals: tuple[Refusal, ...]


def filters(vpns: Sequence[Filtered], heard: Heard) -> Filters:
    """What the PE shall filter."""
    chains: list[str] = []
    jumps: list[str] = []
    enforced: dict[str, tuple[str, ...]] = {}
    refusals: list[Refusal] = []
    for number, vpn in enumerate(vpns):
        flows: list[str] = []
        body: list[str] = []
        for neighbor, route in _of_vpn(vpn, heard):
            text = to_text(route.key.family, route.key.octets)
            name = f"v{number}f{len(flows)}"
            try:
                does = list(_actions(route))
                body += [f"    {match} goto {name}" for match in _matches(route.key)]
            except _CannotError as error:
                refusals.append(Refusal(vpn.name, text, neighbor, str(error)))
                continue
            chains += [f"  chain {name} {{", *(f"    {line}" for line in does), "  }"]
            flows.append(text)
        enforced[vpn.name] = tuple(flows)
        if body:
            chains += [f"  chain v{number} {{", *body, "  }"]
            ports = ", ".join(f'"{port}"' for port in vpn.ports)
            # Of the two ports that a frame crosses, one is a customer's at least.
            jumps += [f"    {side} {{ {ports} }} goto v{number}" for side in ("iifname", "oifname")]
    script = ""
    if jumps:
        chains += [
            "  chain forward {",
            "    type filter hook forward priority 0; policy accept;",
            *jumps,
            "  }",
        ]
        script = "\n".join([f"table bridge {TABLE} {{", *chains, "}"]) + "\n"
    return Filters(script, enforced, tuple(sorted(refusals)))


def _of_vpn(vpn: Filtered, heard: Heard) -> list[tuple[str, FlowRoute]]:
    """The flow routes that a VPN imports, one neighbor's each, as they are to be looked at."""
    found: dict[FlowKey, tuple[str, FlowRoute]] = {}
    for neighbor, routes in sorted(heard.items()):
        for key, route in routes.items():
            if _is_for(route, vpn):
                found.setdefault(key, (neighbor, route))

    def order(key: FlowKey) -> tuple[Any, ...]:
        version = version_of(key.family)
        return version, looked_at(version)(key.flow), key

    return [found[key] for key in sorted(found, key=order)]


def _is_for(route: FlowRoute, vpn: Filtered) -> bool:
    if vpn.imports is None:
        return not has_rd(route.key.family)
    return bool(route.targets & vpn.imports)


# -- what a packet must be like -------------------------------------------------------------------


def _matches(key: FlowKey) -> Iterator[str]:
    """One line for each of the alternatives that together are the flow."""
    version = version_of(key.family)
    flow = key.flow
    alternatives = [[f"ether type {_HEADER[version]}"]]
    kinds = {component.type for component in flow}
    if kinds & {PORT, DESTINATION_PORT, SOURCE_PORT} and PROTOCOL not in kinds:
        alternatives.append([f"{_protocol(version)} {_PROTOCOLS_WITH_PORTS}"])
    alternatives += [_conditions(version, component) for component in flow]
    for combination in product(*alternatives):
        yield " ".join(word for word in combination if word)


def _protocol(version: int) -> str:
    return "ip protocol" if version == 4 else "meta l4proto"


def _conditions(version: int, component: Component) -> list[str]:
    """The alternatives of one component; an empty one is always true."""
    kind, header = component.type, _HEADER[version]
    if isinstance(component, Prefix):
        if component.offset:
            raise _CannotError("a prefix with an offset")
        side = {DESTINATION: "daddr", SOURCE: "saddr"}[kind]
        return [f"{header} {side} {prefix_text(version, component)}" if component.bits else ""]
    if kind == FRAGMENT:
        return _fragments(version, component)
    if kind == TCP_FLAGS:
        flags = ((value, value) for value in sorted(bit_values(component)))
        return [f"{_TRANSPORT[kind]} {_set(flags)}"]
    values = _set(_within(kind, version, component))
    if kind == PORT:
        return [f"{_TRANSPORT[side]} {values}" for side in (DESTINATION_PORT, SOURCE_PORT)]
    if kind in _TRANSPORT:
        return [f"{_TRANSPORT[kind]} {values}"]
    field = {
        PROTOCOL: _protocol(version),
        LENGTH: f"{header} length",
        DSCP: f"{header} dscp",
        FLOW_LABEL: "ip6 flowlabel",
    }[kind]
    return [f"{field} {values}"]


def _within(kind: int, version: int, component: Terms) -> Iterator[tuple[int, int]]:
    """The values of a component that its field can have, as nftables counts them."""
    # nftables knows the length of an IPv6 packet without its header.
    less = _IPV6_HEADER if kind == LENGTH and version == 6 else 0
    for first, last in ranges(component):
        low, high = max(first - less, 0), min(last, _MOST[kind]) - less
        if low <= high:
            yield low, high


def _set(values: Iterable[tuple[int, int]]) -> str:
    words = [str(low) if low == high else f"{low}-{high}" for low, high in values]
    if not words:
        raise _CannotError("no packet is like that")
    return f"{{ {', '.join(words)} }}"


def _fragments(version: int, component: Terms) -> list[str]:
    """By whether the fragment is the first part, and whether more of them follow."""
    wanted = bit_values(component)
    found = []
    for first, more, dont in product((True, False), (True, False), (True, False)):
        bits = (
            (DONT_FRAGMENT if dont else 0)
            | (0 if first else IS_FRAGMENT)
            | (FIRST_FRAGMENT if first and more else 0)
            | (LAST_FRAGMENT if not first and not more else 0)
        )
        if bits not in wanted:
            continue
        offset = "== 0" if first else "!= 0"
        if version == 4:
            flags = (0x4000 if dont else 0) | (0x2000 if more else 0)
            found.append(f"ip frag-off & 0x1fff {offset} ip frag-off & 0x6000 == {flags:#06x}")
        elif not dont:
            if first and not more:
                found.append("exthdr frag missing")
            found.append(f"exthdr frag exists frag frag-off {offset} frag more-fragments {more:d}")
    if not found:
        raise _CannotError("no packet is like that")
    return found


# -- what becomes of it ---------------------------------------------------------------------------


def _actions(route: FlowRoute) -> Iterator[str]:
    yield "counter"
    header = _HEADER[version_of(route.key.family)]
    communities = route.communities
    for at in range(0, len(communities), 8):
        kind, value = communities[at : at + 2], communities[at + 2 : at + 8]
        if kind in _LEAST_BURST:
            per_second = unpack("!f", value[2:])[0]
            if not per_second > 0:
                yield "drop"
                return
            yield _limit(kind, per_second)
        elif kind == actions.MARKING:
            yield f"{header} dscp set {value[5] & 0x3F}"
        elif kind[1] == 0x08 and kind[0] & 0xFC == 0x80:
            raise _CannotError("a bridge cannot redirect to another VPN")
    yield "accept"


def _limit(kind: bytes, per_second: float) -> str:
    # nftables counts in 32 bits of whole units.
    rate = max(1, round(min(per_second, 0xFFFFFFFF)))
    burst = max(_LEAST_BURST[kind], rate // 10)
    if kind == actions.RATE_PACKETS:
        return f"limit rate over {rate}/second burst {burst} packets drop"
    return f"limit rate over {rate} bytes/second burst {burst} bytes drop"
