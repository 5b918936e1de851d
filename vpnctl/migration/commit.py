"""Who may run a machine: the two halves of the commit protocol, as tables.

A machine has one owner.  The owner's half (`DEPARTURE`) offers ownership once, when the other site
holds a complete and stopped copy and the guest here is stopped, too; it writes down that it did so
before the offer leaves, and from then on runs the guest again only if the other site has refused.
The other half (`ARRIVAL`) writes down that it accepts before the guest runs there, or that it
refuses before it says so, and never changes its mind.

So there is no moment at which both may run it, whoever dies and whatever is lost; and since the
answer to the same offer is always the same, asking again settles every doubt as soon as the two
sites can talk.

The tables are pure: an event and a state give a state and actions, to be done in their order.
`Action.RECORD` means that the new state is on disk before the next action begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

_State = TypeVar("_State", bound=StrEnum)


class Departure(StrEnum):
    """The half of the site that a machine leaves."""

    OPEN = "open"  # it is ours; the copy at the other site is not complete
    OFFERED = "offered"  # whether it is ours is for the other site to say
    GONE = "gone"  # it runs there
    KEPT = "kept"  # it is ours, and this migration has ended


class Arrival(StrEnum):
    """The half of the site that a machine comes to."""

    AWAITING = "awaiting"  # the copy is not complete
    COMPLETE = "complete"  # the copy is complete, and stopped
    ACCEPTED = "accepted"  # it is ours, and about to run
    OURS = "ours"  # it is ours, and ran
    REFUSED = "refused"  # it is not ours, and this migration has ended


class Event(StrEnum):
    """What can happen to either half."""

    LOADED = "loaded"  # the other site's copy (Departure), our copy (Arrival) is complete
    FAILED = "failed"  # something broke, or the operator cancelled
    RESTARTED = "restarted"  # the agent starts again, and knows what it had recorded
    SILENCE = "silence"  # an offer was not answered
    ACCEPTANCE = "acceptance"  # the other site says: it runs here
    REFUSAL = "refusal"  # the other site says: it never will under this migration
    OFFER = "offer"  # the owner says: it is yours
    CANCEL = "cancel"  # the owner says: it stays mine
    STARTED = "started"  # the copy here runs
    UNABLE = "unable"  # the copy here was told to run, and certainly did not
    DIED = "died"  # the copy here is gone; nobody knows whether it ran


class Action(StrEnum):
    """What to do about it."""

    RECORD = "record"  # make the new state durable
    RUN = "run"  # let the guest run here; start it from its disk if its process is gone
    DESTROY = "destroy"  # end the copy here
    SEND_OFFER = "send offer"
    SEND_CANCEL = "send cancel"
    ACCEPT = "accept"  # answer: it runs here
    REFUSE = "refuse"  # answer: it never will


@dataclass(frozen=True, slots=True)
class Step(Generic[_State]):
    """The state after an event, and what to do, in this order."""

    state: _State
    actions: tuple[Action, ...] = ()


_A = Action
# The copy there may hold a lock on a shared disk, which the guest here needs.
_KEEP = Step(Departure.KEPT, (_A.RECORD, _A.SEND_CANCEL, _A.RUN))

#: An event that is not in the table changes nothing.
DEPARTURE: Mapping[tuple[Departure, Event], Step[Departure]] = {
    (Departure.OPEN, Event.LOADED): Step(Departure.OFFERED, (_A.RECORD, _A.SEND_OFFER)),
    (Departure.OPEN, Event.FAILED): _KEEP,
    (Departure.OPEN, Event.RESTARTED): _KEEP,
    (Departure.OPEN, Event.REFUSAL): _KEEP,
    (Departure.OFFERED, Event.RESTARTED): Step(Departure.OFFERED, (_A.SEND_OFFER,)),
    (Departure.OFFERED, Event.SILENCE): Step(Departure.OFFERED, (_A.SEND_OFFER,)),
    (Departure.OFFERED, Event.ACCEPTANCE): Step(Departure.GONE, (_A.RECORD, _A.DESTROY)),
    (Departure.OFFERED, Event.REFUSAL): Step(Departure.KEPT, (_A.RECORD, _A.RUN)),
    (Departure.GONE, Event.RESTARTED): Step(Departure.GONE, (_A.DESTROY,)),
    (Departure.KEPT, Event.RESTARTED): Step(Departure.KEPT, (_A.RUN,)),
}

_REFUSE = Step(Arrival.REFUSED, (_A.RECORD, _A.DESTROY, _A.REFUSE))
_GIVE_UP = Step(Arrival.REFUSED, (_A.RECORD, _A.DESTROY))
_RAN = Step(Arrival.OURS, (_A.RECORD, _A.ACCEPT))

ARRIVAL: Mapping[tuple[Arrival, Event], Step[Arrival]] = {
    (Arrival.AWAITING, Event.LOADED): Step(Arrival.COMPLETE),
    # An offer of what we do not have: our copy was lost, or never was.
    (Arrival.AWAITING, Event.OFFER): _REFUSE,
    (Arrival.AWAITING, Event.CANCEL): _GIVE_UP,
    (Arrival.AWAITING, Event.FAILED): _GIVE_UP,
    (Arrival.AWAITING, Event.DIED): _GIVE_UP,
    (Arrival.AWAITING, Event.RESTARTED): _GIVE_UP,
    (Arrival.COMPLETE, Event.OFFER): Step(Arrival.ACCEPTED, (_A.RECORD, _A.RUN)),
    (Arrival.COMPLETE, Event.CANCEL): _GIVE_UP,
    (Arrival.COMPLETE, Event.FAILED): _GIVE_UP,
    (Arrival.COMPLETE, Event.DIED): _GIVE_UP,
    (Arrival.ACCEPTED, Event.STARTED): _RAN,
    (Arrival.ACCEPTED, Event.UNABLE): _REFUSE,
    # It may have run and written to its disk: the old copy's memory would not know of that. The
    # machine is ours, and is started again from its disk, as after any crash of its host.
    (Arrival.ACCEPTED, Event.DIED): Step(Arrival.OURS, (_A.RECORD, _A.RUN, _A.ACCEPT)),
    (Arrival.ACCEPTED, Event.RESTARTED): Step(Arrival.ACCEPTED, (_A.RUN,)),
    (Arrival.OURS, Event.OFFER): Step(Arrival.OURS, (_A.ACCEPT,)),
    (Arrival.OURS, Event.RESTARTED): Step(Arrival.OURS, (_A.RUN,)),
    (Arrival.REFUSED, Event.OFFER): Step(Arrival.REFUSED, (_A.REFUSE,)),
    (Arrival.REFUSED, Event.RESTARTED): Step(Arrival.REFUSED, (_A.DESTROY,)),
}


def departure(state: Departure, event: Event) -> Step[Departure]:
    """What the owner's half does about ``event``."""
    return DEPARTURE.get((state, event), Step(state))


def arrival(state: Arrival, event: Event) -> Step[Arrival]:
    """What the other half does about ``event``."""
    return ARRIVAL.get((state, event), Step(state))
