"""Inserts rows on the way between an operator and the routers, where every step is waited for.

SQLAlchemy takes several times longer to hand a row to SQLite than SQLite takes to write it.  Its
tables, types and transactions are used here, but the statement, which is always the same, goes to
the driver.  A server's answer takes longer than all that: PostgreSQL gets its rows as usual.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite

from vpnctl.store.failures import as_sqlalchemy

_Converter = Callable[[Any], Any]


class Rows:
    """Insertion into one table; ``keep``: a row whose key is there already stays as it is."""

    def __init__(self, table: Table, *, keep: bool = False) -> None:
        self._table = table
        on_sqlite, on_postgresql = sqlite.insert(table), postgresql.insert(table)
        if keep:
            on_sqlite = on_sqlite.on_conflict_do_nothing()
            on_postgresql = on_postgresql.on_conflict_do_nothing()
        self._on_sqlite, self._on_postgresql = on_sqlite, on_postgresql
        self._sql = ""
        self._columns: tuple[tuple[str, _Converter | None], ...] = ()

    def insert(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert ``rows``, each with a value for every column; raises `DBAPIError`."""
        if not rows:
            return
        dialect = connection.dialect
        if dialect.name != "sqlite":
            connection.execute(self._on_postgresql, rows)
            return
        if not self._sql:
            self._prepare(dialect)
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        try:
            for row in rows:
                driver.execute(self._sql, self._values(row))
        except sqlite3.Error as error:
            raise as_sqlalchemy(error, self._sql, dialect) from error

    def _values(self, row: Mapping[str, object]) -> list[object]:
        return [
            row[name] if convert is None else convert(row[name]) for name, convert in self._columns
        ]

    def _prepare(self, dialect: Dialect) -> None:
        compiled = self._on_sqlite.compile(dialect=dialect)
        types = {column.name: column.type for column in self._table.columns}
        self._columns = tuple(
            (name, types[name].dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup or ()
        )
        self._sql = str(compiled)
