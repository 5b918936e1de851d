"""The store: one controller's revisions, policy files, allocations, timelines and journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, bindparam, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from vpnctl.errors import StaleError, StoreError
from vpnctl.model import Allocation
from vpnctl.store import journal, policy_files, revisions
from vpnctl.store.allocations import AllocationBook, AllocationDifference
from vpnctl.store.database import Database
from vpnctl.store.failures import from_database, from_value
from vpnctl.store.integrity import problems
from vpnctl.store.journal import write_log
from vpnctl.store.records import (
    LogEntry,
    Operation,
    OperationState,
    Revision,
    RevisionKind,
    RevisionState,
    Step,
)
from vpnctl.store.schema import (
    ALLOCATIONS,
    REVISIONS,
    create_or_migrate,
    require_current,
)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


# Statements are built once: SQLAlchemy then finds their SQL, and the driver its prepared form.
_HIGHEST = select(func.max(REVISIONS.c.number))
_ALLOCATIONS = select(
    ALLOCATIONS.c.pool, ALLOCATIONS.c.owner, ALLOCATIONS.c.number, ALLOCATIONS.c.released
)
_REMOVE_ALLOCATION = delete(ALLOCATIONS).where(
    ALLOCATIONS.c.pool == bindparam("of_pool"), ALLOCATIONS.c.owner == bindparam("of_owner")
)
_ADD_ALLOCATION = insert(ALLOCATIONS)


@dataclass(slots=True)
class _Head:
    """The latest revision in memory, so that a commit reads nothing of what it leaves alone."""

    number: int | None
    digests: dict[str, str]
    book: AllocationBook


class Store:
    """Everything a controller must not forget, in SQLite or PostgreSQL.

    Every method is one transaction and raises `StoreError` when that failed: nothing of it was
    stored then, and the store can be used again (a lost connection is made again by the next
    call).  Where the connection was lost in the middle of a commit, only `latest` tells whether
    it was taken.  One thread at a time is let in; the others wait.
    """

    def __init__(self, url: str, *, read_only: bool, clock: Clock) -> None:
        self._mutex = threading.RLock()
        self._read_only = read_only
        self._clock = clock
        self._closed = False
        self._head: _Head | None = None
        self._database = Database(url, read_only=read_only, on_connect=self._forget)
        try:
            with self._transaction("open the tables") as connection:
                prepare = require_current if read_only else create_or_migrate
                prepare(connection, f"the store {self._database.where}")
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, url: str, *, read_only: bool = False, clock: Clock = utc_now) -> Self:
        """Open the store at ``sqlite:///FILE`` or ``postgresql://...``, creating it when new.

        The password of a PostgreSQL user is best left out of the URL and put in a file named by
        ``PGPASSFILE``.  Until `close`, no other controller can open the store; ``read_only``
        needs no such lock, sees what a running controller commits, and creates nothing.

        Raises `StoreError` when the store cannot be opened, is used by another controller, or
        was written by a newer version.
        """
        return cls(url, read_only=read_only, clock=clock)

    def close(self) -> None:
        """Let go of the connection and the lock; closing twice is fine."""
        with self._mutex:
            self._closed = True
            self._forget()
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self._database.where}>"

    # Revisions

    def commit(
        self,
        *,
        base: int | None,
        files: Mapping[str, bytes | None],
        allocations: Iterable[Allocation],
        summary: str,
        author: str,
        kind: str,
        confirm_by: datetime | None = None,
        restores: int | None = None,
        reverts: Iterable[int] = (),
        journal: Mapping[str, object] | None = None,
        decides: int | None = None,
    ) -> Revision:
        """Store the revision after ``base``, all of it or nothing.

        ``files``: policy files by path that differ from ``base``, None for a deleted one; files
        that are not named stay as they are.  ``allocations``: the whole current set; what is
        missing from it is removed.  ``kind``: a `RevisionKind`.  With ``confirm_by`` (aware) the
        revision is unconfirmed.  ``reverts``: revisions that become reverted with this commit.
        ``journal``: payload of an operation of this kind, begun with the revision; its id is the
        revision's ``operation``.  ``decides``: an operation whose log says ``decided`` with it.

        Raises `StaleError` unless ``base`` is the latest revision (None: there is none yet),
        `NotFoundError` when a revision named by ``restores`` or ``reverts`` does not exist,
        `StoreError` when two allocations collide or the database failed, and `ValueError` for a
        kind that there is not or a time without a time zone.
        """
        with self._mutex:
            with self._transaction("store the revision", writes=True) as connection:
                head = self._load_head(connection)
                if base != head.number:
                    raise _stale(base, head.number)
                if restores is not None and not 1 <= restores <= (base or 0):
                    raise revisions.missing(restores)
                changed = policy_files.difference(head.digests, files)
                allocated = head.book.difference(allocations)
                revision = revisions.append(
                    connection,
                    base=base,
                    at=self._clock(),
                    author=author,
                    summary=summary,
                    kind=RevisionKind(kind),
                    confirm_by=confirm_by,
                    restores=restores,
                    payload=journal,
                )
                for reverted in reverts:
                    revisions.change_state(connection, reverted, RevisionState.REVERTED)
                if decides is not None:
                    decided = LogEntry(revision.at, "decided", outcome=str(revision.number))
                    write_log(connection, decides, [decided])
                policy_files.write(connection, revision.number, changed, files)
                _write_allocations(connection, revision.number, allocated)
            # Remember only what the database has taken, and nothing by halves.
            self._forget()
            for path, digest in changed.items():
                if digest is None:
                    del head.digests[path]
                else:
                    head.digests[path] = digest
            head.book.apply(allocated)
            head.number = revision.number
            self._head = head
            return revision

    def latest(self) -> Revision | None:
        """The revision with the highest number; None in a new store."""
        with self._transaction("read the latest revision") as connection:
            return revisions.latest(connection)

    def revision(self, number: int) -> Revision:
        """One revision; raises `NotFoundError` where there is none of that number."""
        with self._transaction("read a revision") as connection:
            return revisions.find(connection, number)

    def history(self, limit: int = 50, before: int | None = None) -> tuple[Revision, ...]:
        """At most ``limit`` revisions, newest first, with numbers below ``before``."""
        with self._transaction("read the history") as connection:
            return revisions.newest(connection, limit, before)

    def unconfirmed(self) -> Revision | None:
        """The newest revision that still waits for its confirmation."""
        with self._transaction("read the unconfirmed revision") as connection:
            return revisions.unconfirmed(connection)

    def set_state(self, number: int, state: str) -> Revision:
        """Move a revision on to ``state`` (a `RevisionState`) and give it back as it now is.

        To set the state that it has changes nothing.  Raises `NotFoundError` where there is no
        such revision, and `StoreError` where `FOLLOWING_STATES` does not allow the move.
        """
        with self._transaction("set a revision's state", writes=True) as connection:
            return revisions.change_state(connection, number, RevisionState(state))

    # Policy files and allocations

    def files(self, number: int) -> dict[str, bytes]:
        """Every policy file at revision ``number``, by path; `NotFoundError` without it."""
        with self._transaction("read policy files") as connection:
            revisions.find(connection, number)
            return policy_files.contents_at(connection, number)

    def changed_files(self, number: int) -> dict[str, bytes | None]:
        """The policy files that revision ``number`` changed; None is a deleted one."""
        with self._transaction("read changed policy files") as connection:
            revisions.find(connection, number)
            return policy_files.changed_in(connection, number)

    def allocations(self) -> tuple[Allocation, ...]:
        """The current set, by pool and number.

        A commit is cheapest when it is given the same frozenset as the one before.
        """
        with self._transaction("read the allocations") as connection:
            if self._read_only:
                return _read_allocations(connection).allocations()
            return self._load_head(connection).book.allocations()

    # Timelines

    def record_timeline(self, revision: int, steps: Iterable[Step]) -> None:
        """Store what happened when; replaces what was recorded for this revision before."""
        with self._mutex:
            self._database.make_room()
        with self._transaction("record a timeline", writes=True) as connection:
            revisions.find(connection, revision)
            revisions.write_timeline(connection, revision, steps)

    def timeline(self, revision: int) -> tuple[Step, ...]:
        """The steps in the order in which they were recorded; none when none were."""
        with self._transaction("read a timeline") as connection:
            revisions.find(connection, revision)
            return revisions.timeline(connection, revision)

    # Journal

    def journal_begin(self, kind: str, payload: Mapping[str, object], phase: str = "") -> int:
        """Begin an operation that belongs to no new revision; gives its id.

        With ``phase``, its log begins with that phase.
        """
        with self._transaction("write the journal", writes=True) as connection:
            at = self._clock()
            operation = journal.begin(connection, kind, payload, at)
            if phase:
                journal.write_log(connection, operation, [LogEntry(at, phase)])
            return operation

    def journal_finish(self, operation: int) -> None:
        """The work is done; to say so twice changes nothing.  Raises `NotFoundError`."""
        with self._transaction("write the journal", writes=True) as connection:
            journal.end(connection, operation, OperationState.DONE)

    def journal_abort(self, operation: int) -> None:
        """The work was given up or undone; to say so twice changes nothing.

        Raises `NotFoundError`.
        """
        with self._transaction("write the journal", writes=True) as connection:
            journal.end(connection, operation, OperationState.ABORTED)

    def journal_enter(
        self,
        operation: int,
        phase: str,
        notes: Iterable[tuple[str, str, str]] = (),
        *,
        ends: OperationState | None = None,
    ) -> None:
        """Log that a phase of an operation begins, and what came of the one before.

        ``notes``: (place, step, outcome) in order; ``ends``: what the operation ends as with it,
        and then its payload is dropped: the log stays.
        """
        with self._transaction("write the journal", writes=True) as connection:
            at = self._clock()
            before = journal.log(connection, operation)
            last = before[-1].phase if before else phase
            entries = [LogEntry(at, last, *note) for note in notes]
            journal.write_log(connection, operation, [*entries, LogEntry(at, phase)])
            if ends is not None:
                journal.end(connection, operation, ends)
                journal.forget(connection, operation)

    def journal_log(self, operation: int) -> tuple[LogEntry, ...]:
        """An operation's log, oldest line first."""
        with self._transaction("read the journal") as connection:
            return journal.log(connection, operation)

    def pending(self) -> tuple[Operation, ...]:
        """What was begun and neither finished nor aborted, oldest first."""
        with self._transaction("read the journal") as connection:
            return journal.pending(connection)

    # Integrity

    def check(self) -> tuple[str, ...]:
        """Read everything; a sentence for each thing that is wrong, none when all is well."""
        with self._transaction("check everything") as connection:
            return tuple(problems(connection))

    # Inside

    @contextmanager
    def _transaction(self, doing: str, *, writes: bool = False) -> Iterator[Connection]:
        """Everything in the block or nothing; what the database says becomes a `StoreError`."""
        with self._mutex:
            where = self._database.where
            if self._closed:
                raise StoreError(f"the store {where} is closed", hint="open it again")
            if writes and self._read_only:
                raise StoreError(
                    f"the store {where} was opened for reading only",
                    hint="changes are made by the controller: start it with 'vpnctl serve'",
                )
            try:
                with self._database.transaction() as connection:
                    yield connection
            except BaseException as error:
                if writes:
                    # Even an interrupt may have fallen into the commit itself: what is stored
                    # is read again.
                    self._forget()
                if isinstance(error, SQLAlchemyError):
                    raise from_database(error, doing, where, self._database.redact) from error
                if isinstance(error, UnicodeEncodeError | OverflowError):
                    raise from_value(error, doing, where) from error
                raise

    def _forget(self) -> None:
        self._head = None

    def _load_head(self, connection: Connection) -> _Head:
        if self._head is None:
            number = connection.scalar(_HIGHEST)
            self._head = _Head(
                number,
                policy_files.digests_at(connection, number or 0),
                _read_allocations(connection),
            )
        return self._head


def _write_allocations(
    connection: Connection, revision: int, difference: AllocationDifference
) -> None:
    # Removing first lets two owners exchange their numbers.
    if difference.removed:
        connection.execute(
            _REMOVE_ALLOCATION,
            [{"of_pool": gone.pool, "of_owner": gone.owner} for gone in difference.removed],
        )
    if difference.added:
        connection.execute(
            _ADD_ALLOCATION,
            [
                {
                    "pool": allocation.pool,
                    "owner": allocation.owner,
                    "number": allocation.number,
                    "released": allocation.released,
                    "since_revision": revision,
                }
                for allocation in difference.added
            ],
        )


def _read_allocations(connection: Connection) -> AllocationBook:
    return AllocationBook(Allocation(*row) for row in connection.execute(_ALLOCATIONS))


def _stale(base: int | None, latest: int | None) -> StaleError:
    made_on = "an empty store" if base is None else f"revision {base}"
    now = "there is none yet" if latest is None else f"revision {latest} is applied"
    return StaleError(
        f"the change was made on {made_on}, but by now {now}; nothing was stored",
        hint="make a new plan: 'vpnctl plan'",
    )
