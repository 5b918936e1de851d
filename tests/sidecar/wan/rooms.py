"""Octets put where a reader has room for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

_Found = TypeVar("_Found")


def fed(
    octets: bytes, room_of: Callable[[], memoryview], filled: Callable[[int], Iterator[_Found]]
) -> Iterator[_Found]:
    """What ``filled`` makes of ``octets``, as much of them at once as ``room_of`` has room for."""
    while octets:
        room = room_of()
        count = min(len(room), len(octets))
        room[:count], octets = octets[:count], octets[count:]
        yield from filled(count)
