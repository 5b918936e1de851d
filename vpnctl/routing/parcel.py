"""Routes that go out together: packed once, whoever gets them."""

from __future__ import annotations

from collections.abc import Sequence

from vpnctl.routing import update
from vpnctl.routing.rendering import Kind, render
from vpnctl.routing.table import Path

#: UPDATEs cut open where the route targets go, and the NLRI that fit none beside the attributes.
Envelopes = tuple[list[tuple[bytes, bytes]], list[bytes]]


class Parcel:
    """Routes of one path as UPDATEs.

    What peers of one kind get differs in the route targets alone, and mostly not in how many of
    them there are, so an UPDATE is made once, around the place of the targets.
    """

    __slots__ = ("_envelopes", "_octets", "keys", "nlris", "path")

    def __init__(self, path: Path, keys: Sequence[bytes]) -> None:
        nlris = path.nlris
        self.path = path
        self.keys = keys
        self.nlris = [nlris[key] for key in keys]
        self._octets = sum(map(len, self.nlris))
        self._envelopes: dict[tuple[Kind, int], Envelopes] = {}

    def envelopes(self, kind: Kind, target_octets: int) -> Envelopes:
        """The UPDATEs for one kind of peer around so many octets of route targets."""
        wanted = kind, target_octets
        found = self._envelopes.get(wanted)
        if found is None:
            found = self._envelopes[wanted] = self._make(kind, target_octets)
        return found

    def _make(self, kind: Kind, target_octets: int) -> Envelopes:
        before, after = render(self.path.attributes, kind).around(target_octets)
        attribute_octets = len(before) + target_octets + len(after)
        family, next_hop = self.path.rib.octets, self.path.next_hop
        room = update.room_for_nlri(kind.message_size, next_hop, attribute_octets)
        if self._octets <= room:
            field = b"".join(self.nlris)
            head = update.announcing(family, next_hop, field, attribute_octets)
            return [(head + before, after)], []
        fields = list(update.chunks(self.nlris, room))
        heads = (
            update.announcing(family, next_hop, field, attribute_octets)
            for field in fields
            if len(field) <= room
        )
        too_long = [field for field in fields if len(field) > room]
        return [(head + before, after) for head in heads], too_long
