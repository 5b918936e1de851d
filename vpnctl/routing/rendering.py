"""Path attributes on the way out: written for each kind of peer.

`render` gives the octets to send to one kind of peer, open at the place where that peer's route
targets go.  What is changed, and nothing else:

- to an external peer non-transitive extended communities are taken out (RFC 4360 section 6), our
  AS is prepended, LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST stay at home, MED goes no further
  than the next AS (RFC 4271 section 5.1.4);
- to an internal peer LOCAL_PREF is added where there is none, and a reflected route gets
  ORIGINATOR_ID and CLUSTER_LIST (RFC 4456 section 8);
- to a speaker of two-octet AS numbers AS_PATH and AGGREGATOR are written with their AS4
  companions (RFC 6793);
- to a peer that does not know long-lived stale routes these go with LOCAL_PREF 0 and NO_EXPORT
  (RFC 9494 section 4.6), if they go there at all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from vpnctl.routing.as_path import AS_SEQUENCE, AS_SET, AS_TRANS, octets_of, segments_of
from vpnctl.routing.attributes import (
    AGGREGATOR,
    AS4_AGGREGATOR,
    AS4_PATH,
    AS_PATH,
    CLUSTER_LIST,
    DEFAULT_LOCAL_PREF,
    EXTENDED_COMMUNITIES,
    EXTENDED_LENGTH,
    LOCAL_PREF,
    MED,
    OPTIONAL,
    OPTIONAL_TRANSITIVE,
    ORIGINATOR_ID,
    WELL_KNOWN,
    Attributes,
    attribute,
    value_of,
)
from vpnctl.routing.communities import LOCAL_PREF_0, NO_EXPORT, add
from vpnctl.routing.long_lived import is_stale

#: AS_PATHs and pairs of router ids whose writing is remembered.
_REMEMBERED: Final = 4096


class Kind(NamedTuple):
    """What kind of peer UPDATEs are written for.

    ``message_size``: the most octets of one; ``path_ids``: whether a path identifier stands in
    front of each NLRI (RFC 7911); ``unmarked``: it does not know what LLGR_STALE means.
    """

    external: bool
    asn4: bool
    message_size: int
    path_ids: bool = False
    unmarked: bool = False


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


@lru_cache(_REMEMBERED)
def _prepended(path: bytes, asn: int) -> bytes:
    """AS_PATH, four octets per number, with ``asn`` in front (RFC 4271 section 5.1.2)."""
    octets = asn.to_bytes(4, "big")
    if path and path[0] == AS_SEQUENCE and path[1] < 255:
        value = bytes((AS_SEQUENCE, path[1] + 1)) + octets + path[2:]
    else:
        value = bytes((AS_SEQUENCE, 1)) + octets + path
    return attribute(WELL_KNOWN, AS_PATH, value)


def _transitive_only(communities: bytes) -> bytes:
    parts = (communities[at : at + 8] for at in range(0, len(communities), 8))
    return b"".join(part for part in parts if not part[0] & 0x40)


def _for_external(attributes: Attributes, values: dict[int, bytes]) -> None:
    origin = attributes.origin
    for code in (LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST):
        values.pop(code, None)
    if origin.external or attributes.path.length:
        values.pop(MED, None)
    values[AS_PATH] = _prepended(attributes.path.octets, origin.local_asn)


_LOCAL_PREF_100 = attribute(WELL_KNOWN, LOCAL_PREF, DEFAULT_LOCAL_PREF.to_bytes(4, "big"))


def _for_internal(attributes: Attributes, values: dict[int, bytes]) -> None:
    origin = attributes.origin
    values.setdefault(LOCAL_PREF, _LOCAL_PREF_100)
    if origin.external:
        return
    if ORIGINATOR_ID not in values:
        values[ORIGINATOR_ID] = attribute(OPTIONAL, ORIGINATOR_ID, origin.peer_router_id)
    clusters = value_of(values[CLUSTER_LIST]) if CLUSTER_LIST in values else b""
    values[CLUSTER_LIST] = attribute(OPTIONAL, CLUSTER_LIST, origin.router_id + clusters)


def _to_two_octets(values: dict[int, bytes]) -> None:
    """Write AS_PATH and AGGREGATOR for an old speaker (RFC 6793 section 4.2.2)."""
    path = values[AS_PATH]
    segments = segments_of(value_of(path), 4)
    values[AS_PATH] = attribute(path[0], AS_PATH, octets_of(segments, 2))
    if any(number > 0xFFFF for _, numbers in segments for number in numbers):
        plain = [segment for segment in segments if segment[0] in (AS_SET, AS_SEQUENCE)]
        values[AS4_PATH] = attribute(OPTIONAL_TRANSITIVE, AS4_PATH, octets_of(plain, 4))
    if AGGREGATOR in values:
        flags, value = values[AGGREGATOR][0], value_of(values[AGGREGATOR])
        asn = int.from_bytes(value[:4], "big")
        if asn > 0xFFFF:
            values[AS4_AGGREGATOR] = attribute(OPTIONAL_TRANSITIVE, AS4_AGGREGATOR, value)
            asn = AS_TRANS
        values[AGGREGATOR] = attribute(flags, AGGREGATOR, asn.to_bytes(2, "big") + value[4:])


@lru_cache(_REMEMBERED)
def _reflection(router_id: bytes, peer_router_id: bytes) -> bytes:
    """ORIGINATOR_ID and CLUSTER_LIST of a route that was not reflected before."""
    originator = attribute(OPTIONAL, ORIGINATOR_ID, peer_router_id)
    return originator + attribute(OPTIONAL, CLUSTER_LIST, router_id)


def _reflected(attributes: Attributes) -> Rendering | None:
    """What `render` makes of the plainest case, or None: nothing to add but the reflection."""
    kept, origin = attributes.kept, attributes.origin
    low = 0
    local_pref = False
    for octets in kept:
        code = octets[1]
        if code >= ORIGINATOR_ID:
            if code < EXTENDED_COMMUNITIES:
                return None
            break
        local_pref = local_pref or code == LOCAL_PREF
        low += 1
    if not local_pref:
        return None
    return Rendering(
        b"".join((*kept[:low], _reflection(origin.router_id, origin.peer_router_id))),
        attributes.communities,
        attributes.communities_flags,
        b"".join(kept[low:]),
    )


def render(attributes: Attributes, kind: Kind) -> Rendering:
    """The attributes as one kind of peer gets them."""
    last_choice = kind.unmarked and is_stale(attributes)
    if kind.asn4 and not kind.external and not attributes.origin.external and not last_choice:
        plain = _reflected(attributes)
        if plain is not None:
            return plain
    values = {octets[1]: octets for octets in attributes.kept}
    communities = attributes.communities
    if kind.external:
        _for_external(attributes, values)
        communities = _transitive_only(communities)
    else:
        _for_internal(attributes, values)
        if last_choice:
            values[LOCAL_PREF] = LOCAL_PREF_0
            add(values, NO_EXPORT)
    if not kind.asn4:
        _to_two_octets(values)
    codes = sorted(values)
    return Rendering(
        b"".join([values[code] for code in codes if code < EXTENDED_COMMUNITIES]),
        communities,
        attributes.communities_flags,
        b"".join([values[code] for code in codes if code > EXTENDED_COMMUNITIES]),
    )
