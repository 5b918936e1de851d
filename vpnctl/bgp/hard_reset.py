"""What a NOTIFICATION means for a peer's routes (RFC 8538).

RFC 4724 keeps the routes of a peer whose connection is gone without a word, and drops them when
either side has sent a NOTIFICATION: an expired hold timer is one, so a router without power would
leave nothing behind.  Where both sides have set the N bit in their OPEN, routes stay after any
NOTIFICATION (section 4), but for one: a Cease with the subcode Hard Reset (section 3), which
carries the NOTIFICATION that is meant::

    +------+----------+-------+----------+------
    | 6    | 9        | code  | subcode  | data ...
    +------+----------+-------+----------+------
     Cease  Hard Reset  what is meant, with its data
"""

from __future__ import annotations

from typing import NamedTuple

from vpnctl.bgp.wire import SessionClosed

#: Cease, Hard Reset (section 3).
HARD_RESET = 6, 9


class Meant(NamedTuple):
    """The NOTIFICATION within a Hard Reset."""

    code: int
    subcode: int
    octets: bytes


def data_of(code: int, subcode: int, octets: bytes = b"") -> bytes:
    """The Data field of a Hard Reset that means this NOTIFICATION (section 3.1)."""
    return bytes((code, subcode)) + octets


def meant(octets: bytes) -> Meant | None:
    """What a Hard Reset means by its Data field, None where it does not say.

    That changes nothing about the reset (section 3.2).
    """
    return Meant(octets[0], octets[1], octets[2:]) if len(octets) >= 2 else None


def may_return(closed: SessionClosed, *, graceful_notification: bool) -> bool:
    """Whether a session has ended so that its peer's routes may stay for a while.

    ``graceful_notification``: both sides have set the N bit.
    """
    said = closed.sent or closed.received
    return said is None or (graceful_notification and said != HARD_RESET)
