"""Routes that go out together: packed once, whoever gets them."""

from __future__ import annotations

from collections.abc import Sequence

from vpnctl.routing import update
from vpnctl.routing.attributes import Kind, Rendering, render
from vpnctl.routing.table import Path


class Parcel:
    """Routes of one path, as UPDATEs for each kind of peer and each list of targets."""

    __slots__ = ("_made", "_octets", "_reaches", "_renderings", "keys", "nlris", "path")

    def __init__(self, path: Path, keys: Sequence[bytes]) -> None:
        nlris = path.nlris
        self.path = path
        self.keys = keys
        self.nlris = [nlris[key] for key in keys]
        self._octets = sum(map(len, self.nlris))
        self._renderings: dict[Kind, Rendering] = {}
        self._reaches: dict[int, tuple[list[bytes], list[bytes]]] = {}
        self._made: dict[tuple[Kind, tuple[bytes, ...]], tuple[list[bytes], list[bytes]]] = {}

    def messages(self, kind: Kind, targets: tuple[bytes, ...]) -> tuple[list[bytes], list[bytes]]:
        """The UPDATEs for one kind of peer, and the NLRI that fit none beside the attributes."""
        made = self._made.get((kind, targets))
        if made is None:
            rendering = self._renderings.get(kind)
            if rendering is None:
                rendering = self._renderings[kind] = render(self.path.attributes, kind)
            attributes = rendering.with_targets(targets)
            room = update.room_for_nlri(kind.message_size, self.path.next_hop, attributes)
            reaches, too_long = self._fields(room)
            made = [update.announce(reach, attributes) for reach in reaches], too_long
            self._made[kind, targets] = made
        return made

    def _fields(self, room: int) -> tuple[list[bytes], list[bytes]]:
        """MP_REACH_NLRI attributes with NLRI fields of at most ``room`` octets."""
        # All NLRI fit one field in most parcels, and then the room does not matter.
        wanted = -1 if self._octets <= room else room
        found = self._reaches.get(wanted)
        if found is None:
            family, next_hop = self.path.rib.octets, self.path.next_hop
            if wanted == -1:
                found = [update.reach(family, next_hop, b"".join(self.nlris))], []
            else:
                fields = list(update.chunks(self.nlris, room))
                found = (
                    [update.reach(family, next_hop, each) for each in fields if len(each) <= room],
                    [each for each in fields if len(each) > room],
                )
            self._reaches[wanted] = found
        return found
