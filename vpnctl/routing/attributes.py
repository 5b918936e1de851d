"""Path attributes on the way in: checked as RFC 7606 says and kept as received.

`parse` takes the attributes of one UPDATE without MP_REACH_NLRI and MP_UNREACH_NLRI and gives an
`Attributes` value or raises `TreatAsWithdrawError`.  What is taken out, and nothing else:

- route targets out of the extended communities, which are sent with others, and out of the IPv6
  address specific ones (RFC 5701), which are not;
- unknown attributes that are not transitive; transitive ones get the Partial bit;
- the AS4 companions of AS_PATH and AGGREGATOR (RFC 6793), which here have four octets per number;
- what RFC 7606 discards, and NEXT_HOP, for which MP_REACH_NLRI stands in.

Routes differ in few attributes and share the others, so each attribute is checked on its own and
the verdict on its octets remembered: a million routes have a few dozen AS_PATHs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from vpnctl.model.community import ES_IMPORT
from vpnctl.routing.as_path import (
    AS_SEQUENCE,
    AS_SET,
    AS_TRANS,
    LONGEST_REMEMBERED,
    AsPath,
    MalformedAsPathError,
    as_path,
    four_octet_path,
    leading,
    length_of,
    octets_of,
    segments_of,
)

OPTIONAL, TRANSITIVE, PARTIAL, EXTENDED_LENGTH = 0x80, 0x40, 0x20, 0x10
_MEANINGFUL = OPTIONAL | TRANSITIVE | PARTIAL
WELL_KNOWN, OPTIONAL_TRANSITIVE = TRANSITIVE, OPTIONAL | TRANSITIVE

ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF = 1, 2, 3, 4, 5
ATOMIC_AGGREGATE, AGGREGATOR, COMMUNITIES = 6, 7, 8
ORIGINATOR_ID, CLUSTER_LIST, MP_REACH_NLRI, MP_UNREACH_NLRI = 9, 10, 14, 15
EXTENDED_COMMUNITIES, AS4_PATH, AS4_AGGREGATOR = 16, 17, 18
PMSI_TUNNEL, TUNNEL_ENCAPSULATION, IPV6_EXTENDED_COMMUNITIES = 22, 23, 25
LARGE_COMMUNITIES, ONLY_TO_CUSTOMER, PREFIX_SID = 32, 35, 40

DEFAULT_LOCAL_PREF: Final = 100

#: Attributes and lists of communities whose reading is remembered.
_REMEMBERED: Final = 4096


class TreatAsWithdrawError(Exception):
    """The routes of this UPDATE are to be taken as withdrawn (RFC 7606 section 2)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """From whom attributes were heard, as far as their meaning depends on it.

    ``local_asn`` and ``router_id`` are ours; ``peer_router_id`` is the sender's BGP Identifier.
    ``long_lived``: the sender was offered long-lived graceful restart (RFC 9494).
    """

    external: bool
    asn4: bool
    local_asn: int
    router_id: bytes
    peer_router_id: bytes
    long_lived: bool = False


def attribute(flags: int, code: int, value: bytes) -> bytes:
    """The octets of an attribute; one octet for the length where it fits."""
    size = len(value)
    if size > 255:
        head = bytes((flags & _MEANINGFUL | EXTENDED_LENGTH, code, size >> 8, size & 255))
    else:
        head = bytes((flags & _MEANINGFUL, code, size))
    return head + value


def value_of(octets: bytes) -> bytes:
    """The value within the octets of an attribute."""
    return octets[4:] if octets[0] & EXTENDED_LENGTH else octets[3:]


# -- what is known of a route ---------------------------------------------------------------------


class Attributes(NamedTuple):
    """The path attributes of a route, checked; AS numbers in four octets.

    ``kept``: the octets of those that pass, ascending by code (the second octet), without the
    extended communities.  Those are split into ``targets`` and ``communities`` (the others, in
    order); ``communities_flags`` are the attribute's.  ``loop`` says why the route must not be
    used, if so.  ``discarded`` names what was taken out (RFC 7606 attribute discard).
    """

    origin: Origin
    kept: tuple[bytes, ...]
    path: AsPath
    targets: frozenset[bytes]
    communities: bytes
    communities_flags: int
    loop: str
    discarded: tuple[str, ...]

    def value(self, code: int) -> bytes | None:
        """The value of an attribute, None where the route has none of that code."""
        for octets in self.kept:
            if octets[1] == code:
                return value_of(octets)
        return None

    def _number(self, code: int, default: int) -> int:
        value = self.value(code)
        return default if value is None else int.from_bytes(value, "big")

    @property
    def as_path(self) -> bytes:
        """AS_PATH in four octets per number; `as_path.path_text` writes it."""
        return self.path.octets

    @property
    def as_path_length(self) -> int:
        return self.path.length

    @property
    def neighbor_as(self) -> int:
        return self.path.first

    @property
    def local_pref(self) -> int:
        return self._number(LOCAL_PREF, DEFAULT_LOCAL_PREF)

    @property
    def med(self) -> int:
        return self._number(MED, 0)

    @property
    def origin_code(self) -> int:
        return self._number(ORIGIN, 0)

    @property
    def originator_id(self) -> bytes:
        """ORIGINATOR_ID or, without it, the sender's BGP Identifier (RFC 4456 section 9)."""
        value = self.value(ORIGINATOR_ID)
        return self.origin.peer_router_id if value is None else value

    @property
    def cluster_count(self) -> int:
        return len(self.value(CLUSTER_LIST) or b"") // 4


# -- the checks of RFC 7606 section 7 ------------------------------------------------------------


def _exactly(octets: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) == octets


def _groups_of(octets: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) > 0 and len(value) % octets == 0


def _pmsi_tunnel(value: bytes) -> bool:
    """Flags, tunnel type, label (RFC 6514 section 5); type 255 is reserved (RFC 7385)."""
    return len(value) >= 5 and value[1] != 0xFF


#: TLV of PREFIX_SID -> fewest octets of its value (RFC 8669 section 3, RFC 9252 section 2).
_SID_OCTETS = {1: 7, 3: 8, 5: 4, 6: 4}


def _tlvs(type_octets: int, fewest: Mapping[int, int]) -> Callable[[bytes], bool]:
    """One or more TLVs with lengths of two octets that fill the value exactly.

    Some routers end the session over what is not (RFC 9012 section 13, RFC 8669 section 6).
    """

    def fits(value: bytes) -> bool:
        at = 0
        while at < len(value):
            start = at + type_octets + 2
            if start > len(value):
                return False
            kind = int.from_bytes(value[at : at + type_octets], "big")
            size = int.from_bytes(value[start - 2 : start], "big")
            if size < fewest.get(kind, 0):
                return False
            at = start + size
        return at == len(value) and at > 0

    return fits


@dataclass(frozen=True, slots=True)
class _Known:
    """What an attribute that we know must look like.

    ``flags``: the Optional and Transitive bits; ``fits``: whether a value has a legal length;
    ``discard``: a misfit costs the attribute, not the route; ``internal_only``: discarded when
    it comes from an external peer.
    """

    name: str
    flags: int
    fits: Callable[[bytes], bool]
    discard: bool = False
    internal_only: bool = False


_KNOWN: dict[int, _Known] = {
    ORIGIN: _Known("ORIGIN", WELL_KNOWN, lambda value: len(value) == 1 and value[0] <= 2),
    AS_PATH: _Known("AS_PATH", WELL_KNOWN, lambda _: True),
    NEXT_HOP: _Known("NEXT_HOP", WELL_KNOWN, _exactly(4)),
    MED: _Known("MULTI_EXIT_DISC", OPTIONAL, _exactly(4)),
    LOCAL_PREF: _Known("LOCAL_PREF", WELL_KNOWN, _exactly(4), internal_only=True),
    ATOMIC_AGGREGATE: _Known("ATOMIC_AGGREGATE", WELL_KNOWN, _exactly(0), discard=True),
    AGGREGATOR: _Known("AGGREGATOR", OPTIONAL_TRANSITIVE, lambda v: len(v) in (6, 8), discard=True),
    COMMUNITIES: _Known("COMMUNITIES", OPTIONAL_TRANSITIVE, _groups_of(4)),
    ORIGINATOR_ID: _Known("ORIGINATOR_ID", OPTIONAL, _exactly(4), internal_only=True),
    CLUSTER_LIST: _Known("CLUSTER_LIST", OPTIONAL, _groups_of(4), internal_only=True),
    EXTENDED_COMMUNITIES: _Known("EXTENDED COMMUNITIES", OPTIONAL_TRANSITIVE, _groups_of(8)),
    AS4_PATH: _Known("AS4_PATH", OPTIONAL_TRANSITIVE, lambda v: len(v) >= 6, discard=True),
    AS4_AGGREGATOR: _Known("AS4_AGGREGATOR", OPTIONAL_TRANSITIVE, _exactly(8), discard=True),
    PMSI_TUNNEL: _Known("PMSI_TUNNEL", OPTIONAL_TRANSITIVE, _pmsi_tunnel),
    TUNNEL_ENCAPSULATION: _Known(
        "TUNNEL_ENCAPSULATION", OPTIONAL_TRANSITIVE, _tlvs(2, {}), discard=True
    ),
    IPV6_EXTENDED_COMMUNITIES: _Known(
        "IPV6 EXTENDED COMMUNITIES", OPTIONAL_TRANSITIVE, _groups_of(20)
    ),
    LARGE_COMMUNITIES: _Known("LARGE_COMMUNITIES", OPTIONAL_TRANSITIVE, _groups_of(12)),
    ONLY_TO_CUSTOMER: _Known("ONLY_TO_CUSTOMER", OPTIONAL_TRANSITIVE, _exactly(4)),
    PREFIX_SID: _Known("PREFIX_SID", OPTIONAL_TRANSITIVE, _tlvs(1, _SID_OCTETS), discard=True),
}


#: Attributes checked by flags and length alone, and on whose value `parse` decides nothing else:
#: another value of the same length makes the same route with that value.
MERE_VALUES: Final = frozenset((MED, LOCAL_PREF, COMMUNITIES, LARGE_COMMUNITIES))


def is_route_target(community: bytes) -> bool:
    """Whether an extended community (8 octets) can make a VRF import a route.

    Types 0x00, 0x01 and 0x02 with sub-type 0x02 (RFC 4360 section 4, RFC 5668) and, on doubt,
    their non-transitive counterparts.
    """
    return community[1] == 0x02 and community[0] & 0xBF in (0, 1, 2)


_NO_TARGETS: frozenset[bytes] = frozenset()


def _split_communities(value: bytes) -> tuple[frozenset[bytes], bytes]:
    return _split_remembered(value) if len(value) <= LONGEST_REMEMBERED else _split(value)


def _split(value: bytes) -> tuple[frozenset[bytes], bytes]:
    communities = [value[at : at + 8] for at in range(0, len(value), 8)]
    return (
        frozenset(community for community in communities if is_route_target(community)),
        b"".join(community for community in communities if not is_route_target(community)),
    )


_split_remembered = lru_cache(_REMEMBERED)(_split)


def of_segment(attributes: Attributes) -> Attributes:
    """The same attributes on an EVPN Ethernet Segment route (RFC 7432 section 7.4).

    What says who imports it is the ES-Import route target; others mean nothing there.
    """
    value = attributes.communities
    parts = [value[at : at + 8] for at in range(0, len(value), 8)]
    return attributes._replace(
        targets=frozenset(part for part in parts if part.startswith(ES_IMPORT)),
        communities=b"".join(part for part in parts if not part.startswith(ES_IMPORT)),
    )


def with_kept(attributes: Attributes, at: int, octets: bytes) -> Attributes:
    """The same attributes with another one of `MERE_VALUES` at a place of ``kept``."""
    origin, kept, path, targets, communities, flags, loop, discarded = attributes
    kept = (*kept[:at], octets, *kept[at + 1 :])
    return Attributes(origin, kept, path, targets, communities, flags, loop, discarded)


def _without_ipv6_targets(value: bytes) -> bytes:
    """IPv6 address specific communities without route targets (sub-type 0x02, RFC 5701)."""
    parts = (value[at : at + 20] for at in range(0, len(value), 20))
    return b"".join(part for part in parts if part[1] != 0x02)


def _read(octets: bytes, external: bool, notes: list[str]) -> bytes:
    """Look at one attribute alone (RFC 7606 section 3 c and section 7): what is kept of it.

    The length was checked.  Nothing is kept of what is discarded, for a reason that is noted if
    it is worth telling; raises `TreatAsWithdrawError`.
    """
    flags, code = octets[0], octets[1]
    value = value_of(octets)
    known = _KNOWN.get(code)
    if known is None:
        if not flags & OPTIONAL:
            raise TreatAsWithdrawError(f"unrecognised well-known attribute {code}")
        return attribute(flags | PARTIAL, code, value) if flags & TRANSITIVE else b""
    if known.internal_only and external:
        notes.append(f"{known.name} from an external peer")
        return b""
    if flags & (OPTIONAL | TRANSITIVE) != known.flags:
        raise TreatAsWithdrawError(f"{known.name} with flags {flags:#04x}")
    if not known.fits(value):
        problem = f"{known.name} of {len(value)} octets"
        if code == ORIGIN and len(value) == 1:
            problem = f"ORIGIN {value[0]}"
        if not known.discard:
            raise TreatAsWithdrawError(problem)
        notes.append(problem)
        return b""
    if code == NEXT_HOP:
        return b""  # beside MP_REACH_NLRI it is ignored (RFC 4760 section 3)
    if code == IPV6_EXTENDED_COMMUNITIES:
        others = _without_ipv6_targets(value)
        return attribute(flags, code, others) if others else b""
    if not flags & ~_MEANINGFUL:
        return octets
    return attribute(flags, code, value)


#: What is kept of attributes that were in order, from internal and from external peers.
_IN_ORDER: tuple[dict[bytes, bytes], dict[bytes, bytes]] = {}, {}


def _pick(raw: Iterable[bytes], external: bool, notes: list[str]) -> dict[int, bytes]:
    """Those attributes that pass, by code; `TreatAsWithdrawError`."""
    kept: dict[int, bytes] = {}
    in_order = _IN_ORDER[external]
    for octets in raw:
        found = in_order.get(octets)
        if found is None:
            if octets[1] in kept:
                found = b""
            else:
                found = _read(octets, external, notes)
                # A MULTI_EXIT_DISC is seldom seen again.
                if found and octets[1] != MED and len(octets) <= LONGEST_REMEMBERED:
                    if len(in_order) >= _REMEMBERED:
                        in_order.clear()
                    in_order[octets] = found
        code = octets[1]
        if code in kept:
            # All but the first are discarded (RFC 7606 section 3 g).
            notes.append(f"a second attribute of type {code}")
        else:
            kept[code] = found
    if b"" in kept.values():
        return {code: octets for code, octets in kept.items() if octets}
    return kept


def _to_four_octets(kept: dict[int, bytes], notes: list[str]) -> AsPath:
    """Bring AS_PATH and AGGREGATOR of an old speaker to four octets (RFC 6793 section 4.2.3)."""
    segments = segments_of(value_of(kept[AS_PATH]), 2)
    as4_path = kept.pop(AS4_PATH, None)
    as4_aggregator = kept.pop(AS4_AGGREGATOR, None)
    aggregator = kept.get(AGGREGATOR)
    if aggregator is not None:
        value = value_of(aggregator)
        asn = int.from_bytes(value[:2], "big")
        value = asn.to_bytes(4, "big") + value[2:]
        if as4_aggregator is not None and asn == AS_TRANS:
            value = value_of(as4_aggregator)
        elif as4_aggregator is not None:
            # The aggregating router speaks two octets: both companions are stale.
            as4_path = None
        kept[AGGREGATOR] = attribute(aggregator[0], AGGREGATOR, value)
    if as4_path is not None:
        try:
            tail = [
                segment
                for segment in segments_of(value_of(as4_path), 4)
                if segment[0] in (AS_SET, AS_SEQUENCE)
            ]
        except MalformedAsPathError as error:
            notes.append(f"AS4_PATH: {error}")
        else:
            missing = length_of(segments) - length_of(tail)
            if missing >= 0:
                segments = leading(segments, missing) + tail
    octets = octets_of(segments, 4)
    kept[AS_PATH] = attribute(kept[AS_PATH][0], AS_PATH, octets)
    return as_path(segments, octets)


def _loop(kept: dict[int, bytes], path: AsPath, origin: Origin) -> str:
    """Why the route has been here before, or an empty string."""
    if origin.local_asn in path.numbers:
        return f"AS loop: our AS {origin.local_asn} is in the AS_PATH"
    if ORIGINATOR_ID in kept and value_of(kept[ORIGINATOR_ID]) == origin.router_id:
        return "reflection loop: ORIGINATOR_ID is our router id"
    if CLUSTER_LIST in kept:
        value = value_of(kept[CLUSTER_LIST])
        if origin.router_id in (value[at : at + 4] for at in range(0, len(value), 4)):
            return "reflection loop: our cluster id is in the CLUSTER_LIST"
    return ""


def parse(raw: Sequence[bytes], origin: Origin) -> Attributes:
    """Check the path attributes of an UPDATE that announces.

    ``raw``: one attribute each, cut where its length says, without MP_REACH_NLRI and
    MP_UNREACH_NLRI.  Raises `TreatAsWithdrawError`.
    """
    notes: list[str] = []
    kept = _pick(raw, origin.external, notes)
    if ORIGIN not in kept or AS_PATH not in kept:
        missing = ORIGIN if ORIGIN not in kept else AS_PATH
        raise TreatAsWithdrawError(f"{_KNOWN[missing].name} is missing")
    if AGGREGATOR in kept:
        size = len(value_of(kept[AGGREGATOR]))
        if size != (8 if origin.asn4 else 6):
            notes.append(f"AGGREGATOR of {size} octets")
            del kept[AGGREGATOR]
    try:
        if origin.asn4:
            kept.pop(AS4_PATH, None)
            kept.pop(AS4_AGGREGATOR, None)
            path = four_octet_path(value_of(kept[AS_PATH]))
        else:
            path = _to_four_octets(kept, notes)
    except MalformedAsPathError as error:
        raise TreatAsWithdrawError(str(error)) from error
    if path.confederation and origin.external:
        # RFC 5065 section 5; we are in no confederation.
        raise TreatAsWithdrawError("AS_PATH with a confederation's segments")
    communities = kept.pop(EXTENDED_COMMUNITIES, None)
    if communities is None:
        targets, others, flags = _NO_TARGETS, b"", OPTIONAL_TRANSITIVE
    else:
        targets, others = _split_communities(value_of(communities))
        flags = communities[0] & _MEANINGFUL
    codes = list(kept)
    ascending = sorted(codes)
    if codes != ascending:
        kept = {code: kept[code] for code in ascending}
    loop = _loop(kept, path, origin)
    return Attributes(
        origin, tuple(kept.values()), path, targets, others, flags, loop, tuple(notes)
    )


def check(raw: Sequence[bytes], origin: Origin) -> None:
    """Check attributes that announce nothing, and so may be incomplete.

    Raises `TreatAsWithdrawError`.
    """
    kept = _pick(raw, origin.external, [])
    if AS_PATH in kept:
        try:
            segments_of(value_of(kept[AS_PATH]), 4 if origin.asn4 else 2)
        except MalformedAsPathError as error:
            raise TreatAsWithdrawError(str(error)) from error
