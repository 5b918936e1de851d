"""What a database's error means to an operator: one sentence, and what to do."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from vpnctl.errors import StoreError

_FULL = ("its disk is full", "free some space, then do it again; what was stored before is intact")
_READ_ONLY = (
    "it is read-only",
    "check that the file system is mounted for writing and who owns the file and its directory",
)
_CORRUPT = (
    "the database is damaged",
    "stop the controller, keep a copy of the file, then restore a backup or use sqlite3's "
    "'.recover'",
)
_LOCKED = ("another program holds a lock on it", "end that program, then do it again")
_CUT = (
    "the connection to the server was lost",
    "check that the server runs; the controller connects again by itself. Where the change was "
    "being committed, 'vpnctl history' shows whether it was",
)
_UNREACHABLE = (
    "the server cannot be reached or refused the login",
    "check that it runs and that the database exists; give the password in a file named by "
    "PGPASSFILE",
)

_BY_SQLITE_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _CORRUPT,
    sqlite3.SQLITE_NOTADB: (
        "it is no SQLite database",
        "check the URL; a file of another kind stands there",
    ),
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: (
        "the file cannot be opened",
        "check that its directory exists and who may write there",
    ),
    sqlite3.SQLITE_IOERR: (
        "reading or writing the disk failed",
        "see the kernel's log for the disk, check free space and quotas, then do it again",
    ),
}

#: By SQLSTATE, or by its class (first two characters) where the whole is not listed.
_BY_SQLSTATE = {
    "08": _CUT,
    "25006": _READ_ONLY,
    "28": (
        "the server refused the login",
        "check user and password: give the password in a file named by PGPASSFILE",
    ),
    "3D000": ("there is no such database", "create it: createdb NAME"),
    "42501": ("the user may not do this there", "make the user the owner of the database"),
    "53100": _FULL,
    "53300": ("the server has no connection left", "raise max_connections, or end idle clients"),
    "55P03": _LOCKED,
    "57P": _CUT,
    "XX001": _CORRUPT,
    "XX002": _CORRUPT,
}

_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: ("permission was denied", "check who owns the file and its directory"),
}

Redact = Callable[[str], str]


def as_sqlalchemy(error: sqlite3.Error, sql: str, dialect: Dialect) -> BaseException:
    """What SQLAlchemy would have raised; contents of policy files stay out of messages."""
    return DBAPIError.instance(
        sql, None, error, sqlite3.Error, hide_parameters=True, dialect=dialect
    )


def from_database(error: SQLAlchemyError, doing: str, where: str, redact: Redact) -> StoreError:
    """``doing`` completes "could not ...", ``where`` is the store's URL without its password."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    known = None
    if isinstance(cause, sqlite3.Error):
        # The low octet is the primary code; the others only refine it.
        known = _BY_SQLITE_CODE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    else:
        state = getattr(cause, "sqlstate", None) or ""
        known = (
            _BY_SQLSTATE.get(state) or _BY_SQLSTATE.get(state[:3]) or _BY_SQLSTATE.get(state[:2])
        )
        if known is None and isinstance(error, DBAPIError) and error.connection_invalidated:
            known = _CUT
        elif known is None and not state and isinstance(error, OperationalError):
            # libpq gives no SQLSTATE for a connection that never came about.
            known = _UNREACHABLE
    return _compose(known, str(cause), doing, where, redact)


def from_system(error: OSError, doing: str, where: str, redact: Redact) -> StoreError:
    """The same for what the operating system refused."""
    return _compose(_BY_ERRNO.get(error.errno or 0), str(error), doing, where, redact)


def from_value(error: ValueError | ArithmeticError, doing: str, where: str) -> StoreError:
    """The same for a value that no database takes, such as text that is no Unicode."""
    return StoreError(
        f"could not {doing} in the store {where}: {error}",
        hint="file names and summaries must be UTF-8, numbers must fit in 64 bits",
    )


def _compose(
    known: tuple[str, str] | None, said: str, doing: str, where: str, redact: Redact
) -> StoreError:
    said = redact(" ".join(said.split()))
    if known is None:
        return StoreError(
            f"could not {doing} in the store {where}: {said}",
            hint="see the message of the database; 'vpnctl history' shows what is stored",
        )
    what, hint = known
    return StoreError(f"could not {doing} in the store {where}: {what} ({said})", hint=hint)
