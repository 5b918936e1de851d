"""The phases of a transaction over several routers, and the journal that survives the controller.

A phase is written down *before* anything of it is done, so what the journal says last is what may
have been begun; from there `AFTER_A_CRASH` tells which way to go::

    PREPARE --> COMMIT --> DECIDED --> DONE          every router has the change
       |          |           |
       |          v           v
       |       CANCEL    COMPENSATE
       |          |           |
       +--------> +---------> +-------> UNDONE       no router has it

``DECIDED`` is not written by the transaction: it is the commit of the revision itself, in the
store's own transaction, so that "the policy is in force" and "the routers shall keep it" are one
fact.  Before it a timer at every router undoes the change whatever happens here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from vpnctl.provisioning.numbers import Taking
from vpnctl.provisioning.rendered import Rendered


class Phase(StrEnum):
    """How far a transaction has come."""

    PREPARE = "prepare"
    COMMIT = "commit"
    DECIDED = "decided"
    CANCEL = "cancel"
    COMPENSATE = "compensate"
    DONE = "done"
    UNDONE = "undone"


#: Which phase may follow which.  PREPARE ends in DONE where no router had to be changed.
FOLLOWING: Mapping[Phase, frozenset[Phase]] = {
    Phase.PREPARE: frozenset((Phase.COMMIT, Phase.DONE, Phase.UNDONE)),
    Phase.COMMIT: frozenset((Phase.DECIDED, Phase.CANCEL)),
    Phase.DECIDED: frozenset((Phase.DONE, Phase.COMPENSATE)),
    Phase.CANCEL: frozenset((Phase.UNDONE,)),
    Phase.COMPENSATE: frozenset((Phase.UNDONE,)),
    Phase.DONE: frozenset(),
    Phase.UNDONE: frozenset(),
}

#: What a restart makes of a transaction that was cut off in a phase.
AFTER_A_CRASH: Mapping[Phase, Phase] = {
    Phase.PREPARE: Phase.UNDONE,  # no router was asked to commit, and its lock ended with us
    Phase.COMMIT: Phase.CANCEL,
    Phase.DECIDED: Phase.DONE,
    Phase.CANCEL: Phase.CANCEL,
    Phase.COMPENSATE: Phase.COMPENSATE,
}


@dataclass(frozen=True, slots=True)
class RouterChange:
    """What a transaction does at one router, and what brings it back.

    ``new``: those paths of ``after`` that were not ours before it.  ``taking``: the numbers that
    it takes, and somebody else must not have; it is looked at before anything is done, and so is
    no part of the journal.
    """

    router: str
    after: Rendered
    before: Rendered
    new: tuple[str, ...] = ()
    taking: Taking | None = field(default=None, compare=False)

    def document(self) -> dict[str, Any]:
        """As JSON values, for the journal."""
        return {
            "router": self.router,
            "after": asdict(self.after),
            "before": asdict(self.before),
            "new": self.new,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> RouterChange:
        """What `document` gave."""
        after, before = _rendered(document["after"]), _rendered(document["before"])
        return cls(document["router"], after, before, tuple(document.get("new", ())))


def _rendered(document: Mapping[str, Any]) -> Rendered:
    lists = {key: tuple(value) for key, value in document.items() if isinstance(value, list)}
    return Rendered(**{**document, **lists})


#: The outcome of a diff that shows no difference: the router takes no part any more.
SAME = "nothing to do"
#: The outcome where a change was taken back for good while another router is still in doubt.
SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Note:
    """What came of one step at one router.

    ``outcome`` is ``ok``, `SAME`, `SETTLED`, or says what went wrong.
    """

    router: str
    step: str
    outcome: str


class Journal(Protocol):
    """Where one transaction's phases are written."""

    async def enter(self, phase: Phase, notes: Iterable[Note]) -> None:
        """Write, durably, that ``phase`` begins, and what came of the one before."""
