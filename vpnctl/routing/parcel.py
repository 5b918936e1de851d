"""Routes that go out together: packed once, whoever gets them."""

from __future__ import annotations

from collections.abc import Sequence

from vpnctl.routing import update
from vpnctl.routing.attributes import Kind, Rendering, render
from vpnctl.routing.table import Path

#: UPDATEs cut open where the route targets go, and the NLRI that fit none beside the attributes.
_Envelopes = tuple[list[tuple[bytes, bytes]], list[bytes]]


class Parcel:
    """Routes of one path as UPDATEs.

    What peers of one kind get differs in the route targets alone, and mostly not in how many of
    them there are, so an UPDATE is made once, around the place of the targets.
    """

    __slots__ = ("_envelopes", "_octets", "_renderings", "keys", "nlris", "path")

    def __init__(self, path: Path, keys: Sequence[bytes]) -> None:
        nlris = path.nlris
        self.path = path
        self.keys = keys
        self.nlris = [nlris[key] for key in keys]
        self._octets = len(self.nlris[0]) if len(keys) == 1 else sum(map(len, self.nlris))
        self._renderings: dict[Kind, Rendering] = {}
        self._envelopes: dict[tuple[Kind, int], _Envelopes] = {}

    def messages(self, kind: Kind, targets: bytes) -> tuple[list[bytes], list[bytes]]:
        """The UPDATEs for one kind of peer, and the NLRI that fit none beside the attributes.

        ``targets``: the route targets one after the other.
        """
        wanted = kind, len(targets)
        found = self._envelopes.get(wanted)
        if found is None:
            found = self._envelopes[wanted] = self._make(kind, len(targets))
        envelopes, too_long = found
        return [before + targets + after for before, after in envelopes], too_long

    def _make(self, kind: Kind, target_octets: int) -> _Envelopes:
        rendering = self._renderings.get(kind)
        if rendering is None:
            rendering = self._renderings[kind] = render(self.path.attributes, kind)
        before, after = rendering.around(target_octets)
        attribute_octets = len(before) + target_octets + len(after)
        family, next_hop = self.path.rib.octets, self.path.next_hop
        room = update.room_for_nlri(kind.message_size, next_hop, attribute_octets)
        if self._octets <= room:
            fields, too_long = [b"".join(self.nlris)], []
        else:
            every = list(update.chunks(self.nlris, room))
            fields = [field for field in every if len(field) <= room]
            too_long = [field for field in every if len(field) > room]
        heads = (update.announcing(family, next_hop, field, attribute_octets) for field in fields)
        return [(head + before, after) for head in heads], too_long
