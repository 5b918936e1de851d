"""UPDATE messages: finding attributes and NLRI in one, and packing many NLRI into few.

A malformed UPDATE ends as RFC 7606 says: `SessionResetError` where the routes it is about cannot
be found, otherwise a `Received` whose ``malformed`` says why its routes count as withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vpnctl.model import EVPN, FAMILIES, VPLS, VPNV4, VPNV6, Family
from vpnctl.routing.attributes import (
    EXTENDED_LENGTH,
    MP_REACH_NLRI,
    MP_UNREACH_NLRI,
    OPTIONAL,
    TRANSITIVE,
)

HEADER_OCTETS = 19
MARKER = b"\xff" * 16
_UPDATE, _ROUTE_REFRESH = 2, 5

_FAMILY_OF = {family.octets: family for family in FAMILIES.values()}

#: Legal lengths of the next hop: an address, or an RD and an address, once or with a link-local.
_NEXT_HOP_OCTETS: dict[Family, frozenset[int]] = {
    VPNV4: frozenset((12, 24, 48)),
    VPNV6: frozenset((24, 48)),
    VPLS: frozenset((4, 16)),
    EVPN: frozenset((4, 16)),
}


class SessionResetError(Exception):
    """The session cannot go on (RFC 7606 section 2); carries the NOTIFICATION to send.

    ``code`` and ``subcode``: RFC 4271 section 4.5; ``message``: for the operator.
    """

    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.subcode = subcode
        self.message = message


@dataclass(frozen=True, slots=True)
class Received:
    """One UPDATE taken apart, its attributes not yet looked at.

    ``reach``: family, next hop and NLRI field of MP_REACH_NLRI; ``unreach``: family and NLRI
    field of MP_UNREACH_NLRI; ``attributes``: all others, concatenated; ``nlri_at``: where in the
    message body the NLRI field of MP_REACH_NLRI begins and ends; ``malformed``: why the
    reachable routes count as withdrawn, or an empty string.
    """

    reach: tuple[Family, bytes, bytes] | None
    unreach: tuple[Family, bytes] | None
    attributes: bytes
    nlri_at: tuple[int, int]
    malformed: str


def _reach(value: bytes) -> tuple[Family | None, bytes, int]:
    """Family, next hop, and where the NLRI begin within the value of MP_REACH_NLRI."""
    if len(value) < 5 or 4 + value[3] >= len(value):
        raise SessionResetError(3, 9, f"MP_REACH_NLRI of {len(value)} octets")
    family = _FAMILY_OF.get(value[:3])
    stop = 4 + value[3]
    if family is not None and value[3] not in _NEXT_HOP_OCTETS[family]:
        raise SessionResetError(3, 9, f"a {family} next hop of {value[3]} octets")
    return family, value[4:stop], stop + 1


def parse(body: bytes) -> Received:
    """Take apart the body of an UPDATE (all behind the 19-octet header).

    Raises `SessionResetError`.
    """
    end = len(body)
    if end < 4:
        raise SessionResetError(3, 1, f"an UPDATE body of {end} octets")
    withdrawn = int.from_bytes(body[:2], "big")
    at = 4 + withdrawn
    if at > end:
        raise SessionResetError(3, 1, "Withdrawn Routes Length is beyond the message")
    stop = at + int.from_bytes(body[at - 2 : at], "big")
    if stop > end:
        raise SessionResetError(3, 1, "Total Path Attribute Length is beyond the message")

    reach: tuple[Family, bytes, bytes] | None = None
    unreach: tuple[Family, bytes] | None = None
    seen_reach = seen_unreach = False
    nlri_at = (0, 0)
    others: list[bytes] = []
    run = at  # where the attributes begin that are not copied to ``others`` yet
    malformed = ""
    while at < stop:
        flags = body[at]
        if flags & EXTENDED_LENGTH:
            start = at + 4
            size = int.from_bytes(body[at + 2 : start], "big") if start <= stop else 0
        else:
            start = at + 3
            size = body[at + 2] if start <= stop else 0
        after = start + size
        if start > stop or after > stop:
            malformed = "an attribute runs over the Total Path Attribute Length"
            others.append(body[run:at])
            run = stop
            break
        code = body[at + 1]
        if code in (MP_REACH_NLRI, MP_UNREACH_NLRI):
            others.append(body[run:at])
            run = after
            value = body[start:after]
            if flags & (OPTIONAL | TRANSITIVE) != OPTIONAL:
                malformed = f"attribute {code} with flags {flags:#04x}"
            if code == MP_REACH_NLRI:
                if seen_reach:
                    raise SessionResetError(3, 1, "two MP_REACH_NLRI in one UPDATE")
                seen_reach = True
                family, next_hop, offset = _reach(value)
                if family is not None:
                    reach = family, next_hop, value[offset:]
                    nlri_at = start + offset, after
            else:
                if seen_unreach:
                    raise SessionResetError(3, 1, "two MP_UNREACH_NLRI in one UPDATE")
                seen_unreach = True
                if size < 3:
                    raise SessionResetError(3, 9, f"MP_UNREACH_NLRI of {size} octets")
                family_of = _FAMILY_OF.get(value[:3])
                if family_of is not None:
                    unreach = family_of, value[3:]
        at = after
    others.append(body[run:stop])
    if malformed and not seen_reach and not seen_unreach:
        # Which routes it is about is anybody's guess (RFC 7606 section 5.2).
        raise SessionResetError(3, 1, malformed)
    return Received(reach, unreach, b"".join(others), nlri_at, malformed)


# -- the way out ----------------------------------------------------------------------------------


def _message(attributes: bytes) -> bytes:
    size = HEADER_OCTETS + 4 + len(attributes)
    return (
        MARKER
        + size.to_bytes(2, "big")
        + b"\x02\x00\x00"
        + len(attributes).to_bytes(2, "big")
        + attributes
    )


#: Octets of an UPDATE that announces, without next hop, NLRI and other attributes.
_REACH_OVERHEAD = HEADER_OCTETS + 4 + 4 + 3 + 1 + 1
_UNREACH_OVERHEAD = HEADER_OCTETS + 4 + 4 + 3


def room_for_nlri(message_size: int, next_hop: bytes, attributes: bytes) -> int:
    """How many octets of NLRI fit an announcing UPDATE of at most ``message_size`` octets."""
    return message_size - _REACH_OVERHEAD - len(next_hop) - len(attributes)


def chunks(nlris: Iterable[bytes], room: int) -> Iterator[bytes]:
    """Join NLRI into fields of at most ``room`` octets; one that is longer stands alone."""
    part: list[bytes] = []
    size = 0
    for nlri in nlris:
        size += len(nlri)
        if size > room and part:
            yield b"".join(part)
            part = []
            size = len(nlri)
        part.append(nlri)
    if part:
        yield b"".join(part)


def announce(family: Family, next_hop: bytes, field: bytes, attributes: bytes) -> bytes:
    """An UPDATE announcing the NLRI of ``field``; MP_REACH_NLRI first (RFC 7606 section 5.1)."""
    size = 5 + len(next_hop) + len(field)
    return _message(
        bytes((OPTIONAL | EXTENDED_LENGTH, MP_REACH_NLRI))
        + size.to_bytes(2, "big")
        + family.octets
        + bytes((len(next_hop),))
        + next_hop
        + b"\x00"
        + field
        + attributes
    )


def withdraw(family: Family, nlris: Sequence[bytes], message_size: int) -> Iterator[bytes]:
    """UPDATEs that withdraw ``nlris``."""
    for field in chunks(nlris, message_size - _UNREACH_OVERHEAD):
        yield _message(
            bytes((OPTIONAL | EXTENDED_LENGTH, MP_UNREACH_NLRI))
            + (3 + len(field)).to_bytes(2, "big")
            + family.octets
            + field
        )


def end_of_rib(family: Family) -> bytes:
    """The End-of-RIB marker of a family (RFC 4724 section 2)."""
    return _message(bytes((OPTIONAL, MP_UNREACH_NLRI, 3)) + family.octets)


BEGINNING_OF_REFRESH, END_OF_REFRESH = 1, 2


def route_refresh(family: Family, subtype: int) -> bytes:
    """A ROUTE-REFRESH message that demarcates an answer (RFC 7313 section 3.2)."""
    octets = family.octets
    return (
        MARKER
        + (HEADER_OCTETS + 4).to_bytes(2, "big")
        + bytes((_ROUTE_REFRESH,))
        + octets[:2]
        + bytes((subtype,))
        + octets[2:]
    )
