"""Path attributes: checked as RFC 7606 says, kept as received, written for each kind of peer.

`parse` takes the attributes of one UPDATE without MP_REACH_NLRI and MP_UNREACH_NLRI and gives an
`Attributes` value or raises `TreatAsWithdrawError`.  `Rendering` is the way back: the octets to
send to one kind of peer, open at the place where that peer's route targets go.

What is changed on the way, and nothing else:

- extended communities: route targets are taken out and the rewritten ones put in; of IPv6 address
  specific ones (RFC 5701) route targets are taken out; to an external peer non-transitive ones
  are taken out (RFC 4360 section 6);
- to an internal peer: LOCAL_PREF is added where there is none, a reflected route gets
  ORIGINATOR_ID and CLUSTER_LIST (RFC 4456 section 8);
- to an external peer: our AS is prepended, LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST stay at
  home, MED goes no further than the next AS (RFC 4271 section 5.1.4);
- to and from a speaker of two-octet AS numbers: AS_PATH, AGGREGATOR and their AS4 companions
  (RFC 6793);
- unknown attributes: transitive ones pass with the Partial bit, others do not pass.

Routes differ in few attributes and share the others, so each attribute is checked on its own and
the verdict on its octets remembered: a million routes have a few dozen AS_PATHs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

OPTIONAL, TRANSITIVE, PARTIAL, EXTENDED_LENGTH = 0x80, 0x40, 0x20, 0x10
_MEANINGFUL = OPTIONAL | TRANSITIVE | PARTIAL

ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF = 1, 2, 3, 4, 5
ATOMIC_AGGREGATE, AGGREGATOR, COMMUNITIES = 6, 7, 8
ORIGINATOR_ID, CLUSTER_LIST, MP_REACH_NLRI, MP_UNREACH_NLRI = 9, 10, 14, 15
EXTENDED_COMMUNITIES, AS4_PATH, AS4_AGGREGATOR = 16, 17, 18
PMSI_TUNNEL, TUNNEL_ENCAPSULATION, IPV6_EXTENDED_COMMUNITIES = 22, 23, 25
LARGE_COMMUNITIES, PREFIX_SID = 32, 40

AS_TRANS: Final = 23456
_AS_SET, _AS_SEQUENCE, _CONFED_SEQUENCE, _CONFED_SET = 1, 2, 3, 4
_DEFAULT_LOCAL_PREF: Final = 100

#: Attributes, AS_PATHs and lists of communities whose reading is remembered.
_REMEMBERED: Final = 4096


class TreatAsWithdrawError(Exception):
    """The routes of this UPDATE are to be taken as withdrawn (RFC 7606 section 2)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """From whom attributes were heard, as far as their meaning depends on it.

    ``local_asn`` and ``router_id`` are ours; ``peer_router_id`` is the sender's BGP Identifier.
    """

    external: bool
    asn4: bool
    local_asn: int
    router_id: bytes
    peer_router_id: bytes


class Attribute(NamedTuple):
    """One path attribute: ``octets`` as sent, its ``value`` within them; ``flags`` without
    Extended Length, which follows from the length."""

    code: int
    flags: int
    value: bytes
    octets: bytes


def attribute(flags: int, code: int, value: bytes) -> Attribute:
    """An attribute of our making; one length octet where it fits."""
    size = len(value)
    if size > 255:
        octets = bytes((flags | EXTENDED_LENGTH, code)) + size.to_bytes(2, "big") + value
    else:
        octets = bytes((flags, code, size)) + value
    return Attribute(code, flags, value, octets)


# -- AS_PATH (RFC 4271 section 4.3, RFC 5065, RFC 6793) ----------------------------------------

_Segments = list[tuple[int, list[int]]]


def _segments(value: bytes, width: int) -> _Segments:
    """AS_PATH segments with AS numbers of ``width`` octets; `TreatAsWithdrawError` if malformed."""
    found = []
    at = 0
    while at < len(value):
        if at + 2 > len(value):
            raise TreatAsWithdrawError("AS_PATH ends within a segment header")
        kind, count = value[at], value[at + 1]
        stop = at + 2 + count * width
        if kind not in (_AS_SET, _AS_SEQUENCE, _CONFED_SEQUENCE, _CONFED_SET):
            raise TreatAsWithdrawError(f"AS_PATH segment of unknown type {kind}")
        if count == 0 or stop > len(value):
            raise TreatAsWithdrawError("AS_PATH segment of impossible length")
        numbers = [int.from_bytes(value[i : i + width], "big") for i in range(at + 2, stop, width)]
        if 0 in numbers:
            raise TreatAsWithdrawError("AS_PATH with AS 0")  # RFC 7607 section 2
        found.append((kind, numbers))
        at = stop
    return found


def _path_octets(segments: _Segments, width: int) -> bytes:
    limit = 1 << (8 * width)
    return b"".join(
        bytes((kind, len(numbers)))
        + b"".join(
            (number if number < limit else AS_TRANS).to_bytes(width, "big") for number in numbers
        )
        for kind, numbers in segments
    )


def _length(segments: _Segments) -> int:
    """Path length for the decision process: a set counts one, confederations nothing."""
    return sum(
        1 if kind == _AS_SET else len(numbers)
        for kind, numbers in segments
        if kind in (_AS_SET, _AS_SEQUENCE)
    )


class AsPath(NamedTuple):
    """An AS_PATH in four octets per number and what decisions need of it.

    ``first``: the neighbouring AS, 0 if there is none (RFC 4271 section 9.1.2.2).
    """

    octets: bytes
    length: int
    first: int
    numbers: frozenset[int]
    confederation: bool


def _as_path(segments: _Segments, octets: bytes) -> AsPath:
    return AsPath(
        octets=octets,
        length=_length(segments),
        first=segments[0][1][0] if segments and segments[0][0] == _AS_SEQUENCE else 0,
        numbers=frozenset(number for _, numbers in segments for number in numbers),
        confederation=any(kind in (_CONFED_SEQUENCE, _CONFED_SET) for kind, _ in segments),
    )


@lru_cache(_REMEMBERED)
def _four_octet_path(value: bytes) -> AsPath:
    return _as_path(_segments(value, 4), value)


@lru_cache(_REMEMBERED)
def _prepended(path: bytes, asn: int) -> Attribute:
    """AS_PATH (four octets per number) with ``asn`` in front (RFC 4271 section 5.1.2)."""
    octets = asn.to_bytes(4, "big")
    if path and path[0] == _AS_SEQUENCE and path[1] < 255:
        value = bytes((_AS_SEQUENCE, path[1] + 1)) + octets + path[2:]
    else:
        value = bytes((_AS_SEQUENCE, 1)) + octets + path
    return attribute(_WELL_KNOWN, AS_PATH, value)


def path_text(path: bytes) -> str:
    """A four-octet AS_PATH as operators read it: ``65001 65002 {65003,65004}``."""
    words = []
    for kind, numbers in _segments(path, 4):
        text = ("," if kind in (_AS_SET, _CONFED_SET) else " ").join(map(str, numbers))
        words.append(
            {_AS_SET: "{%s}", _CONFED_SEQUENCE: "(%s)", _CONFED_SET: "[%s]"}.get(kind, "%s") % text
        )
    return " ".join(words)


# -- what is known of a route ---------------------------------------------------------------------


class Attributes(NamedTuple):
    """The path attributes of a route, checked; AS numbers in four octets.

    ``kept``: those that pass, ascending by code, without the extended communities, which are
    split into ``targets`` and ``communities`` (the others, in order; ``communities_flags`` are
    the attribute's).  ``loop`` says why the route must not be used, if so.  ``discarded`` names
    what was taken out (RFC 7606 attribute discard).
    """

    origin: Origin
    kept: tuple[Attribute, ...]
    path: AsPath
    targets: frozenset[bytes]
    communities: bytes
    communities_flags: int
    loop: str
    discarded: tuple[str, ...]

    def value(self, code: int) -> bytes | None:
        """The value of an attribute, None where the route has none of that code."""
        for found in self.kept:
            if found.code == code:
                return found.value
        return None

    def _number(self, code: int, default: int) -> int:
        value = self.value(code)
        return default if value is None else int.from_bytes(value, "big")

    @property
    def as_path(self) -> bytes:
        """AS_PATH in four octets per number; `path_text` writes it."""
        return self.path.octets

    @property
    def as_path_length(self) -> int:
        return self.path.length

    @property
    def neighbor_as(self) -> int:
        return self.path.first

    @property
    def local_pref(self) -> int:
        return self._number(LOCAL_PREF, _DEFAULT_LOCAL_PREF)

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


_WELL_KNOWN, _OPT_TRANS, _OPT_NON = TRANSITIVE, OPTIONAL | TRANSITIVE, OPTIONAL

_KNOWN: dict[int, _Known] = {
    ORIGIN: _Known("ORIGIN", _WELL_KNOWN, lambda value: len(value) == 1 and value[0] <= 2),
    AS_PATH: _Known("AS_PATH", _WELL_KNOWN, lambda _: True),
    NEXT_HOP: _Known("NEXT_HOP", _WELL_KNOWN, _exactly(4)),
    MED: _Known("MULTI_EXIT_DISC", _OPT_NON, _exactly(4)),
    LOCAL_PREF: _Known("LOCAL_PREF", _WELL_KNOWN, _exactly(4), internal_only=True),
    ATOMIC_AGGREGATE: _Known("ATOMIC_AGGREGATE", _WELL_KNOWN, _exactly(0), discard=True),
    AGGREGATOR: _Known("AGGREGATOR", _OPT_TRANS, lambda v: len(v) in (6, 8), discard=True),
    COMMUNITIES: _Known("COMMUNITIES", _OPT_TRANS, _groups_of(4)),
    ORIGINATOR_ID: _Known("ORIGINATOR_ID", _OPT_NON, _exactly(4), internal_only=True),
    CLUSTER_LIST: _Known("CLUSTER_LIST", _OPT_NON, _groups_of(4), internal_only=True),
    EXTENDED_COMMUNITIES: _Known("EXTENDED COMMUNITIES", _OPT_TRANS, _groups_of(8)),
    AS4_PATH: _Known("AS4_PATH", _OPT_TRANS, lambda v: len(v) >= 6, discard=True),
    AS4_AGGREGATOR: _Known("AS4_AGGREGATOR", _OPT_TRANS, _exactly(8), discard=True),
    PMSI_TUNNEL: _Known("PMSI_TUNNEL", _OPT_TRANS, lambda value: len(value) >= 5),
    TUNNEL_ENCAPSULATION: _Known("TUNNEL_ENCAPSULATION", _OPT_TRANS, lambda _: True),
    IPV6_EXTENDED_COMMUNITIES: _Known("IPV6 EXTENDED COMMUNITIES", _OPT_TRANS, _groups_of(20)),
    LARGE_COMMUNITIES: _Known("LARGE_COMMUNITIES", _OPT_TRANS, _groups_of(12)),
    PREFIX_SID: _Known("PREFIX_SID", _OPT_TRANS, lambda value: len(value) >= 3, discard=True),
}


def is_route_target(community: bytes) -> bool:
    """Whether an extended community (8 octets) can make a VRF import a route.

    Types 0x00, 0x01 and 0x02 with sub-type 0x02 (RFC 4360 section 4, RFC 5668) and, on doubt,
    their non-transitive counterparts.
    """
    return community[1] == 0x02 and community[0] & 0xBF in (0, 1, 2)


_NO_TARGETS: frozenset[bytes] = frozenset()


@lru_cache(_REMEMBERED)
def _split_communities(value: bytes) -> tuple[frozenset[bytes], bytes]:
    targets = set()
    others = b""
    for at in range(0, len(value), 8):
        community = value[at : at + 8]
        if is_route_target(community):
            targets.add(community)
        else:
            others += community
    return frozenset(targets), others


def _without_ipv6_targets(value: bytes) -> bytes:
    """IPv6 address specific communities without route targets (sub-type 0x02, RFC 5701)."""
    parts = (value[at : at + 20] for at in range(0, len(value), 20))
    return b"".join(part for part in parts if part[1] != 0x02)


class _Reading(NamedTuple):
    """What one attribute comes to, looked at alone.

    ``kept``: the attribute, if it passes; ``note``: why it was discarded, if that is worth
    telling; ``withdraw``: why the routes count as withdrawn.
    """

    code: int
    kept: Attribute | None
    note: str = ""
    withdraw: str = ""


@lru_cache(_REMEMBERED)
def _read(octets: bytes, external: bool) -> _Reading:
    """Look at one attribute (RFC 7606 section 3 c and section 7); the length was checked."""
    flags, code = octets[0], octets[1]
    value = octets[4:] if flags & EXTENDED_LENGTH else octets[3:]
    known = _KNOWN.get(code)
    if known is None:
        if not flags & OPTIONAL:
            return _Reading(code, None, withdraw=f"unrecognised well-known attribute {code}")
        if flags & TRANSITIVE:
            return _Reading(code, attribute(flags & _MEANINGFUL | PARTIAL, code, value))
        return _Reading(code, None)
    if known.internal_only and external:
        return _Reading(code, None, note=f"{known.name} from an external peer")
    if flags & (OPTIONAL | TRANSITIVE) != known.flags:
        return _Reading(code, None, withdraw=f"{known.name} with flags {flags:#04x}")
    if not known.fits(value):
        problem = f"{known.name} of {len(value)} octets"
        if code == ORIGIN and len(value) == 1:
            problem = f"ORIGIN {value[0]}"
        if known.discard:
            return _Reading(code, None, note=problem)
        return _Reading(code, None, withdraw=problem)
    if code == NEXT_HOP:
        return _Reading(code, None)  # beside MP_REACH_NLRI it is ignored (RFC 4760 section 3)
    if code == IPV6_EXTENDED_COMMUNITIES:
        value = _without_ipv6_targets(value)
        if not value:
            return _Reading(code, None)
    return _Reading(code, attribute(flags & _MEANINGFUL, code, value))


def _pick(raw: Iterable[bytes], external: bool, notes: list[str]) -> dict[int, Attribute]:
    """Those attributes that pass, by code; `TreatAsWithdrawError`."""
    kept: dict[int, Attribute] = {}
    dropped: set[int] = set()
    for octets in raw:
        code, found, note, withdraw = _read(octets, external)
        if code in kept or code in dropped:
            # All but the first are discarded (RFC 7606 section 3 g).
            notes.append(f"a second attribute of type {code}")
        elif found is not None:
            kept[code] = found
        elif withdraw:
            raise TreatAsWithdrawError(withdraw)
        else:
            dropped.add(code)
            if note:
                notes.append(note)
    return kept


def _to_four_octets(kept: dict[int, Attribute], notes: list[str]) -> AsPath:
    """Bring AS_PATH and AGGREGATOR of an old speaker to four octets (RFC 6793 section 4.2.3)."""
    segments = _segments(kept[AS_PATH].value, 2)
    as4_path = kept.pop(AS4_PATH, None)
    as4_aggregator = kept.pop(AS4_AGGREGATOR, None)
    aggregator = kept.get(AGGREGATOR)
    if aggregator is not None:
        asn = int.from_bytes(aggregator.value[:2], "big")
        value = asn.to_bytes(4, "big") + aggregator.value[2:]
        if as4_aggregator is not None and asn == AS_TRANS:
            value = as4_aggregator.value
        elif as4_aggregator is not None:
            # The aggregating router speaks two octets: both companions are stale.
            as4_path = None
        kept[AGGREGATOR] = attribute(aggregator.flags, AGGREGATOR, value)
    if as4_path is not None:
        try:
            tail = [
                segment
                for segment in _segments(as4_path.value, 4)
                if segment[0] in (_AS_SET, _AS_SEQUENCE)
            ]
        except TreatAsWithdrawError as error:
            notes.append(f"AS4_PATH: {error}")
        else:
            missing = _length(segments) - _length(tail)
            if missing >= 0:
                segments = _leading(segments, missing) + tail
    octets = _path_octets(segments, 4)
    kept[AS_PATH] = attribute(kept[AS_PATH].flags, AS_PATH, octets)
    return _as_path(segments, octets)


def _leading(segments: _Segments, count: int) -> _Segments:
    """The first segments, cut so that they add up to a path length of ``count``."""
    found = []
    for kind, numbers in segments:
        if kind == _AS_SEQUENCE and count < len(numbers):
            if count > 0:
                found.append((kind, numbers[:count]))
            break
        if kind == _AS_SET and count < 1:
            break
        found.append((kind, numbers))
        count -= _length([(kind, numbers)])
    return found


def _loop(kept: dict[int, Attribute], path: AsPath, origin: Origin) -> str:
    """Why the route has been here before, or an empty string."""
    if origin.local_asn in path.numbers:
        return f"AS loop: our AS {origin.local_asn} is in the AS_PATH"
    originator = kept.get(ORIGINATOR_ID)
    if originator is not None and originator.value == origin.router_id:
        return "reflection loop: ORIGINATOR_ID is our router id"
    clusters = kept.get(CLUSTER_LIST)
    if clusters is not None:
        value = clusters.value
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
    aggregator = kept.get(AGGREGATOR)
    if aggregator is not None and len(aggregator.value) != (8 if origin.asn4 else 6):
        notes.append(f"AGGREGATOR of {len(aggregator.value)} octets")
        del kept[AGGREGATOR]
    if origin.asn4:
        kept.pop(AS4_PATH, None)
        kept.pop(AS4_AGGREGATOR, None)
        path = _four_octet_path(kept[AS_PATH].value)
    else:
        path = _to_four_octets(kept, notes)
    if path.confederation and origin.external:
        # RFC 5065 section 5; we are in no confederation.
        raise TreatAsWithdrawError("AS_PATH with a confederation's segments")
    communities = kept.pop(EXTENDED_COMMUNITIES, None)
    if communities is None:
        targets, others, flags = _NO_TARGETS, b"", _OPT_TRANS
    else:
        targets, others = _split_communities(communities.value)
        flags = communities.flags
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
        _segments(kept[AS_PATH].value, 4 if origin.asn4 else 2)


# -- the way out ----------------------------------------------------------------------------------


class Kind(NamedTuple):
    """What kind of peer UPDATEs are written for; ``message_size``: the most octets of one."""

    external: bool
    asn4: bool
    message_size: int


class Rendering(NamedTuple):
    """Attributes for one kind of peer, before and after its extended communities."""

    before: bytes
    communities: bytes
    communities_flags: int
    after: bytes

    def around(self, target_octets: int) -> tuple[bytes, bytes]:
        """What comes before and after so many octets of route targets, which stand in front of
        the other extended communities."""
        size = target_octets + len(self.communities)
        flags = self.communities_flags
        if size > 255:
            head = bytes((flags | EXTENDED_LENGTH, EXTENDED_COMMUNITIES, size >> 8, size & 255))
        else:
            head = bytes((flags, EXTENDED_COMMUNITIES, size))
        return self.before + head, self.communities + self.after


def _transitive_only(communities: bytes) -> bytes:
    parts = (communities[at : at + 8] for at in range(0, len(communities), 8))
    return b"".join(part for part in parts if not part[0] & 0x40)


def _for_external(attributes: Attributes, values: dict[int, Attribute]) -> None:
    origin = attributes.origin
    for code in (LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST):
        values.pop(code, None)
    if origin.external or attributes.path.length:
        values.pop(MED, None)
    values[AS_PATH] = _prepended(attributes.path.octets, origin.local_asn)


def _for_internal(attributes: Attributes, values: dict[int, Attribute]) -> None:
    origin = attributes.origin
    if LOCAL_PREF not in values:
        values[LOCAL_PREF] = attribute(
            _WELL_KNOWN, LOCAL_PREF, _DEFAULT_LOCAL_PREF.to_bytes(4, "big")
        )
    if origin.external:
        return
    if ORIGINATOR_ID not in values:
        values[ORIGINATOR_ID] = _originator(origin.peer_router_id)
    before = values.get(CLUSTER_LIST)
    values[CLUSTER_LIST] = _clusters(origin.router_id, before.value if before else b"")


@lru_cache(_REMEMBERED)
def _originator(router_id: bytes) -> Attribute:
    return attribute(_OPT_NON, ORIGINATOR_ID, router_id)


@lru_cache(_REMEMBERED)
def _clusters(router_id: bytes, before: bytes) -> Attribute:
    return attribute(_OPT_NON, CLUSTER_LIST, router_id + before)


def _to_two_octets(values: dict[int, Attribute]) -> None:
    """Write AS_PATH and AGGREGATOR for an old speaker (RFC 6793 section 4.2.2)."""
    path = values[AS_PATH]
    segments = _segments(path.value, 4)
    values[AS_PATH] = attribute(path.flags, AS_PATH, _path_octets(segments, 2))
    if any(number > 0xFFFF for _, numbers in segments for number in numbers):
        plain = [segment for segment in segments if segment[0] in (_AS_SET, _AS_SEQUENCE)]
        values[AS4_PATH] = attribute(_OPT_TRANS, AS4_PATH, _path_octets(plain, 4))
    aggregator = values.get(AGGREGATOR)
    if aggregator is not None:
        flags, value = aggregator.flags, aggregator.value
        asn = int.from_bytes(value[:4], "big")
        if asn > 0xFFFF:
            values[AS4_AGGREGATOR] = attribute(_OPT_TRANS, AS4_AGGREGATOR, value)
            asn = AS_TRANS
        values[AGGREGATOR] = attribute(flags, AGGREGATOR, asn.to_bytes(2, "big") + value[4:])


def render(attributes: Attributes, kind: Kind) -> Rendering:
    """The attributes as one kind of peer gets them."""
    values = {each.code: each for each in attributes.kept}
    communities = attributes.communities
    if kind.external:
        _for_external(attributes, values)
        if communities:
            communities = _transitive_only(communities)
    else:
        _for_internal(attributes, values)
    if not kind.asn4:
        _to_two_octets(values)
    codes = sorted(values)
    return Rendering(
        b"".join([values[code].octets for code in codes if code < EXTENDED_COMMUNITIES]),
        communities,
        attributes.communities_flags,
        b"".join([values[code].octets for code in codes if code > EXTENDED_COMMUNITIES]),
    )
