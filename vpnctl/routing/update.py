"""UPDATE messages: finding attributes and NLRI in one, and packing many NLRI into few.

A malformed UPDATE ends as RFC 7606 says: `SessionResetError` where the routes it is about cannot
be found, otherwise a `Received` whose ``malformed`` says why its routes count as withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from vpnctl.model import EVPN, VPLS, VPNV4, VPNV6, Family
from vpnctl.model.family import FLOW_FAMILIES, RT_CONSTRAINT
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

#: Legal lengths of the next hop, by family: an address, or an RD and an address, once or with a
#: link-local one.
_NEXT_HOP_OCTETS: dict[bytes, frozenset[int]] = {
    VPNV4.octets: frozenset((12, 24, 48)),
    VPNV6.octets: frozenset((24, 48)),
    VPLS.octets: frozenset((4, 16)),
    EVPN.octets: frozenset((4, 16)),
    RT_CONSTRAINT.octets: frozenset((4, 16)),
    # What stands there means nothing (RFC 8955 section 4).
    **{family.octets: frozenset(range(256)) for family in FLOW_FAMILIES.values()},
}


#: UPDATE Message Error, Unspecific: the mistake is ours.
DEFECT = 3, 0


class SessionResetError(Exception):
    """The session cannot go on (RFC 7606 section 2); carries the NOTIFICATION to send.

    ``code`` and ``subcode``: RFC 4271 section 4.5; ``message``: for the operator.
    """

    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.subcode = subcode
        self.message = message


class Received(NamedTuple):
    """One UPDATE taken apart, its attributes not yet looked at.

    Families are AFI and SAFI (3 octets); one that we do not know counts as not there.
    ``reach``: family, next hop and NLRI field of MP_REACH_NLRI; ``unreach``: family and NLRI
    field of MP_UNREACH_NLRI; ``attributes``: each of the others, whole; ``nlri_at``: where in the
    message body the NLRI field of MP_REACH_NLRI begins and ends; ``announces``: whether there is
    any reachable NLRI, of whatever family; ``malformed``: why the reachable routes count as
    withdrawn, or an empty string.
    """

    reach: tuple[bytes, bytes, bytes] | None
    unreach: tuple[bytes, bytes] | None
    attributes: list[bytes]
    nlri_at: tuple[int, int]
    announces: bool
    malformed: str


def _reach(value: bytes) -> tuple[bytes, bytes, int]:
    """Family, next hop, and where the NLRI begin within the value of MP_REACH_NLRI."""
    if len(value) < 5 or 4 + value[3] >= len(value):
        raise SessionResetError(3, 9, f"MP_REACH_NLRI of {len(value)} octets")
    family = value[:3]
    stop = 4 + value[3]
    if value[3] not in _NEXT_HOP_OCTETS.get(family, (value[3],)):
        raise SessionResetError(3, 9, f"a next hop of {value[3]} octets in MP_REACH_NLRI")
    return family, value[4:stop], stop + 1


def parse(body: bytes) -> Received:
    """Take apart the body of an UPDATE (all behind the 19-octet header).

    Raises `SessionResetError`.
    """
    end = len(body)
    if end < 4:
        raise SessionResetError(3, 1, f"an UPDATE body of {end} octets")
    at = 4 + (body[0] << 8 | body[1])
    if at > end:
        raise SessionResetError(3, 1, "Withdrawn Routes Length is beyond the message")
    stop = at + (body[at - 2] << 8 | body[at - 1])
    if stop > end:
        raise SessionResetError(3, 1, "Total Path Attribute Length is beyond the message")

    reach: tuple[bytes, bytes, bytes] | None = None
    unreach: tuple[bytes, bytes] | None = None
    seen_reach = seen_unreach = False
    nlri_at = (0, 0)
    attributes: list[bytes] = []
    malformed = ""
    while at < stop:
        flags = body[at]
        start = at + (4 if flags & EXTENDED_LENGTH else 3)
        if start > stop:
            malformed = "an attribute's header runs over the Total Path Attribute Length"
            break
        code = body[at + 1]
        size = body[start - 1]
        if flags & EXTENDED_LENGTH:
            size |= body[start - 2] << 8
        after = start + size
        if after > stop:
            if code in (MP_REACH_NLRI, MP_UNREACH_NLRI):
                raise SessionResetError(3, 1, f"attribute {code} runs over the message's")
            malformed = f"attribute {code} runs over the Total Path Attribute Length"
            break
        if code == MP_REACH_NLRI:
            if seen_reach:
                raise SessionResetError(3, 1, "two MP_REACH_NLRI in one UPDATE")
            seen_reach = True
            family, next_hop, offset = _reach(body[start:after])
            if family in _NEXT_HOP_OCTETS:
                nlri_at = start + offset, after
                reach = family, next_hop, body[nlri_at[0] : after]
            if flags & (OPTIONAL | TRANSITIVE) != OPTIONAL:
                malformed = f"MP_REACH_NLRI with flags {flags:#04x}"
        elif code == MP_UNREACH_NLRI:
            if seen_unreach:
                raise SessionResetError(3, 1, "two MP_UNREACH_NLRI in one UPDATE")
            seen_unreach = True
            if size < 3:
                raise SessionResetError(3, 9, f"MP_UNREACH_NLRI of {size} octets")
            if body[start : start + 3] in _NEXT_HOP_OCTETS:
                unreach = body[start : start + 3], body[start + 3 : after]
            if flags & (OPTIONAL | TRANSITIVE) != OPTIONAL:
                malformed = f"MP_UNREACH_NLRI with flags {flags:#04x}"
        else:
            attributes.append(body[at:after])
        at = after
    announces = seen_reach or stop < end
    if malformed and not announces and (at < stop or attributes):
        # Which routes it is about is anybody's guess (RFC 7606 section 5.2).
        raise SessionResetError(3, 1, malformed)
    return Received(reach, unreach, attributes, nlri_at, announces, malformed)


def value_at(body: bytes, code: int) -> tuple[int, int]:
    """Where the value of an attribute begins and ends in a body that `parse` took apart.

    `ValueError` if it has none of that code.
    """
    at = 4 + (body[0] << 8 | body[1])
    stop = at + (body[at - 2] << 8 | body[at - 1])
    while at < stop:
        extended = body[at] & EXTENDED_LENGTH
        start = at + (4 if extended else 3)
        after = start + (body[at + 2] << 8 | body[at + 3] if extended else body[at + 2])
        if body[at + 1] == code:
            return start, after
        at = after
    raise ValueError(f"no attribute {code}")


# -- the way out ----------------------------------------------------------------------------------


_HEAD = Struct("!16sHBHH")


def _message(attributes: bytes) -> bytes:
    size = len(attributes)
    return _HEAD.pack(MARKER, HEADER_OCTETS + 4 + size, _UPDATE, 0, size) + attributes


#: Octets of an UPDATE that announces, without next hop, NLRI and other attributes.
_REACH_OVERHEAD = HEADER_OCTETS + 4 + 4 + 3 + 1 + 1
_UNREACH_OVERHEAD = HEADER_OCTETS + 4 + 4 + 3


def room_for_nlri(message_size: int, next_hop: bytes, attribute_octets: int) -> int:
    """How many octets of NLRI fit an announcing UPDATE of at most ``message_size`` octets.

    ``attribute_octets``: how long all attributes but MP_REACH_NLRI are together.
    """
    return message_size - _REACH_OVERHEAD - len(next_hop) - attribute_octets


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


_ANNOUNCING = Struct("!16sHBHHBBH3sB")


def announcing(family: bytes, next_hop: bytes, field: bytes, attribute_octets: int) -> bytes:
    """An UPDATE that announces, up to where its other attributes begin.

    MP_REACH_NLRI comes first (RFC 7606 section 5.1).  ``family``: AFI and SAFI, 3 octets;
    ``field``: the NLRI; ``attribute_octets``: how long all other attributes are together.
    """
    hop = len(next_hop)
    value = 5 + hop + len(field)
    total = 4 + value + attribute_octets
    head = _ANNOUNCING.pack(
        MARKER,
        HEADER_OCTETS + 4 + total,
        _UPDATE,
        0,
        total,
        OPTIONAL | EXTENDED_LENGTH,
        MP_REACH_NLRI,
        value,
        family,
        hop,
    )
    return b"".join((head, next_hop, b"\x00", field))


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


REFRESH_REQUEST, BEGINNING_OF_REFRESH, END_OF_REFRESH = 0, 1, 2


def route_refresh(family: Family, subtype: int) -> bytes:
    """A ROUTE-REFRESH message that asks for routes or demarcates an answer (RFC 7313 3.2)."""
    octets = family.octets
    return (
        MARKER
        + (HEADER_OCTETS + 4).to_bytes(2, "big")
        + bytes((_ROUTE_REFRESH,))
        + octets[:2]
        + bytes((subtype,))
        + octets[2:]
    )
