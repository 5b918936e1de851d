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
        nlris, octets = self.nlris, self._octets
        if kind.path_ids:
            path_id = self.path.path_id
            nlris = [path_id + nlri for nlri in nlris]
            octets += len(path_id) * len(nlris)
        if octets <= room:
            field = b"".join(nlris)
            head = update.announcing(family, next_hop, field, attribute_octets)
            return [(head + before, after)], []
        fields = list(update.chunks(nlris, room))
        heads = (
            update.announcing(family, next_hop, field, attribute_octets)
            for field in fields
            if len(field) <= room
        )
        too_long = [field for field in fields if len(field) > room]
        return [(head + before, after) for head in heads], too_long


class Recall:
    """Routes that are withdrawn together.

    ``nlris``: as those who have the routes know them; ``paths``: of each route, the one that is
    taken back.
    """

    __slots__ = ("_messages", "family", "keys", "nlris", "paths")

    def __init__(
        self,
        family: Family,
        keys: Sequence[bytes],
        nlris: Sequence[bytes],
        paths: Sequence[Path],
    ) -> None:
        self.family = family
        self.keys = keys
        self.nlris = nlris
        self.paths = paths
        self._messages: dict[tuple[int, bool], tuple[bytes, int]] = {}

    def places(self, kind: Kind) -> Sequence[bytes]:
        """Where the routes wait in the backlog of one kind of peer."""
        if not kind.path_ids:
            return self.keys
        return [path.path_id + key for path, key in zip(self.paths, self.keys, strict=True)]

    def messages(self, kind: Kind) -> tuple[bytes, int]:
        """The UPDATEs for one kind of peer, in a row, and how many."""
        wanted = kind.message_size, kind.path_ids
        found = self._messages.get(wanted)
        if found is None:
            nlris = self.nlris
            if kind.path_ids:
                nlris = [path.path_id + nlri for path, nlri in zip(self.paths, nlris, strict=True)]
            found = self._messages[wanted] = withdrawal(self.family, nlris, kind.message_size)
        return found


def withdrawal(family: Family, nlris: Sequence[bytes], message_size: int) -> tuple[bytes, int]:
    """UPDATEs in a row that withdraw ``nlris``, and how many."""
    messages = list(update.withdraw(family, nlris, message_size))
    return b"".join(messages), len(messages)


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
