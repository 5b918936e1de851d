"""VLANs with one tag or two as one number, as they are allocated and kept.

A single tag is its own number, 1 to 4094.  Two tags are the outer one times 4096 plus the inner
one (IEEE 802.1ad), so numbers from 4097 on, none of which is a single tag.
"""

from __future__ import annotations

_INNER_BITS = 12
_INNER = (1 << _INNER_BITS) - 1


def two_tags(outer: int, inner: int) -> int:
    """The number of a VLAN with two tags."""
    return outer << _INNER_BITS | inner


def tags(number: int) -> tuple[int, int | None]:
    """The tag and no other, or the outer and the inner one."""
    outer = number >> _INNER_BITS
    return (outer, number & _INNER) if outer else (number, None)


def tags_text(number: int) -> str:
    """``100``, or ``4001/17`` for two tags, as in a policy."""
    outer, inner = tags(number)
    return str(outer) if inner is None else f"{outer}/{inner}"
