"""From UPDATE messages to what a PE asked for (RFC 4684)."""

from __future__ import annotations

from vpnctl.model.family import RT_CONSTRAINT
from vpnctl.routing import update
from vpnctl.routing.attributes import TreatAsWithdrawError, parse
from vpnctl.routing.guard import CEASE, OUT_OF_RESOURCES
from vpnctl.routing.membership import Membership, split
from vpnctl.routing.session import Session


def take_membership(
    session: Session, membership: Membership, received: update.Received
) -> update.Received:
    """Take in which targets a peer wants; what is left of the UPDATE.

    Raises `NlriFramingError` and `SessionResetError`.
    """
    reach, unreach = received.reach, received.unreach
    if unreach is not None and unreach[0] == RT_CONSTRAINT.octets:
        if not unreach[1] and not received.announces and not received.attributes:
            session.end_of_rib.add(RT_CONSTRAINT)
        for nlri in split(unreach[1]):
            membership.discard(nlri)
        received = received._replace(unreach=None)
    if reach is not None and reach[0] == RT_CONSTRAINT.octets:
        _take_asked(session, membership, received, split(reach[2]))
        received = received._replace(reach=None)
    return received


def _take_asked(
    session: Session, membership: Membership, received: update.Received, nlris: list[bytes]
) -> None:
    try:
        if received.malformed:
            raise TreatAsWithdrawError(received.malformed)
        loop = parse(received.attributes, session.origin).loop
        if loop:
            # Our own request, come back, says nothing about what the peer wants.
            raise TreatAsWithdrawError(loop)
        for nlri in nlris:
            membership.add(nlri)
    except TreatAsWithdrawError as error:
        session.complain(f"{error}; {len(nlris)} route target memberships not taken in")
        for nlri in nlris:
            membership.discard(nlri)
    except OverflowError as error:
        raise update.SessionResetError(CEASE, OUT_OF_RESOURCES, str(error)) from error
