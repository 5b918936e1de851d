"""What a session leaves to another engine: what its peer has said, and what it was told.

Both are octets of whole messages.  What a peer has said is taken in once more, as it was then.
What it was told is only ever used to take back what it is not to have any more, so it may be more
than was really told, and never less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from vpnctl.model import VPNV4, VPNV6, Family
from vpnctl.model.family import RT_CONSTRAINT, SESSION_FAMILIES
from vpnctl.routing import update
from vpnctl.routing.as_path import AS_SEQUENCE, octets_of
from vpnctl.routing.attributes import AS_PATH, ORIGIN, WELL_KNOWN, attribute
from vpnctl.routing.changes import Sight
from vpnctl.routing.nlri import KEY_OF, split
from vpnctl.routing.session import Session
from vpnctl.routing.table import LocRib, Path, TargetGroup

#: Messages, or groups of routes, that are looked at in one step of an image.
_STEP = 20

_UPDATE = 2
_MESSAGE_SIZE = 4096
_FAMILY_OF = {family.octets: family for family in SESSION_FAMILIES.values()}
#: A next hop of a length that a family may have; what it is plays no part.
_NEXT_HOPS = {VPNV4: bytes(12), VPNV6: bytes(24)}
_ANY_NEXT_HOP = bytes(4)


class Told:
    """Which routes a peer was told: ``routes`` has the NLRI of each by family and key."""

    def __init__(self) -> None:
        self.routes: dict[Family, dict[bytes, bytes]] = {}

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
            routes, key_of = self.routes.get(family, {}), KEY_OF[family]
            for nlri in split(family, received.unreach[1]):
                routes.pop(key_of(nlri), None)
        if received.reach is not None and (family := _FAMILY_OF.get(received.reach[0])):
            routes, key_of = self.routes.setdefault(family, {}), KEY_OF[family]
            for nlri in split(family, received.reach[2]):
                routes[key_of(nlri)] = nlri


def heard_image(session: Session) -> Iterator[bytes]:
    """UPDATEs from which an engine learns what this one knows of a session's peer.

    Ends of tables included, and without what was left of an earlier session.
    """
    size = session.kind.message_size
    if session.membership is not None and session.membership.asked:
        yield from _asked(session, sorted(session.membership.asked))
    for path in list(session.paths.values()):
        family, next_hop, attributes = _announced(path)
        room = update.room_for_nlri(size, next_hop, len(attributes))
        for field in update.chunks(list(path.nlris.values()), room):
            head = update.announcing(family, next_hop, field, len(attributes))
            yield head + attributes
    for ended in sorted(session.end_of_rib - {RT_CONSTRAINT}):
        yield update.end_of_rib(ended)
    if RT_CONSTRAINT in session.end_of_rib:
        yield update.end_of_rib(RT_CONSTRAINT)


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
    """UPDATEs that name every route which a session's peer may have been told.

    Of a route's attributes there are none: it is about the NLRI alone.
    """
    peer = session.opened.peer
    for group in list(groups):
        if peer in group.verdict.sent and group.family in session.opened.families:
            for path in list(group.paths):
                yield from _named(group.family, list(path.nlris.values()))
        yield b""
    for family, waiting in session.backlog.items():
        # These may be gone from the tables, but the peer has them until it is told so.
        yield from _named(family, [nlri for nlri in waiting.values() if nlri is not None])


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
    told: Mapping[Family, Mapping[bytes, bytes]],
    sight: Sight,
    ribs: Mapping[Family, LocRib],
) -> Iterator[bytes]:
    """UPDATEs that take back what a session's peer was told and is not to have any more."""
    peer, families = session.opened.peer, session.opened.families
    for family, routes in told.items():
        if family in families:
            entries = ribs[family].entries
            gone = [
                nlri
                for key, nlri in routes.items()
                if sight.pick(peer, entries.get(key), family, key) is None
            ]
            yield from update.withdraw(family, gone, session.kind.message_size)
