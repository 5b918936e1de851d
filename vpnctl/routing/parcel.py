"""Routes that go out together: packed once, whoever gets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vpnctl.model import Family
from vpnctl.routing import update
from vpnctl.routing.rendering import Kind, render
from vpnctl.routing.table import Path

#: UPDATEs cut open where the route targets go, and the NLRI that fit none beside the attributes.
Envelopes = tuple[list[tuple[bytes, bytes]], list[bytes]]


class Sheet(NamedTuple):
    """UPDATEs in a row with a gap wherever the route targets go.

    ``between``: what stands before, between and behind the gaps; ``updates``: how many;
    ``withheld``: NLRI that fit no UPDATE beside their attributes.
    """

    between: list[bytes]
    updates: int
    withheld: list[bytes]

    def filled(self, targets: bytes) -> bytes:
        """The UPDATEs with the targets of one peer."""
        return targets.join(self.between)


class Parcel:
    """Routes of one path as UPDATEs.

    What peers of one kind get differs in the route targets alone, and mostly not in how many of
    them there are, so an UPDATE is made once, around the place of the targets.
    """

    __slots__ = ("_envelopes", "_octets", "keys", "nlris", "path")

    def __init__(self, path: Path, keys: Sequence[bytes]) -> None:
        self.path = path
        self.keys = keys
        self.nlris = list(map(path.nlris.__getitem__, keys))
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


class Batch:
    """Parcels of one family that go out together.

    Peers get the same octets but for their targets, so what stands between the targets of one
    UPDATE and those of the next is put together once for all of them.
    """

    __slots__ = ("_sheets", "parcels")

    def __init__(self, parcels: Sequence[Parcel]) -> None:
        self.parcels = parcels
        self._sheets: dict[tuple[Kind, int], Sheet] = {}

    @property
    def family(self) -> Family:
        return self.parcels[0].path.family

    def sheet(self, kind: Kind, target_octets: int) -> Sheet:
        """The UPDATEs for one kind of peer around so many octets of route targets."""
        wanted = kind, target_octets
        found = self._sheets.get(wanted)
        if found is None:
            found = self._sheets[wanted] = self._make(kind, target_octets)
        return found

    def _make(self, kind: Kind, target_octets: int) -> Sheet:
        between: list[bytes] = []
        withheld: list[bytes] = []
        end = b""
        for parcel in self.parcels:
            envelopes, too_long = parcel.envelopes(kind, target_octets)
            for before, after in envelopes:
                between.append(end + before)
                end = after
            withheld += too_long
        return Sheet([*between, end], len(between), withheld)
