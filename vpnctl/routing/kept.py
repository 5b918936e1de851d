"""What a session leaves to another engine: what its peer has said, and what it was told.

Both are octets of whole messages.  What a peer has said is taken in once more, as it was then.
What it was told is used to take back what it is not to have any more, so its routes may be more
than were really told, and never less; and to be silent of what it has as it is to have it, so
that a route stands there with its attributes only if those are really the last ones it was told.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice

from vpnctl.model import VPNV4, VPNV6, Family
from vpnctl.model.family import RT_CONSTRAINT, SESSION_FAMILIES
from vpnctl.routing import update
from vpnctl.routing.as_path import AS_SEQUENCE, octets_of
from vpnctl.routing.attributes import AS_PATH, ORIGIN, WELL_KNOWN, attribute
from vpnctl.routing.changes import Sight
from vpnctl.routing.nlri import KEY_OF, split
from vpnctl.routing.parcel import Batch, Parcel
from vpnctl.routing.path_ids import PATH_ID_OCTETS, Slots
from vpnctl.routing.path_ids import split as split_paths
from vpnctl.routing.session import Session, ToldRoute
from vpnctl.routing.table import LocRib, Path, TargetGroup

#: What is looked at in one step of an image: messages or groups of routes; routes of one path.
_STEP = 20
_ROUTES = 500

_UPDATE = 2
_MESSAGE_SIZE = 4096
_FAMILY_OF = {family.octets: family for family in SESSION_FAMILIES.values()}
#: A next hop of a length that a family may have; what it is plays no part.
_NEXT_HOPS = {VPNV4: bytes(12), VPNV6: bytes(24)}
_ANY_NEXT_HOP = bytes(4)


class Told:
    """Which routes a peer was told: ``routes`` has each by family and place.

    A place is the key of an NLRI, and in the families ``with_ids`` the path identifier before it.
    """

    def __init__(self, with_ids: Container[Family] = ()) -> None:
        self.routes: dict[Family, dict[bytes, ToldRoute]] = {}
        self._with_ids = with_ids
        #: Routes share attributes: they are kept once.
        self._known: dict[bytes, bytes] = {}

    def add(self, messages: bytes) -> None:
        """Take in whole messages that the peer was sent, in order."""
        at = 0
        while at < len(messages):
            size = messages[at + 16] << 8 | messages[at + 17]
            if messages[at + 18] == _UPDATE:
                self._take(messages[at + update.HEADER_OCTETS : at + size])
            at += size

    def _take(self, body: bytes) -> None:
        received = update.parse(body)
        if received.unreach is not None and (family := _FAMILY_OF.get(received.unreach[0])):
            routes = self.routes.get(family, {})
            for place, _ in self._places(family, received.unreach[1]):
                routes.pop(place, None)
        if received.reach is not None and (family := _FAMILY_OF.get(received.reach[0])):
            routes = self.routes.setdefault(family, {})
            octets = b"".join(received.attributes)
            attributes = self._known.setdefault(octets, octets) if octets else None
            next_hop = None if attributes is None else received.reach[1]
            for place, nlri in self._places(family, received.reach[2]):
                routes[place] = ToldRoute(nlri, next_hop, attributes)

    def _places(self, family: Family, field: bytes) -> Iterator[tuple[bytes, bytes]]:
        key_of = KEY_OF[family]
        if family in self._with_ids:
            for path_id, nlri in split_paths(family, field):
                yield path_id + key_of(nlri), path_id + nlri
        else:
            for nlri in split(family, field):
                yield key_of(nlri), nlri


def heard_image(session: Session) -> Iterator[bytes]:
    """UPDATEs from which an engine learns what this one knows of a session's peer.

    Ends of tables included, and without what was left of an earlier session.
    """
    size = session.kind.message_size
    if session.membership is not None and session.membership.asked:
        yield from _asked(session, sorted(session.membership.asked))
    holes: dict[Family, list[bytes]] = {}
    # Slots are given in order, so the next engine gives each path the one that it has here.
    for path in sorted(session.paths.values(), key=_slot):
        family, next_hop, attributes = _announced(path)
        room = update.room_for_nlri(size, next_hop, len(attributes))
        nlris = list(path.nlris.values())
        slots = session.slots.get(path.rib.octets)
        if slots is not None:
            nlris = list(_with_ids(path, slots, holes.setdefault(path.family, [])))
        for field in update.chunks(nlris, room):
            head = update.announcing(family, next_hop, field, len(attributes))
            yield head + attributes
    for of_holes, nlris in holes.items():
        yield from update.withdraw(of_holes, nlris, size)
    for ended in sorted(session.end_of_rib - {RT_CONSTRAINT}):
        yield update.end_of_rib(ended)
    if RT_CONSTRAINT in session.end_of_rib:
        yield update.end_of_rib(RT_CONSTRAINT)


def _slot(path: Path) -> int:
    return path.slot


def _with_ids(path: Path, slots: Slots, holes: list[bytes]) -> Iterator[bytes]:
    """The NLRI of a path as its PE announced them, with identifiers.

    A free slot before it is filled for as long as the image is read; what fills it is added to
    ``holes``.
    """
    for key, nlri in list(path.nlris.items()):
        for filler in slots.fillers(key, path.slot):
            holes.append(filler + nlri)
            yield filler + nlri
        if key in path.nlris:
            yield slots.path_id(key, path.slot) + nlri


def _asked(session: Session, nlris: list[bytes]) -> Iterator[bytes]:
    """UPDATEs of the route targets that a peer asked for (RFC 4684)."""
    origin = session.origin
    path = [(AS_SEQUENCE, [session.opened.peer_asn])] if origin.external else []
    attributes = attribute(WELL_KNOWN, ORIGIN, b"\x00")
    attributes += attribute(WELL_KNOWN, AS_PATH, octets_of(path, 4 if origin.asn4 else 2))
    room = update.room_for_nlri(session.kind.message_size, _ANY_NEXT_HOP, len(attributes))
    for field in update.chunks(nlris, room):
        family = RT_CONSTRAINT.octets
        yield update.announcing(family, _ANY_NEXT_HOP, field, len(attributes)) + attributes


def _announced(path: Path) -> tuple[bytes, bytes, bytes]:
    """Family, next hop and attributes as the PE announced them, out of a path's identity."""
    octets = path.identity
    start = 5 + octets[4]
    return octets[:3], octets[5:start], octets[start:]


def told_image(session: Session, groups: Iterable[TargetGroup]) -> Iterator[bytes]:
    """UPDATEs of every route which a session's peer may have been told.

    They have attributes where it is certain that these were the last ones.
    """
    peer = session.opened.peer
    for group in list(groups):
        if peer in group.verdict.sent and group.family in session.opened.families:
            for path in list(group.paths):
                keys = iter(list(path.nlris))
                while some := list(islice(keys, _ROUTES)):
                    targets = group.verdict.sent.get(peer)
                    if targets is not None:
                        yield from _told_of(session, path, some, b"".join(targets))
        yield b""
    for family, waiting in session.backlog.items():
        octets = PATH_ID_OCTETS if family in session.opened.paths_sent else 0
        # These may be gone from the tables, but the peer has them until it is told so.
        told = [place[:octets] + nlri for place, nlri in waiting.items() if nlri is not None]
        yield from _named(family, told)


def _told_of(session: Session, path: Path, keys: list[bytes], targets: bytes) -> Iterator[bytes]:
    """UPDATEs of some routes of a path, as a peer was told them where that is certain.

    It is not of a route that waits, or of which another path may be the one that was told.
    """
    family, contested = path.family, path.rib.contested
    keys = [key for key in keys if key in path.nlris]
    waiting, doubtful = session.backlog[family], []
    if family in session.loading:
        doubtful, keys = keys, []
    elif contested or waiting:
        places = session.places(path, keys)
        sure = [
            key not in contested and place not in waiting
            for key, place in zip(keys, places, strict=True)
        ]
        doubtful = [key for key, is_sure in zip(keys, sure, strict=True) if not is_sure]
        keys = [key for key, is_sure in zip(keys, sure, strict=True) if is_sure]
    if keys:
        sheet = Batch([Parcel(path, keys)]).sheet(session.kind_for(family), len(targets))
        yield sheet.filled(targets)
    path_id = path.path_id if family in session.opened.paths_sent else b""
    yield from _named(family, [path_id + path.nlris[key] for key in doubtful])


def _named(family: Family, nlris: list[bytes]) -> Iterator[bytes]:
    next_hop = _NEXT_HOPS.get(family, _ANY_NEXT_HOP)
    room = update.room_for_nlri(_MESSAGE_SIZE, next_hop, 0)
    for field in update.chunks(nlris, room):
        yield update.announcing(family.octets, next_hop, field, 0)


def in_steps(messages: Iterator[bytes]) -> Iterator[bytes]:
    """The same in pieces, between which something else may be done."""
    while some := list(islice(messages, _STEP)):
        yield b"".join(some)


def superfluous(
    session: Session,
    told: Mapping[Family, Mapping[bytes, ToldRoute]],
    sight: Sight,
    ribs: Mapping[Family, LocRib],
) -> Iterator[bytes]:
    """UPDATEs that take back what a session's peer was told and is not to have any more."""
    peer, families = session.opened.peer, session.opened.families
    for family, routes in told.items():
        if family in families:
            entries = ribs[family].entries
            most = session.opened.paths_sent.get(family)
            gone = []
            for place, route in routes.items():
                if most is None:
                    has = sight.pick(peer, entries.get(place), family, place) is not None
                else:
                    path_id, key = place[:PATH_ID_OCTETS], place[PATH_ID_OCTETS:]
                    paths = sight.leading(peer, entries.get(key), family, key, most)
                    has = any(path.path_id == path_id for path in paths)
                if not has:
                    gone.append(route.nlri)
            yield from update.withdraw(family, gone, session.kind.message_size)
