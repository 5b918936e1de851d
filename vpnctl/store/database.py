"""Opening the database behind a store: its URL, its connection, and the lock of its one writer."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from vpnctl.errors import StoreError
from vpnctl.store.failures import as_sqlalchemy, from_system

#: Key of the advisory lock, which PostgreSQL keeps per database: "vpnctl" in ASCII.
ADVISORY_LOCK = int.from_bytes(b"vpnctl", "big")

_BUSY_TIMEOUT_MS = 5000
_LOCK_TIMEOUT_MS = 1000
#: SQLSTATE lock_not_available.
_LOCK_NOT_AVAILABLE = "55P03"
_POSTGRES_CONNECT = {
    # A server that vanished without a word must not hold the controller for a quarter of an hour.
    "connect_timeout": 10,
    "tcp_user_timeout": 10_000,
    "application_name": "vpnctl",
}
_URL_HINT = "write sqlite:////var/lib/vpnctl/store.db or postgresql://user@host/database"
_PASSWORD_KEYS = frozenset(("password", "sslpassword"))
#: Keys of a URL's query that tell where a store is.  The others are not shown: a misspelt
#: ``pasword`` holds what it was meant to.
_PLACE_KEYS = frozenset(("host", "port", "service"))


class Database:
    """One connection, made again when it was lost, and for a writer the exclusive lock.

    On PostgreSQL the lock belongs to the very session that writes: a controller that lost its
    connection has lost its lock and cannot write until it holds it again.  ``on_connect`` is
    called for every new connection, after the lock was taken.
    """

    def __init__(self, url: str, *, read_only: bool, on_connect: Callable[[], None]) -> None:
        parsed = _parse(url)
        self._secrets = _secrets(parsed)
        self._read_only = read_only
        self._on_connect = on_connect
        self._lock: int | None = None
        self._connection: Connection | None = None
        hidden = parsed.query.keys() - _PLACE_KEYS
        #: The URL without its password, for messages.
        self.where = parsed.difference_update_query(hidden).render_as_string()
        if parsed.get_backend_name() == "sqlite":
            self.engine = self._open_sqlite(parsed)
        else:
            self.engine = self._open_postgresql(parsed)

    def redact(self, text: str) -> str:
        """``text`` without the URL's password, should a driver have put it there."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Everything in the block or nothing."""
        if self.engine.dialect.name != "sqlite":
            # The pool looks whether the server is still there, and connects again if not.
            with self.engine.begin() as connection:
                yield connection
            return
        # A file does not go away, so its connection is kept at hand.  It is the driver that begins
        # and commits: to have SQLAlchemy do it takes longer than to write a revision's rows.
        if self._connection is None:
            self._connection = self.engine.connect()
        connection, driver = self._connection, _driver(self._connection)
        try:
            self._drive(driver, "BEGIN")
            yield connection
            if connection.in_transaction():
                connection.commit()  # SQLAlchemy had its part in it, see `_begin_sqlite`
            else:
                self._drive(driver, "COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                driver.rollback()
            self._let_go()
            raise

    def _drive(self, driver: sqlite3.Connection, sql: str) -> None:
        """Have the driver do something; raises what SQLAlchemy would raise."""
        try:
            driver.execute(sql)
        except sqlite3.Error as error:
            raise as_sqlalchemy(error, sql, self.engine.dialect) from error

    def make_room(self) -> None:
        """Let the next commit overwrite SQLite's log instead of making it longer.

        To write where the file has blocks already takes the disk half the time.  What can be
        copied from the log into the database without waiting for anybody is copied; SQLite would
        do the same later, in the middle of a commit.  What prevents it is told by the commits.
        """
        if self._connection is not None:
            driver = _driver(self._connection)
            with suppress(sqlite3.Error):
                driver.execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close the connection and let go of the lock; closing twice is fine."""
        self._let_go()
        self.engine.dispose()
        self._unlock()

    def _open_sqlite(self, url: URL) -> Engine:
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise StoreError(
                "the store needs a file: a database in memory would lose every revision",
                hint=_URL_HINT,
            )
        try:
            # Two names of one file share its lock.
            path = Path(url.database).resolve()
            if self._read_only:
                path.stat()
            else:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = _lock_beside(path, self.where)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except FileNotFoundError as error:
            raise StoreError(
                f"there is no store {self.where}",
                hint="check the URL, or start the controller once: it creates its store",
            ) from error
        except OSError as error:
            self._unlock()
            raise from_system(error, "open the file", self.where, self.redact) from error
        engine = self._engine(url.set(database=str(path)), {"timeout": _BUSY_TIMEOUT_MS / 1000})
        event.listen(engine, "connect", self._preparing(self._prepare_sqlite))
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _open_postgresql(self, url: URL) -> Engine:
        arguments = {key: value for key, value in _POSTGRES_CONNECT.items() if key not in url.query}
        try:
            engine = self._engine(url, arguments, pool_pre_ping=True)
        except ImportError as error:
            raise StoreError(
                f"the driver for {self.where} is not installed",
                hint="pip install 'vpnctl[postgresql]'",
            ) from error
        event.listen(engine, "connect", self._preparing(self._prepare_postgresql))
        return engine

    @staticmethod
    def _engine(url: URL, connect_args: dict[str, Any], **options: Any) -> Engine:
        # hide_parameters: contents of policy files stay out of error messages and logs.
        return create_engine(
            url,
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            connect_args=connect_args,
            hide_parameters=True,
            **options,
        )

    def _preparing(
        self, prepare: Callable[[DBAPIConnection], None]
    ) -> Callable[[DBAPIConnection, ConnectionPoolEntry], None]:
        def connected(dbapi: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
            try:
                prepare(dbapi)
            except BaseException:
                # The pool forgets a connection that it could not hand out, and leaves it open.
                dbapi.close()
                raise
            self._on_connect()

        return connected

    def _prepare_sqlite(self, dbapi: DBAPIConnection) -> None:
        # The driver would begin transactions by itself, before changes only and never before DDL.
        dbapi.isolation_level = None
        with closing(dbapi.cursor()) as cursor:
            if self._read_only:
                cursor.execute("PRAGMA query_only = ON")
            else:
                cursor.execute("PRAGMA journal_mode = WAL")
                cursor.execute("PRAGMA synchronous = FULL")
                cursor.execute("PRAGMA foreign_keys = ON")

    def _prepare_postgresql(self, dbapi: DBAPIConnection) -> None:
        with closing(dbapi.cursor()) as cursor:
            if self._read_only:
                cursor.execute("SET default_transaction_read_only = on")
            else:
                # The session of a controller that was killed may last a moment longer than it.
                cursor.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT_MS}ms'")
                try:
                    cursor.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
                except Exception as error:
                    if getattr(error, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                        raise _in_use(self.where, "") from error
                    raise
                cursor.execute("RESET lock_timeout")
                # A server set to acknowledge before it wrote may forget an applied revision.
                cursor.execute(
                    "SELECT set_config('synchronous_commit', 'on', false)"
                    " WHERE current_setting('synchronous_commit') = 'off'"
                )
        dbapi.commit()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _begin_sqlite(connection: Connection) -> None:
    """SQLAlchemy begins; what the driver has begun already goes on as SQLAlchemy's."""
    driver = _driver(connection)
    if not driver.in_transaction:
        driver.execute("BEGIN")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Neither the URL nor the cause is shown: with a slip of the pen the password may stand
        # anywhere in them.
        raise StoreError("the URL of the store cannot be understood", hint=_URL_HINT) from None
    if "@" in (parsed.host or ""):
        # A password with an @ that is not written %40: its end would be taken for the host's name.
        raise StoreError("the URL of the store cannot be understood", hint=_URL_HINT)
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise StoreError(
            f"no store can be kept in {parsed.drivername}: SQLite and PostgreSQL can",
            hint=_URL_HINT,
        )
    return parsed


def _secrets(url: URL) -> tuple[str, ...]:
    query = url.normalized_query
    found = [value for key in _PASSWORD_KEYS for value in query.get(key, ())]
    if url.password:
        found.append(url.password)
    return tuple(secret for secret in found if secret)


def _lock_beside(path: Path, where: str) -> int:
    """Hold ``path``.lock exclusively; the file stays, what counts is the lock on it.

    Returns the descriptor that holds the lock; the kernel lets go of it however the process ends.
    """
    # No link is followed: in a directory where others may write it could lead to any file.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(f"{path}.lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise _in_use(where, f" (process {holder})" if holder else "") from error
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _in_use(where: str, by: str) -> StoreError:
    return StoreError(
        f"another controller{by} uses the store {where}",
        hint="one store has one controller: stop the other one, or give this one another URL",
    )
