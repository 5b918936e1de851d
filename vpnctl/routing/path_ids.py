"""Path identifiers (RFC 7911): several paths of one PE to one destination, both ways.

What a PE calls its paths means something to that PE alone.  Here they have *slots*: of the paths
to one destination the first has slot 0, the next one 1, and so on; a slot that was given up goes
to the next new path.  So most routes are in slot 0, and those with the same attributes share one
`Path` whatever identifiers a PE invents; and a PE that invents very many cannot have more paths
to a destination than it has slots.

A peer is told a path's own identifier, made of its PE and slot.  No two paths to a destination
have the same, and it stays for as long as the path does.
"""

from __future__ import annotations

from vpnctl.model import Family
from vpnctl.routing.nlri import NlriFramingError, end_of

PATH_ID_OCTETS = 4

#: Slots of one PE; its paths' identifiers differ in so many values.
SLOTS = 16

_FREE = b""
_HIGHEST = (1 << 8 * PATH_ID_OCTETS) - 1


def split(family: Family, field: bytes) -> list[tuple[bytes, bytes]]:
    """Cut an NLRI field with path identifiers into pairs of identifier (4 octets) and NLRI.

    Raises `NlriFramingError`.
    """
    end_of_nlri = end_of(family)
    found = []
    at, end = 0, len(field)
    while at < end:
        start = at + PATH_ID_OCTETS
        if start >= end:
            raise NlriFramingError(f"{family}: a path identifier at octet {at} without an NLRI")
        stop = end_of_nlri(field, start)
        if stop > end:
            raise NlriFramingError(f"{family} NLRI at octet {start} runs {stop - end} octets over")
        found.append((field[at:start], field[start:stop]))
        at = stop
    return found


class Slots:
    """The slots of one session and family; ``most``: for each destination."""

    __slots__ = ("_taken", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        #: Key of an NLRI -> path identifiers in the order of their slots.
        self._taken: dict[bytes, tuple[bytes, ...]] = {}

    def find(self, key: bytes, path_id: bytes) -> int | None:
        """The slot of a path, None if it has none."""
        taken = self._taken.get(key, ())
        return taken.index(path_id) if path_id in taken else None

    def take(self, key: bytes, path_id: bytes) -> int | None:
        """The slot of a path, the lowest free one if it had none; None where all are taken."""
        taken = self._taken.get(key, ())
        if path_id in taken:
            return taken.index(path_id)
        if _FREE in taken:
            slot = taken.index(_FREE)
            self._taken[key] = (*taken[:slot], path_id, *taken[slot + 1 :])
            return slot
        if len(taken) >= self.most:
            return None
        self._taken[key] = (*taken, path_id)
        return len(taken)

    def free(self, key: bytes, slot: int) -> None:
        """Give a slot up; one that nobody has is left alone."""
        taken = list(self._taken.get(key, ()))
        if slot < len(taken):
            taken[slot] = _FREE
        while taken and taken[-1] == _FREE:
            del taken[-1]
        if taken:
            self._taken[key] = tuple(taken)
        else:
            self._taken.pop(key, None)

    def fillers(self, key: bytes, slot: int) -> list[bytes]:
        """Identifiers that no path has, one for each free slot right before ``slot``.

        Who is told them first gives the path in ``slot`` the same slot.
        """
        taken = self._taken.get(key, ())
        found = []
        for free in range(min(slot, len(taken)) - 1, -1, -1):
            if taken[free] != _FREE:
                break
            numbers = range(_HIGHEST - free, 0, -SLOTS)
            unused = (number.to_bytes(PATH_ID_OCTETS, "big") for number in numbers)
            found.append(next(path_id for path_id in unused if path_id not in taken))
        return found

    def path_id(self, key: bytes, slot: int) -> bytes:
        """What the PE calls the path in a slot that is taken; 4 octets."""
        return self._taken[key][slot]
