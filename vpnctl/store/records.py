"""What the store keeps, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RevisionKind(StrEnum):
    """What brought a revision about."""

    START = "start"
    APPLY = "apply"
    EXTEND = "extend"
    RETRACT = "retract"
    ROLLBACK = "rollback"
    AUTO_ROLLBACK = "auto-rollback"


class RevisionState(StrEnum):
    """How final a revision is; `FOLLOWING_STATES` says which may follow which."""

    APPLIED = "applied"
    UNCONFIRMED = "unconfirmed"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"


FOLLOWING_STATES: dict[RevisionState, frozenset[RevisionState]] = {
    RevisionState.APPLIED: frozenset((RevisionState.REVERTED,)),
    RevisionState.UNCONFIRMED: frozenset((RevisionState.CONFIRMED, RevisionState.REVERTED)),
    RevisionState.CONFIRMED: frozenset((RevisionState.REVERTED,)),
    RevisionState.REVERTED: frozenset(),
}


class OperationState(StrEnum):
    """Whether the work of a journal operation is still to be completed."""

    BEGUN = "begun"
    DONE = "done"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Revision:
    """One applied policy.

    ``number`` counts from 1; ``parent`` is the revision it was made on, None for the first.
    ``at`` and ``confirm_by`` are aware, in UTC; ``confirm_by`` says until when an unconfirmed
    revision waits for its confirmation.  ``restores``: for a rollback, the revision whose policy
    it brought back.  ``operation``: the journal operation begun in the same transaction, if any.
    """

    number: int
    parent: int | None
    at: datetime
    author: str
    summary: str
    kind: RevisionKind
    state: RevisionState
    confirm_by: datetime | None
    restores: int | None
    operation: int | None


@dataclass(frozen=True, slots=True)
class Operation:
    """Work that has to be completed, or undone, even if the controller dies in the middle of it.

    ``payload`` is what the one who completes it needs (JSON values); ``revision`` is the revision
    with whose commit it began, None for one begun by itself.
    """

    id: int
    kind: str
    begun_at: datetime
    payload: Mapping[str, object]
    state: OperationState
    revision: int | None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line of a journal operation's log.

    Without ``place`` it says that ``phase`` begins; else what came of ``step`` there in that phase.
    """

    at: datetime
    phase: str
    place: str = ""
    step: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a timeline, in milliseconds since the operation was taken up.

    ``router``: where it was done, empty for the controller itself.
    """

    name: str
    start_ms: float
    end_ms: float
    detail: str = ""
    router: str = ""
