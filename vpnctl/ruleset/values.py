"""The leaves of the policy files: text to number, range, name, address, route target.

Every type here takes the text as it was written (`vpnctl.yamltree.tree` interprets nothing) and
raises a `PydanticCustomError` whose message and hint are made for the operator.  Each also knows
the JSON Schema by which an editor checks it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Annotated, Any, TypeVar

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from vpnctl.model import Family, Listen, RouteDistinguisher, RouteTarget, Service
from vpnctl.model.family import SESSION_FAMILIES
from vpnctl.model.tags import two_tags
from vpnctl.yamltree.mistake import choices, quote, suggestion

T = TypeVar("T")

#: Type of the errors whose context holds ``hint``.
MISTAKE = "mistake"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_DIGITS = re.compile(r"[0-9]{1,12}")
_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,6}))?")
_ADMINISTRATOR_RANGE = re.compile(r"(?P<admin>[0-9.]+L?):(?P<range>[0-9-]+)")

MAX_ASN = 0xFFFFFFFF
MAX_VLAN = 4094
#: Outer tags of a port: as many as leave each VLAN its own unit on the routers we configure.
MAX_OUTER_VLANS = 3
MAX_VNI = 0xFFFFFF
MAX_VE_ID = 0xFFFF
#: Some routers take no higher ones, and none but large VPNs would need them.
MAX_ALLOCATED_VE_ID = 16384


def mistake(message: str, hint: str = "") -> PydanticCustomError:
    """The error that a validator raises; braces in the text are kept as they are."""
    return PydanticCustomError(MISTAKE, "{message}", {"message": message, "hint": hint})


def text(value: object) -> str:
    """``value``, which must be a scalar that is written out."""
    if value is None:
        raise mistake("has no value", "write one, or take the key out")
    if not isinstance(value, str):
        kind = "a list" if isinstance(value, list) else "a mapping"
        raise mistake(f"must be a single value, not {kind}", "write one value after the colon")
    return value


def leaf(parse: Callable[[str], T], schema: dict[str, Any]) -> tuple[PlainValidator, Any]:
    """The two annotations of a leaf type."""
    return PlainValidator(lambda value: parse(text(value))), WithJsonSchema(schema)


def whole_number(written: str, first: int, last: int, what: str) -> int:
    """``written`` as a whole number of ``first``..``last``."""
    if not _DIGITS.fullmatch(written):
        raise mistake(f"{quote(written)} is no {what}", f"write a number of {first} to {last}")
    number = int(written)
    if not first <= number <= last:
        raise mistake(f"{what} {number} is outside {first} to {last}", "choose another")
    return number


def _number(first: int, last: int, what: str) -> tuple[PlainValidator, Any]:
    return leaf(
        lambda written: whole_number(written, first, last, what),
        {"type": "integer", "minimum": first, "maximum": last},
    )


def _parse_range(written: str, first: int, last: int, what: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(written)
    if match is None:
        raise mistake(f"{quote(written)} is no range of {what}s", f"write {first}-{last}, say")
    low = whole_number(match[1], first, last, what)
    high = whole_number(match[2] or match[1], first, last, what)
    if high < low:
        raise mistake(f"the range {low}-{high} runs backwards", f"write {high}-{low}")
    return low, high


def _range(first: int, last: int, what: str) -> tuple[PlainValidator, Any]:
    return leaf(
        lambda written: _parse_range(written, first, last, what),
        {"type": ["string", "integer"], "pattern": r"^[0-9]+(-[0-9]+)?$"},
    )


#: What routers call their ports: ``ge-0/0/1``, ``Ethernet1/1``, ``xe-0/0/0:2``, ``ae0.100``.
INTERFACE = "[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}"


def _parse_interface(written: str) -> str:
    if written and re.fullmatch(INTERFACE, written) is None:
        raise mistake(
            f"{quote(written)} is no name of an interface",
            "write letters, digits and . : / _ - as in ge-0/0/1, 64 at most",
        )
    return written


def _parse_vlan(written: str) -> int:
    outer, slash, inner = written.partition("/")
    number = whole_number(outer, 1, MAX_VLAN, "VLAN")
    return two_tags(number, whole_number(inner, 1, MAX_VLAN, "inner VLAN")) if slash else number


def _parse_outer(written: str) -> tuple[int, int]:
    first, last = _parse_range(written, 1, MAX_VLAN, "VLAN")
    if last - first >= MAX_OUTER_VLANS:
        raise mistake(
            f"{first}-{last} are more than {MAX_OUTER_VLANS} outer tags",
            "a port has 16385 units at most: that is 4094 VLANs, and 4094 in each of three tags",
        )
    return first, last


def parse_name(written: str) -> str:
    if not _NAME.fullmatch(written):
        raise mistake(
            f"{quote(written)} is no name",
            "a name has letters, digits, - _ and . (at most 63, a letter or digit first)",
        )
    return written


def parse_address(written: str) -> IPv4Address | IPv6Address:
    """An address of a host; raises for the unspecified and multicast ones too."""
    try:
        address = ip_address(written)
    except ValueError:
        raise mistake(
            f"{quote(written)} is no IP address", "write one like 10.0.0.1 or 2001:db8::1"
        ) from None
    if address.is_unspecified or address.is_multicast:
        raise mistake(f"{written} is not the address of a host", "write the host's own address")
    return address


def parse_listen(written: str) -> Listen:
    """``10.0.0.100``, ``127.0.0.1:1790``, ``2001:db8::1`` or ``[::1]:1790``."""
    match = _LISTEN.fullmatch(written)
    if match is None:
        return Listen(parse_address(written))
    address = parse_address(match["v6"] or match["v4"])
    return Listen(
        address, whole_number(match["port"], 1, 65535, "TCP port") if match["port"] else 179
    )


def _parse_router_id(written: str) -> IPv4Address:
    try:
        address = IPv4Address(written)
    except ValueError:
        raise mistake(
            f"{quote(written)} is no router id", "write an IPv4 address like 10.0.0.100"
        ) from None
    if address == IPv4Address(0):
        raise mistake("a router id of 0.0.0.0 is not allowed (RFC 6286)", "choose another")
    return address


def _parse_asn(written: str) -> int:
    number = whole_number(written, 1, MAX_ASN, "AS number")
    if number in (23456, 65535, MAX_ASN):
        raise mistake(f"AS {number} is reserved (RFC 6793, RFC 7300)", "write the router's own")
    return number


def _parse_hold_time(written: str) -> int:
    number = whole_number(written, 0, 65535, "hold time")
    if number in (1, 2):
        raise mistake(f"a hold time of {number} is not allowed (RFC 4271)", "write 0, or 3 or more")
    return number


def _parse_flag(written: str) -> bool:
    lowered = written.lower()
    if lowered in ("true", "yes", "on"):
        return True
    if lowered in ("false", "no", "off"):
        return False
    raise mistake(f"{quote(written)} is neither true nor false", "write true or false")


def _parse_target(written: str) -> RouteTarget:
    try:
        return RouteTarget.parse(written[:100])
    except ValueError as error:
        raise mistake(str(error), "for example 65000:100") from None


def _parse_rd(written: str) -> RouteDistinguisher:
    try:
        return RouteDistinguisher.parse(written[:100])
    except ValueError as error:
        raise mistake(str(error), "for example 10.0.0.1:100") from None


def _parse_target_pool(written: str) -> tuple[str, int, int]:
    match = _ADMINISTRATOR_RANGE.fullmatch(written)
    if match is None:
        raise mistake(
            f"{quote(written)} is no pool of route targets", 'write "65000:100-9999", say'
        )
    first, last = _parse_range(match["range"], 0, MAX_ASN, "route target number")
    try:
        RouteTarget.parse(f"{match['admin']}:{last}")
    except ValueError as error:
        raise mistake(str(error), 'write "65000:100-9999", say') from None
    return match["admin"], first, last


def _parse_family(written: str) -> Family:
    family = SESSION_FAMILIES.get(written)
    if family is None:
        raise mistake(
            f"no family is called {quote(written)}{suggestion(written, SESSION_FAMILIES)}",
            choices(SESSION_FAMILIES, "families"),
        )
    return family


def one_of(names: tuple[str, ...], what: str, plural: str) -> tuple[PlainValidator, Any]:
    """One of a few words."""

    def parse(written: str) -> str:
        if written not in names:
            raise mistake(
                f"no {what} is called {quote(written)}{suggestion(written, names)}",
                choices(names, plural),
            )
        return written

    return leaf(parse, {"type": "string", "enum": list(names)})


def _parse_service(written: str) -> Service:
    try:
        return Service(written)
    except ValueError:
        names = [service.value for service in Service]
        raise mistake(
            f"no service is called {quote(written)}{suggestion(written, names)}",
            choices(names, "services"),
        ) from None


#: Stands for the PE's own address among networks of next hops.
OWN = "own"


def _parse_hop(written: str) -> IPv4Network | IPv6Network | str:
    if written == OWN:
        return written
    try:
        return ip_network(written)
    except ValueError:
        raise mistake(
            f"{quote(written)} is no network of next hops",
            "write own, for the PE's own address, or a network like 10.0.0.0/24",
        ) from None


def _parse_variable(written: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,199}", written):
        raise mistake(f"{quote(written)} is no name of a variable", "write VPNCTL_PE_E1, say")
    return written


def _parse_command(written: str) -> str:
    try:
        words = shlex.split(written)
    except ValueError as error:
        raise mistake(f"no command: {error}", "close every quote") from None
    if not words:
        raise mistake("is an empty command", "write a program and its arguments")
    return written


PAIR_SCHEMA = {"type": "string", "pattern": r"^[0-9.]+L?:[0-9]+$"}
NAME_SCHEMA = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"}

Name = Annotated[str, *leaf(parse_name, NAME_SCHEMA)]
Text = Annotated[str, *leaf(lambda written: written, {"type": "string"})]
Interface = Annotated[
    str, *leaf(_parse_interface, {"type": "string", "pattern": f"^({INTERFACE})?$"})
]
Flag = Annotated[bool, *leaf(_parse_flag, {"type": "boolean"})]
Asn = Annotated[int, *leaf(_parse_asn, {"type": "integer", "minimum": 1, "maximum": MAX_ASN - 1})]
Port = Annotated[int, *_number(1, 65535, "TCP port")]
HoldTime = Annotated[
    int, *leaf(_parse_hold_time, {"type": "integer", "minimum": 0, "maximum": 65535})
]
RouteCount = Annotated[int, *_number(1, 100_000_000, "number of routes")]
PathsCount = Annotated[int, *_number(0, 16, "number of paths to a destination")]
PathCount = Annotated[int, *_number(1, 100_000_000, "number of sets of attributes")]
AsCount = Annotated[int, *_number(1, 1024, "number of AS numbers")]
Percent = Annotated[int, *_number(1, 100, "percentage")]
KeyId = Annotated[int, *_number(0, 255, "key id")]
Hops = Annotated[int, *_number(1, 254, "number of hops")]
Pause = Annotated[int, *_number(0, 86_400, "number of seconds")]
RestartTime = Annotated[int, *_number(0, 4095, "number of seconds")]
LongLivedTime = Annotated[int, *_number(0, (1 << 24) - 1, "number of seconds")]
Mebibytes = Annotated[int, *_number(1, 1 << 20, "number of MiB")]
HopNetwork = Annotated[IPv4Network | IPv6Network | str, *leaf(_parse_hop, {"type": "string"})]
Variable = Annotated[str, *leaf(_parse_variable, {"type": "string"})]
Command = Annotated[str, *leaf(_parse_command, {"type": "string"})]
Vlan = Annotated[
    int,
    *leaf(
        _parse_vlan,
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_VLAN},
                {"type": "string", "pattern": "^[0-9]{1,4}/[0-9]{1,4}$"},
            ]
        },
    ),
]
Vni = Annotated[int, *_number(1, MAX_VNI, "VNI")]
VeId = Annotated[int, *_number(1, MAX_VE_ID, "VE-ID")]
VlanRange = Annotated[tuple[int, int], *_range(1, MAX_VLAN, "VLAN")]
OuterVlanRange = Annotated[
    tuple[int, int],
    *leaf(_parse_outer, {"type": ["string", "integer"], "pattern": r"^[0-9]+(-[0-9]+)?$"}),
]
VniRange = Annotated[tuple[int, int], *_range(1, MAX_VNI, "VNI")]
TargetRange = Annotated[
    tuple[str, int, int],
    *leaf(_parse_target_pool, {"type": "string", "pattern": r"^[0-9.]+L?:[0-9]+-[0-9]+$"}),
]
RouterId = Annotated[IPv4Address, *leaf(_parse_router_id, {"type": "string", "format": "ipv4"})]
Address = Annotated[
    IPv4Address | IPv6Address,
    *leaf(
        parse_address,
        {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]},
    ),
]
ListenAddress = Annotated[
    Listen, *leaf(parse_listen, {"type": "string", "examples": ["10.0.0.100", "[::1]:1790"]})
]
Target = Annotated[RouteTarget, *leaf(_parse_target, PAIR_SCHEMA)]
Rd = Annotated[RouteDistinguisher, *leaf(_parse_rd, PAIR_SCHEMA)]
FamilyName = Annotated[
    Family, *leaf(_parse_family, {"type": "string", "enum": list(SESSION_FAMILIES)})
]
ServiceName = Annotated[
    Service, *leaf(_parse_service, {"type": "string", "enum": [s.value for s in Service]})
]
