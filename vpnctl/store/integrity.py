"""Whether a store still is what was written into it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from vpnctl.store.policy_files import digest_of
from vpnctl.store.schema import BLOBS, REVISIONS


def problems(connection: Connection) -> Iterator[str]:
    """A sentence for everything that is wrong; reads the whole store.

    SQLite is asked to examine its file.  PostgreSQL watches over its own; what references what
    is enforced there at all times.
    """
    if connection.dialect.name == "sqlite":
        for (said,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if said != "ok":
                yield f"SQLite: {said}"
        for table, row, parent, _key in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"a row of table {table} ({row}) names a row of {parent} that does not exist"
    yield from _chain(connection)
    yield from _contents(connection)


def _chain(connection: Connection) -> Iterator[str]:
    rows = connection.execute(
        select(REVISIONS.c.number, REVISIONS.c.parent).order_by(REVISIONS.c.number)
    )
    expected = 1
    for number, parent in rows:
        if number != expected:
            yield f"revision {expected} is missing: the next one is {number}"
        if parent != (number - 1 or None):
            yield f"revision {number} was made on {parent}, not on the revision before it"
        expected = number + 1


def _contents(connection: Connection) -> Iterator[str]:
    for digest, content in connection.execute(select(BLOBS.c.digest, BLOBS.c.content)):
        if digest_of(content) != digest:
            yield f"the content stored under {digest} is damaged"
