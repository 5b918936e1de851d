"""The journal: work that must be completed, or undone, after a crash in the middle of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from vpnctl.errors import NotFoundError, StoreError
from vpnctl.store.records import Operation, OperationState
from vpnctl.store.schema import JOURNAL, REVISIONS

_OPERATIONS = select(JOURNAL, REVISIONS.c.number.label("revision")).outerjoin(
    REVISIONS, REVISIONS.c.operation == JOURNAL.c.id
)
_BEGUN = _OPERATIONS.where(JOURNAL.c.state == OperationState.BEGUN.value).order_by(JOURNAL.c.id)
_STATE = select(JOURNAL.c.state).where(JOURNAL.c.id == bindparam("id"))
_BEGIN = insert(JOURNAL)
_END = update(JOURNAL).where(JOURNAL.c.id == bindparam("of")).values(state=bindparam("to"))


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


def _operation(row: Row[Any]) -> Operation:
    return Operation(
        id=row.id,
        kind=row.kind,
        begun_at=row.begun_at,
        payload=row.payload,
        state=OperationState(row.state),
        revision=row.revision,
    )
