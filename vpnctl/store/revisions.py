"""Rows of revisions and of their timelines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from vpnctl.errors import NotFoundError, StoreError
from vpnctl.store import journal
from vpnctl.store.records import FOLLOWING_STATES, Revision, RevisionKind, RevisionState, Step
from vpnctl.store.rows import Rows
from vpnctl.store.schema import REVISIONS, TIMELINE

# Statements are built once: SQLAlchemy then finds their SQL, and the driver its prepared form.
_FIND = select(REVISIONS).where(REVISIONS.c.number == bindparam("number"))
_NEWEST = select(REVISIONS).order_by(REVISIONS.c.number.desc())
_LATEST = _NEWEST.limit(1)
_UNCONFIRMED = _LATEST.where(REVISIONS.c.state == RevisionState.UNCONFIRMED.value)
_ROWS = Rows(REVISIONS)
_COLUMNS = tuple(field.name for field in fields(Revision))
_SET_STATE = (
    update(REVISIONS).where(REVISIONS.c.number == bindparam("of")).values(state=bindparam("to"))
)
_TIMELINE = (
    select(
        TIMELINE.c.name,
        TIMELINE.c.start_ms,
        TIMELINE.c.end_ms,
        TIMELINE.c.detail,
        TIMELINE.c.router,
    )
    .where(TIMELINE.c.revision == bindparam("number"))
    .order_by(TIMELINE.c.position)
)
_REMOVE_TIMELINE = delete(TIMELINE).where(TIMELINE.c.revision == bindparam("number"))
_WRITE_TIMELINE = insert(TIMELINE)


def find(connection: Connection, number: int) -> Revision:
    """The revision of that number; raises `NotFoundError`."""
    row = connection.execute(_FIND, {"number": number}).first()
    if row is None:
        raise missing(number)
    return _revision(row)


def missing(number: int) -> NotFoundError:
    """What to raise for a revision that does not exist."""
    return NotFoundError(
        f"there is no revision {number}", hint="'vpnctl history' lists the revisions there are"
    )


def latest(connection: Connection) -> Revision | None:
    """The revision with the highest number."""
    row = connection.execute(_LATEST).first()
    return None if row is None else _revision(row)


def unconfirmed(connection: Connection) -> Revision | None:
    """The newest revision that waits for its confirmation."""
    row = connection.execute(_UNCONFIRMED).first()
    return None if row is None else _revision(row)


def newest(connection: Connection, limit: int, before: int | None) -> tuple[Revision, ...]:
    """At most ``limit`` revisions numbered below ``before``, newest first."""
    query = _NEWEST.limit(limit)
    if before is not None:
        query = query.where(REVISIONS.c.number < before)
    return tuple(_revision(row) for row in connection.execute(query))


def append(
    connection: Connection,
    *,
    base: int | None,
    at: datetime,
    author: str,
    summary: str,
    kind: RevisionKind,
    confirm_by: datetime | None,
    restores: int | None,
    payload: Mapping[str, object] | None,
) -> Revision:
    """Write the revision after ``base``, and begin its journal operation when it has a payload."""
    at = _utc(at)
    operation = None
    if payload is not None:
        operation = journal.begin(connection, kind.value, payload, at)
    revision = Revision(
        number=(base or 0) + 1,
        parent=base,
        at=at,
        author=author,
        summary=summary,
        kind=kind,
        state=RevisionState.APPLIED if confirm_by is None else RevisionState.UNCONFIRMED,
        confirm_by=None if confirm_by is None else _utc(confirm_by),
        restores=restores,
        operation=operation,
    )
    row = {name: getattr(revision, name) for name in _COLUMNS}
    row |= {"kind": kind.value, "state": revision.state.value}
    _ROWS.insert(connection, [row])
    return revision


def change_state(connection: Connection, number: int, state: RevisionState) -> Revision:
    """Move a revision on to ``state``; raises `NotFoundError`, or `StoreError` for a way back."""
    revision = find(connection, number)
    if state == revision.state:
        return revision
    if state not in FOLLOWING_STATES[revision.state]:
        raise StoreError(
            f"revision {number} is {revision.state} and cannot become {state}",
            hint="see 'vpnctl history' for the state of each revision",
        )
    connection.execute(_SET_STATE, {"of": number, "to": state.value})
    return find(connection, number)


def write_timeline(connection: Connection, number: int, steps: Iterable[Step]) -> None:
    """Replace the timeline of a revision."""
    rows = [
        {"revision": number, "position": position} | asdict(step)
        for position, step in enumerate(steps)
    ]
    connection.execute(_REMOVE_TIMELINE, {"number": number})
    if rows:
        connection.execute(_WRITE_TIMELINE, rows)


def timeline(connection: Connection, number: int) -> tuple[Step, ...]:
    """The steps of a revision in the order of recording."""
    return tuple(Step(*row) for row in connection.execute(_TIMELINE, {"number": number}))


def _revision(row: Row[Any]) -> Revision:
    values = row._asdict()
    values["kind"] = RevisionKind(row.kind)
    values["state"] = RevisionState(row.state)
    return Revision(**values)


def _utc(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"{time.isoformat()} has no time zone")
    return time.astimezone(UTC)
