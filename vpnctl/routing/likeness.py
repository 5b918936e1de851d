"""UPDATEs like the one before: what may differ without taking the whole message apart.

A PE that gives every route attributes of its own mostly varies one attribute, say its metric.
Once two UPDATEs in a row differ in nothing else but their one NLRI, a third one is compared with
them around those two places; only what is in the places is then new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vpnctl.routing.attributes import MERE_VALUES
from vpnctl.routing.table import Path
from vpnctl.routing.update import HEADER_OCTETS, Received, value_at


class Likeness(NamedTuple):
    """An UPDATE with two open places: its NLRI, and the value of one attribute.

    ``size``: octets of the whole message; all places count from where its body begins.
    ``first``, ``second`` and ``third`` are the body before, between and after the places, with
    every length in it, so that a body of this size with the same three pieces has one NLRI and
    the same attributes in the same places.  ``nlri`` and ``value`` are the places, each from the
    first octet to the one behind.  ``identity``: of the path, before and after the value;
    ``kept_at``: which of the path's kept attributes it is, ``kept_head`` its flags, type and
    length.
    """

    size: int
    first: bytes
    second_at: int
    second: bytes
    third_at: int
    third: bytes
    nlri: tuple[int, int]
    value: tuple[int, int]
    identity: tuple[bytes, bytes]
    path: Path
    kept_at: int
    kept_head: bytes


def _varied(before: Sequence[bytes], now: Sequence[bytes]) -> int | None:
    """Which attribute alone has another value than before, if there is exactly one."""
    if len(before) != len(now):
        return None
    found = [at for at, (old, new) in enumerate(zip(before, now, strict=True)) if old != new]
    return found[0] if len(found) == 1 else None


def likeness(
    before: Sequence[bytes], body: bytes, received: Received, path: Path, lead_octets: int
) -> Likeness | None:
    """What an UPDATE has in common with the one before, or None if they differ in more.

    ``before``: the attributes of the one before; ``path``: what became of this one, which has one
    NLRI, no complaints and no withdrawals; ``lead_octets``: how many at the beginning of the
    NLRI say how long it is and how it is to be taken.
    """
    now = received.attributes
    varied = _varied(before, now)
    if varied is None:
        return None
    octets = now[varied]
    kept = path.heard.kept
    if octets[1] not in MERE_VALUES or octets not in kept:
        # An attribute that is not kept as it came is not to be copied as it comes.
        return None
    value = value_at(body, octets[1])
    begin, stop = received.nlri_at
    places = sorted(((begin + lead_octets, stop), value))
    (first_to, second_at), (second_to, third_at) = places
    identity_to = len(path.identity) - sum(map(len, now[varied + 1 :]))
    identity_at = identity_to - (value[1] - value[0])
    return Likeness(
        size=HEADER_OCTETS + len(body),
        first=body[:first_to],
        second_at=second_at,
        second=body[second_at:second_to],
        third_at=third_at,
        third=body[third_at:],
        nlri=(begin, stop),
        value=value,
        identity=(path.identity[:identity_at], path.identity[identity_to:]),
        path=path,
        kept_at=kept.index(octets),
        kept_head=octets[: len(octets) - (value[1] - value[0])],
    )
