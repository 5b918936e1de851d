"""The journal: work that must be completed, or undone, after a crash in the middle of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from vpnctl.errors import NotFoundError, StoreError
from vpnctl.store.records import LogEntry, Operation, OperationState
from vpnctl.store.schema import JOURNAL, JOURNAL_LOG, REVISIONS

_OPERATIONS = select(JOURNAL, REVISIONS.c.number.label("revision")).outerjoin(
    REVISIONS, REVISIONS.c.operation == JOURNAL.c.id
)
_BEGUN = _OPERATIONS.where(JOURNAL.c.state == OperationState.BEGUN.value).order_by(JOURNAL.c.id)
_STATE = select(JOURNAL.c.state).where(JOURNAL.c.id == bindparam("id"))
_BEGIN = insert(JOURNAL)
_END = update(JOURNAL).where(JOURNAL.c.id == bindparam("of")).values(state=bindparam("to"))

_FORGET = update(JOURNAL).where(JOURNAL.c.id == bindparam("of")).values(payload={})
_LAST_POSITION = select(func.max(JOURNAL_LOG.c.position)).where(
    JOURNAL_LOG.c.operation == bindparam("operation")
)
_LOG = (
    select(JOURNAL_LOG)
    .where(JOURNAL_LOG.c.operation == bindparam("of"))
    .order_by(JOURNAL_LOG.c.position)
)
_ADD_TO_LOG = insert(JOURNAL_LOG)


def begin(
    connection: Connection, kind: str, payload: Mapping[str, object], begun_at: datetime
) -> int:
    """Write an operation that is begun and give its id."""
    row = {
        "kind": kind,
        "begun_at": begun_at,
        "payload": dict(payload),
        "state": OperationState.BEGUN.value,
    }
    inserted = connection.execute(_BEGIN, row).inserted_primary_key
    assert inserted is not None  # one row was inserted
    return int(inserted[0])


def forget(connection: Connection, operation: int) -> None:
    """Drop an operation's payload, which nobody needs once it has ended."""
    connection.execute(_FORGET, {"of": operation})


def end(connection: Connection, operation: int, state: OperationState) -> None:
    """Mark a begun operation done or aborted; to do it again changes nothing."""
    stored = connection.scalar(_STATE, {"id": operation})
    if stored is None:
        raise NotFoundError(
            f"the journal has no operation {operation}",
            hint="ask the store for the pending ones",
        )
    if stored == state:
        return
    if stored != OperationState.BEGUN:
        raise StoreError(
            f"operation {operation} of the journal is {stored} and cannot become {state}",
            hint="only an operation that is begun can be finished or aborted",
        )
    connection.execute(_END, {"of": operation, "to": state.value})


def pending(connection: Connection) -> tuple[Operation, ...]:
    """Every operation that is begun, oldest first."""
    return tuple(_operation(row) for row in connection.execute(_BEGUN))


def write_log(connection: Connection, operation: int, entries: Iterable[LogEntry]) -> None:
    """Add lines to an operation's log."""
    last = connection.scalar(_LAST_POSITION, {"operation": operation}) or 0
    rows = [
        {
            "operation": operation,
            "position": position,
            "at": entry.at,
            "phase": entry.phase,
            "place": entry.place,
            "step": entry.step,
            "outcome": entry.outcome,
        }
        for position, entry in enumerate(entries, last + 1)
    ]
    if rows:
        connection.execute(_ADD_TO_LOG, rows)


def log(connection: Connection, operation: int) -> tuple[LogEntry, ...]:
    """An operation's log, oldest line first."""
    return tuple(
        LogEntry(row.at, row.phase, row.place, row.step, row.outcome)
        for row in connection.execute(_LOG, {"of": operation})
    )


def _operation(row: Row[Any]) -> Operation:
    return Operation(
        id=row.id,
        kind=row.kind,
        begun_at=row.begun_at,
        payload=row.payload,
        state=OperationState(row.state),
        revision=row.revision,
    )
