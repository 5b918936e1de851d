"""Flow specification NLRI: framing, key, and how an operator writes one (RFC 8955 section 4).

The key of a flow route is its NLRI without the length: for SAFI 133 the components, for SAFI 134
the route distinguisher and the components.  As text::

    flow4/destination=10.1.0.0/16,protocol=6,destination-port=22+8000-8080
    flow4/10.0.0.1:100/source=192.0.2.0/24,tcp-flags=syn&!ack
    flow6/65000:1/destination=2001:db8::/32

``+`` joins alternatives, ``&`` conditions, ``-`` the ends of a range; ``<``, ``>``, ``<=``, ``>=``
and ``!`` (not) stand before a value.  A flow of which such words would not give the same octets
is written in hexadecimal: ``flow4/10.0.0.1:100/x0118...``.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Final

from vpnctl.flowspec.components import (
    ADDRESS_BITS,
    AND,
    BITMASK_TYPES,
    DESTINATION,
    DESTINATION_PORT,
    DSCP,
    EQUAL,
    FLOW_LABEL,
    FRAGMENT,
    GREATER,
    ICMP_CODE,
    ICMP_TYPE,
    LENGTH,
    LESS,
    MATCH,
    NOT,
    PORT,
    PREFIX_TYPES,
    PROTOCOL,
    SOURCE,
    SOURCE_PORT,
    TCP_FLAGS,
    Component,
    Flow,
    MalformedFlowError,
    Prefix,
    Term,
    Terms,
    decode,
    encode,
    prefix,
)
from vpnctl.model import Family, RouteDistinguisher
from vpnctl.model.family import FLOW4, FLOW6, FLOW_VPN4, FLOW_VPN6

#: Octets of the longest NLRI, without its length (RFC 8955 section 4.1).
LONGEST: Final = 4095
RD_OCTETS: Final = 8

_VERSION = {FLOW4: 4, FLOW_VPN4: 4, FLOW6: 6, FLOW_VPN6: 6}
_WITH_RD = frozenset((FLOW_VPN4, FLOW_VPN6))
_FAMILY = {(4, False): FLOW4, (4, True): FLOW_VPN4, (6, False): FLOW6, (6, True): FLOW_VPN6}


def version_of(family: Family) -> int:
    """4 or 6."""
    return _VERSION[family]


def has_rd(family: Family) -> bool:
    """Whether the NLRI of a family have route distinguishers."""
    return family in _WITH_RD


def flow_family(version: int, *, vpn: bool) -> Family:
    """The family of an IP version, with or without route distinguishers."""
    return _FAMILY[version, vpn]


def frame(key: bytes) -> bytes:
    """The NLRI of a key: its length in one octet, or from 240 on in two, in front."""
    size = len(key)
    if size > LONGEST:
        raise MalformedFlowError(f"a flow of {size} octets; at most {LONGEST} fit")
    return bytes((size,)) + key if size < 0xF0 else (0xF000 | size).to_bytes(2, "big") + key


def end_of(field: bytes, at: int) -> int:
    """Where the NLRI that begins at ``at`` ends, which may be behind the field's end."""
    if field[at] < 0xF0:
        return at + 1 + field[at]
    if at + 2 > len(field):
        return at + 2
    return at + 2 + (int.from_bytes(field[at : at + 2], "big") & 0x0FFF)


def key_of(family: Family, nlri: bytes) -> bytes:
    """The key of an NLRI; raises `MalformedFlowError`.

    Octets that say the same have the same key.
    """
    key = nlri[1:] if nlri[0] < 0xF0 else nlri[2:]
    rd = b""
    if family in _WITH_RD:
        if len(key) < RD_OCTETS:
            raise MalformedFlowError("a flow without a route distinguisher")
        rd, key = key[:RD_OCTETS], key[RD_OCTETS:]
    version = _VERSION[family]
    return rd + encode(version, decode(version, key))


def make_key(rd: RouteDistinguisher | None, version: int, flow: Flow) -> bytes:
    """The key of a flow, with a route distinguisher in front where there is one."""
    return (b"" if rd is None else rd.octets) + encode(version, flow)


def parts(family: Family, key: bytes) -> tuple[RouteDistinguisher | None, Flow]:
    """The route distinguisher, if the family has one, and the flow of a key."""
    if family in _WITH_RD:
        rd = RouteDistinguisher(key[:RD_OCTETS])
        return rd, decode(_VERSION[family], key[RD_OCTETS:])
    return None, decode(_VERSION[family], key)


# -- text -----------------------------------------------------------------------------------------

_NAMES = {
    DESTINATION: "destination",
    SOURCE: "source",
    PROTOCOL: "protocol",
    PORT: "port",
    DESTINATION_PORT: "destination-port",
    SOURCE_PORT: "source-port",
    ICMP_TYPE: "icmp-type",
    ICMP_CODE: "icmp-code",
    TCP_FLAGS: "tcp-flags",
    LENGTH: "length",
    DSCP: "dscp",
    FRAGMENT: "fragment",
    FLOW_LABEL: "flow-label",
}
_TYPES = {name: kind for kind, name in _NAMES.items()}
#: Names of single bits, by component type; `+` joins no bits, so each has a term of its own.
_BITS: dict[int, dict[int, str]] = {
    TCP_FLAGS: {
        0x01: "fin", 0x02: "syn", 0x04: "rst", 0x08: "psh", 0x10: "ack", 0x20: "urg",
        0x40: "ece", 0x80: "cwr",
    },
    FRAGMENT: {0x01: "dont", 0x02: "is", 0x04: "first", 0x08: "last"},
}  # fmt: skip
_COMPARISONS = {
    "<": LESS,
    ">": GREATER,
    "<=": LESS | EQUAL,
    ">=": GREATER | EQUAL,
    "!": LESS | GREATER,
    "": EQUAL,
    "any:": LESS | GREATER | EQUAL,
    "none:": 0,
}
_SIGNS = {operator: sign for sign, operator in _COMPARISONS.items()}
_NUMBER = re.compile(r"(?P<sign><=|>=|<|>|!|any:|none:|)(?P<value>\d+)(?:-(?P<last>\d+))?")
_MASK = re.compile(r"(?P<not>!?)(?P<match>=?)(?P<value>[a-z0-9|]+)")


def to_text(family: Family, key: bytes) -> str:
    """A key as the operator reads and writes it; the inverse of `from_text`."""
    version = _VERSION[family]
    head = f"flow{version}/"
    rd, body = None, key
    if family in _WITH_RD:
        rd, body = RouteDistinguisher(key[:RD_OCTETS]), key[RD_OCTETS:]
        head += f"{rd}/"
    words = flow_text(version, decode(version, body))
    if _flow_from_text(version, words) == body:
        return head + words
    return f"{head}x{body.hex()}"


def flow_text(version: int, flow: Flow) -> str:
    """A flow in words."""
    return ",".join(f"{_NAMES[one.type]}={_component_text(version, one)}" for one in flow)


def prefix_text(version: int, component: Prefix) -> str:
    """``10.1.0.0/16``, ``2001:db8::/32``; with an offset the pattern in hexadecimal."""
    if component.offset:
        return f"{component.pattern.hex()}/{component.offset}-{component.bits}"
    spare = ADDRESS_BITS[version] - component.bits
    packed = (component.value << spare).to_bytes(ADDRESS_BITS[version] // 8, "big")
    return str(ip_network((packed, component.bits)))


def _component_text(version: int, component: Component) -> str:
    if isinstance(component, Prefix):
        return prefix_text(version, component)
    if component.type in BITMASK_TYPES:
        return "".join(_mask_text(component.type, term) for term in component.terms).lstrip("+")
    found = ""
    terms = list(component.terms)
    while terms:
        low = terms.pop(0)
        join = "&" if low.operator & AND else "+"
        if (
            low.operator == GREATER | EQUAL
            and terms
            and terms[0].operator == AND | LESS | EQUAL
            and not (len(terms) > 1 and terms[1].operator & AND)
        ):
            found += f"{join}{low.value}-{terms.pop(0).value}"
        else:
            found += f"{join}{_SIGNS[low.operator & ~AND]}{low.value}"
    return found.lstrip("+")


def _mask_text(kind: int, term: Term) -> str:
    join = "&" if term.operator & AND else "+"
    sign = ("!" if term.operator & NOT else "") + ("=" if term.operator & MATCH else "")
    names = _BITS[kind]
    left = term.value
    words = []
    for bit, name in names.items():
        if left & bit:
            words.append(name)
            left &= ~bit
    return join + sign + ("|".join(words) if words and not left else str(term.value))


def from_text(text: str) -> tuple[Family, bytes]:
    """Family and key of a flow route in its text form; raises `ValueError`."""
    head, _, rest = text.partition("/")
    version = {"flow4": 4, "flow6": 6}[head]
    # A route distinguisher stands before what has no name and no x.
    rd = b""
    first, _, others = rest.partition("/")
    with_rd = "=" not in first and not first.startswith("x")
    if with_rd:
        rd, rest = RouteDistinguisher.parse(first).octets, others
    body = bytes.fromhex(rest[1:]) if rest.startswith("x") else _flow_from_text(version, rest)
    family = flow_family(version, vpn=with_rd)
    return family, key_of(family, frame(rd + body))


def _flow_from_text(version: int, words: str) -> bytes:
    found: list[Component] = []
    for word in words.split(","):
        name, _, value = word.partition("=")
        kind = _TYPES[name]
        if kind in PREFIX_TYPES:
            found.append(_prefix_from_text(version, kind, value))
        else:
            terms = []
            for number, one in enumerate(re.findall(r"[+&]?[^+&]+", value)):
                operator = AND if one.startswith("&") and number else 0
                parse = _mask_terms if kind in BITMASK_TYPES else _number_terms
                terms += parse(kind, operator, one.lstrip("+&"))
            found.append(Terms(kind, tuple(terms)))
    return encode(version, tuple(found))


def _prefix_from_text(version: int, kind: int, value: str) -> Prefix:
    address, _, bits = value.partition("/")
    if "-" in bits:
        offset, last = map(int, bits.split("-"))
        return Prefix(kind, last, offset, bytes.fromhex(address))
    network = ip_network(value)
    if network.version != version:
        raise ValueError(f"{value} is no IPv{version} prefix")
    return prefix(kind, network)


def _number_terms(_: int, operator: int, word: str) -> list[Term]:
    match = _NUMBER.fullmatch(word)
    if match is None:
        raise ValueError(f"{word!r} is no comparison")
    if match["last"] is None:
        return [Term(operator | _COMPARISONS[match["sign"]], int(match["value"]))]
    return [
        Term(operator | GREATER | EQUAL, int(match["value"])),
        Term(AND | LESS | EQUAL, int(match["last"])),
    ]


def _mask_terms(kind: int, operator: int, word: str) -> list[Term]:
    match = _MASK.fullmatch(word)
    if match is None:
        raise ValueError(f"{word!r} is no comparison of bits")
    bits = {name: bit for bit, name in _BITS[kind].items()}
    value = 0
    for name in match["value"].split("|"):
        value |= bits[name] if name in bits else int(name)
    operator |= (NOT if match["not"] else 0) | (MATCH if match["match"] else 0)
    return [Term(operator, value)]
