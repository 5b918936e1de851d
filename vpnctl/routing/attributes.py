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
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

OPTIONAL, TRANSITIVE, PARTIAL, EXTENDED_LENGTH = 0x80, 0x40, 0x20, 0x10

ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF = 1, 2, 3, 4, 5
ATOMIC_AGGREGATE, AGGREGATOR, COMMUNITIES = 6, 7, 8
ORIGINATOR_ID, CLUSTER_LIST, MP_REACH_NLRI, MP_UNREACH_NLRI = 9, 10, 14, 15
EXTENDED_COMMUNITIES, AS4_PATH, AS4_AGGREGATOR = 16, 17, 18
PMSI_TUNNEL, TUNNEL_ENCAPSULATION, IPV6_EXTENDED_COMMUNITIES = 22, 23, 25
LARGE_COMMUNITIES, PREFIX_SID = 32, 40

AS_TRANS: Final = 23456
_AS_SET, _AS_SEQUENCE, _CONFED_SEQUENCE, _CONFED_SET = 1, 2, 3, 4
_DEFAULT_LOCAL_PREF: Final = 100


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


@dataclass(frozen=True, slots=True)
class Attributes:
    """The path attributes of a route, checked; AS numbers in four octets.

    ``values``: type code -> (flags, value), ascending, without ORIGIN's companions MP_REACH_NLRI
    and MP_UNREACH_NLRI and without extended communities, which are split into ``targets`` and
    ``communities`` (the others, in order).  ``loop`` says why the route must not be used, if so.
    ``discarded`` names what was taken out (RFC 7606 attribute discard).
    """

    origin: Origin
    values: dict[int, tuple[int, bytes]]
    targets: frozenset[bytes]
    communities: bytes
    loop: str
    discarded: tuple[str, ...]
    local_pref: int
    as_path_length: int
    origin_code: int
    med: int
    neighbor_as: int
    originator_id: bytes
    cluster_count: int
    as_path: bytes = field(repr=False)


# -- AS_PATH (RFC 4271 section 4.3, RFC 5065, RFC 6793) ----------------------------------------


def _segments(value: bytes, width: int) -> list[tuple[int, list[int]]]:
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


def _path_octets(segments: list[tuple[int, list[int]]], width: int) -> bytes:
    limit = 1 << (8 * width)
    return b"".join(
        bytes((kind, len(numbers)))
        + b"".join(
            (number if number < limit else AS_TRANS).to_bytes(width, "big") for number in numbers
        )
        for kind, numbers in segments
    )


def _length(segments: list[tuple[int, list[int]]]) -> int:
    """Path length for the decision process: a set counts one, confederations nothing."""
    return sum(
        1 if kind == _AS_SET else len(numbers)
        for kind, numbers in segments
        if kind in (_AS_SET, _AS_SEQUENCE)
    )


def _prepend(path: bytes, asn: int) -> bytes:
    """Four-octet AS_PATH with ``asn`` in front (RFC 4271 section 5.1.2)."""
    octets = asn.to_bytes(4, "big")
    if path and path[0] == _AS_SEQUENCE and path[1] < 255:
        return bytes((_AS_SEQUENCE, path[1] + 1)) + octets + path[2:]
    return bytes((_AS_SEQUENCE, 1)) + octets + path


def path_text(path: bytes) -> str:
    """A four-octet AS_PATH as operators read it: ``65001 65002 {65003,65004}``."""
    words = []
    for kind, numbers in _segments(path, 4):
        text = ("," if kind in (_AS_SET, _CONFED_SET) else " ").join(map(str, numbers))
        words.append(
            {_AS_SET: "{%s}", _CONFED_SEQUENCE: "(%s)", _CONFED_SET: "[%s]"}.get(kind, "%s") % text
        )
    return " ".join(words)


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
    IPV6_EXTENDED_COMMUNITIES: _Known(
        "IPV6 EXTENDED COMMUNITIES", _OPT_TRANS, _groups_of(20), discard=True
    ),
    LARGE_COMMUNITIES: _Known("LARGE_COMMUNITIES", _OPT_TRANS, _groups_of(12)),
    PREFIX_SID: _Known("PREFIX_SID", _OPT_TRANS, lambda value: len(value) >= 3, discard=True),
}


def is_route_target(community: bytes) -> bool:
    """Whether an extended community (8 octets) can make a VRF import a route.

    Types 0x00, 0x01 and 0x02 with sub-type 0x02 (RFC 4360 section 4, RFC 5668) and, on doubt,
    their non-transitive counterparts.
    """
    return community[1] == 0x02 and community[0] & 0xBF in (0, 1, 2)


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


def _read(raw: bytes, origin: Origin, notes: list[str]) -> dict[int, tuple[int, bytes]]:
    """Attributes by type code after the checks that concern one attribute alone."""
    values: dict[int, tuple[int, bytes]] = {}
    at, end = 0, len(raw)
    while at < end:
        flags, code = raw[at], raw[at + 1]
        if flags & EXTENDED_LENGTH:
            start, size = at + 4, int.from_bytes(raw[at + 2 : at + 4], "big")
        else:
            start, size = at + 3, raw[at + 2]
        at = start + size
        value = raw[start:at]
        if code in values:
            notes.append(f"a second attribute of type {code}")
            continue
        known = _KNOWN.get(code)
        if known is None:
            if not flags & OPTIONAL:
                raise TreatAsWithdrawError(f"unrecognised well-known attribute {code}")
            if flags & TRANSITIVE:
                values[code] = flags | PARTIAL, value
            continue
        if known.internal_only and origin.external:
            notes.append(f"{known.name} from an external peer")
            continue
        if flags & (OPTIONAL | TRANSITIVE) != known.flags:
            raise TreatAsWithdrawError(f"{known.name} with flags {flags:#04x}")
        if not known.fits(value):
            if not known.discard:
                raise TreatAsWithdrawError(f"{known.name} of {len(value)} octets")
            notes.append(f"{known.name} of {len(value)} octets")
            continue
        values[code] = flags, value
    return values


def _to_four_octets(
    values: dict[int, tuple[int, bytes]], origin: Origin, notes: list[str]
) -> list[tuple[int, list[int]]]:
    """Bring AS_PATH and AGGREGATOR to four-octet AS numbers (RFC 6793 section 4.2.3)."""
    path_flags, path = values[AS_PATH]
    segments = _segments(path, 4 if origin.asn4 else 2)
    as4_path = values.pop(AS4_PATH, None)
    as4_aggregator = values.pop(AS4_AGGREGATOR, None)
    aggregator = values.get(AGGREGATOR)
    if aggregator is not None and len(aggregator[1]) != (8 if origin.asn4 else 6):
        notes.append(f"AGGREGATOR of {len(aggregator[1])} octets")
        del values[AGGREGATOR]
        aggregator = None
    if origin.asn4:
        return segments
    if aggregator is not None:
        flags, value = aggregator
        asn = int.from_bytes(value[:2], "big")
        if as4_aggregator is not None and asn != AS_TRANS:
            # The aggregating router speaks two octets: both companions are stale.
            as4_path = None
        if as4_aggregator is not None and asn == AS_TRANS:
            values[AGGREGATOR] = flags, as4_aggregator[1]
        else:
            values[AGGREGATOR] = flags, asn.to_bytes(4, "big") + value[2:]
    if as4_path is not None:
        try:
            tail = [
                segment
                for segment in _segments(as4_path[1], 4)
                if segment[0] in (_AS_SET, _AS_SEQUENCE)
            ]
        except TreatAsWithdrawError as error:
            notes.append(f"AS4_PATH: {error}")
        else:
            missing = _length(segments) - _length(tail)
            if missing >= 0:
                segments = _leading(segments, missing) + tail
    values[AS_PATH] = path_flags, _path_octets(segments, 4)
    return segments


def _leading(segments: list[tuple[int, list[int]]], count: int) -> list[tuple[int, list[int]]]:
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


def _loop(
    values: dict[int, tuple[int, bytes]], segments: list[tuple[int, list[int]]], origin: Origin
) -> str:
    """Why the route has been here before, or an empty string."""
    if any(origin.local_asn in numbers for _, numbers in segments):
        return f"AS loop: our AS {origin.local_asn} is in the AS_PATH"
    if values.get(ORIGINATOR_ID, (0, b""))[1] == origin.router_id:
        return "reflection loop: ORIGINATOR_ID is our router id"
    clusters = values.get(CLUSTER_LIST, (0, b""))[1]
    if origin.router_id in (clusters[at : at + 4] for at in range(0, len(clusters), 4)):
        return "reflection loop: our cluster id is in the CLUSTER_LIST"
    return ""


def parse(raw: bytes, origin: Origin) -> Attributes:
    """Check and take apart the path attributes of an UPDATE.

    ``raw``: the attributes one after the other, cut where their lengths say, without
    MP_REACH_NLRI and MP_UNREACH_NLRI.  Raises `TreatAsWithdrawError`.
    """
    notes: list[str] = []
    values = _read(raw, origin, notes)
    for code in (ORIGIN, AS_PATH):
        if code not in values:
            raise TreatAsWithdrawError(f"{_KNOWN[code].name} is missing")
    # NEXT_HOP beside MP_REACH_NLRI is ignored (RFC 4760 section 3).
    values.pop(NEXT_HOP, None)
    segments = _to_four_octets(values, origin, notes)
    targets, communities = _split_communities(values.pop(EXTENDED_COMMUNITIES, (0, b""))[1])
    if IPV6_EXTENDED_COMMUNITIES in values:
        flags, value = values.pop(IPV6_EXTENDED_COMMUNITIES)
        if kept := _without_ipv6_targets(value):
            values[IPV6_EXTENDED_COMMUNITIES] = flags, kept
    first = segments[0][1][0] if segments and segments[0][0] == _AS_SEQUENCE else 0
    local_pref = values.get(LOCAL_PREF)
    return Attributes(
        origin=origin,
        values=dict(sorted(values.items())),
        targets=targets,
        communities=communities,
        loop=_loop(values, segments, origin),
        discarded=tuple(notes),
        local_pref=int.from_bytes(local_pref[1], "big") if local_pref else _DEFAULT_LOCAL_PREF,
        as_path_length=_length(segments),
        origin_code=values[ORIGIN][1][0],
        med=int.from_bytes(values[MED][1], "big") if MED in values else 0,
        neighbor_as=first,
        originator_id=values.get(ORIGINATOR_ID, (0, origin.peer_router_id))[1],
        cluster_count=len(values.get(CLUSTER_LIST, (0, b""))[1]) // 4,
        as_path=values[AS_PATH][1],
    )


# -- the way out ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """What kind of peer attributes are written for."""

    external: bool
    asn4: bool


@dataclass(frozen=True, slots=True)
class Rendering:
    """Attributes for one kind of peer, before and after its extended communities."""

    before: bytes
    communities: bytes
    after: bytes

    def with_targets(self, targets: tuple[bytes, ...]) -> bytes:
        """The path attributes to send, the route targets in front of the other communities."""
        value = b"".join(targets) + self.communities
        return self.before + _attribute(_OPT_TRANS, EXTENDED_COMMUNITIES, value) + self.after


def _attribute(flags: int, code: int, value: bytes) -> bytes:
    if len(value) > 255:
        return (
            bytes((flags & ~EXTENDED_LENGTH | EXTENDED_LENGTH, code))
            + len(value).to_bytes(2, "big")
            + value
        )
    return bytes((flags & ~EXTENDED_LENGTH, code, len(value))) + value


def _transitive_only(communities: bytes) -> bytes:
    parts = (communities[at : at + 8] for at in range(0, len(communities), 8))
    return b"".join(part for part in parts if not part[0] & 0x40)


def _for_external(attributes: Attributes, values: dict[int, tuple[int, bytes]]) -> None:
    origin = attributes.origin
    for code in (LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST):
        values.pop(code, None)
    if origin.external or attributes.as_path_length:
        values.pop(MED, None)
    flags, path = values[AS_PATH]
    values[AS_PATH] = flags, _prepend(path, origin.local_asn)


def _for_internal(attributes: Attributes, values: dict[int, tuple[int, bytes]]) -> None:
    origin = attributes.origin
    if LOCAL_PREF not in values:
        values[LOCAL_PREF] = _WELL_KNOWN, _DEFAULT_LOCAL_PREF.to_bytes(4, "big")
    if origin.external:
        return
    values.setdefault(ORIGINATOR_ID, (_OPT_NON, origin.peer_router_id))
    clusters = values.get(CLUSTER_LIST, (0, b""))[1]
    values[CLUSTER_LIST] = _OPT_NON, origin.router_id + clusters


def _to_two_octets(values: dict[int, tuple[int, bytes]]) -> None:
    """Write AS_PATH and AGGREGATOR for an old speaker (RFC 6793 section 4.2.2)."""
    flags, path = values[AS_PATH]
    segments = _segments(path, 4)
    values[AS_PATH] = flags, _path_octets(segments, 2)
    if any(number > 0xFFFF for _, numbers in segments for number in numbers):
        plain = [segment for segment in segments if segment[0] in (_AS_SET, _AS_SEQUENCE)]
        values[AS4_PATH] = _OPT_TRANS, _path_octets(plain, 4)
    if AGGREGATOR in values:
        flags, value = values[AGGREGATOR]
        asn = int.from_bytes(value[:4], "big")
        if asn > 0xFFFF:
            values[AS4_AGGREGATOR] = _OPT_TRANS, value
            asn = AS_TRANS
        values[AGGREGATOR] = flags, asn.to_bytes(2, "big") + value[4:]


def render(attributes: Attributes, kind: Kind) -> Rendering:
    """The attributes as one kind of peer gets them."""
    values = dict(attributes.values)
    communities = attributes.communities
    if kind.external:
        _for_external(attributes, values)
        communities = _transitive_only(communities)
    else:
        _for_internal(attributes, values)
    if not kind.asn4:
        _to_two_octets(values)
    before, after = bytearray(), bytearray()
    for code in sorted(values):
        part = before if code < EXTENDED_COMMUNITIES else after
        part += _attribute(values[code][0], code, values[code][1])
    return Rendering(bytes(before), communities, bytes(after))
