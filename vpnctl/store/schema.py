"""The tables, and how a store of an older version becomes one of this version.

A policy file has a row in ``revision_files`` only for the revisions that changed it, so a
revision costs what it changed.  The file at revision R is the row with the highest revision that
is at most R.  Contents are kept once each, in ``blobs``, under their SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
    update,
)

from vpnctl.errors import StoreError


class UtcDateTime(TypeDecorator[datetime]):
    """An aware point in time; SQLite, which has no time zones, holds it in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


METADATA = MetaData()

SCHEMA = Table("vpnctl_schema", METADATA, Column("version", Integer, nullable=False))

JOURNAL = Table(
    "journal",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("state", Text, nullable=False, index=True),
)

REVISIONS = Table(
    "revisions",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("parent", Integer, ForeignKey("revisions.number")),
    Column("at", UtcDateTime, nullable=False),
    Column("author", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("confirm_by", UtcDateTime),
    Column("restores", Integer, ForeignKey("revisions.number")),
    Column("operation", Integer, ForeignKey("journal.id"), unique=True),
)

BLOBS = Table(
    "blobs",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

REVISION_FILES = Table(
    "revision_files",
    METADATA,
    Column("path", Text, primary_key=True),
    Column("revision", Integer, ForeignKey("revisions.number"), primary_key=True),
    Column("digest", Text, ForeignKey("blobs.digest")),
    Index("ix_revision_files_revision", "revision"),
    sqlite_with_rowid=False,
)

ALLOCATIONS = Table(
    "allocations",
    METADATA,
    Column("pool", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("released", Boolean, nullable=False),
    Column("since_revision", Integer, ForeignKey("revisions.number"), nullable=False),
    UniqueConstraint("pool", "number"),
    sqlite_with_rowid=False,
)

TIMELINE = Table(
    "timeline",
    METADATA,
    Column("revision", Integer, ForeignKey("revisions.number"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("start_ms", Double, nullable=False),
    Column("end_ms", Double, nullable=False),
    Column("detail", Text, nullable=False),
    Column("router", Text, nullable=False, server_default=""),
    sqlite_with_rowid=False,
)

#: How far a journal operation of several phases has come: a row without ``place`` says, before
#: anything of it is done, that a phase begins; the others say what came of each step where.
JOURNAL_LOG = Table(
    "journal_log",
    METADATA,
    Column("operation", Integer, ForeignKey("journal.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("phase", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    sqlite_with_rowid=False,
)


def _add_routers(connection: Connection) -> None:
    """Version 2: what was done at which router."""
    JOURNAL_LOG.create(connection)
    connection.execute(text("ALTER TABLE timeline ADD COLUMN router TEXT DEFAULT '' NOT NULL"))


#: ``MIGRATIONS[i]`` turns a store of version i + 1 into one of version i + 2.
MIGRATIONS: list[Callable[[Connection], None]] = [_add_routers]


def schema_version() -> int:
    """The version that this program writes."""
    return 1 + len(MIGRATIONS)


def stored_version(connection: Connection) -> int | None:
    """The version of the store, or None where there is none yet."""
    if not inspect(connection).has_table(SCHEMA.name):
        return None
    return connection.scalar(select(SCHEMA.c.version))


def require_current(connection: Connection, where: str) -> None:
    """Raise `StoreError` unless the store can be read by this program as it is."""
    version = stored_version(connection)
    if version is None:
        raise StoreError(
            f"{where} is not a vpnctl store: it has no table {SCHEMA.name}",
            hint="check the URL, or start the controller once: it creates its store",
        )
    _refuse_newer(version, where)
    if version < schema_version():
        raise StoreError(
            f"{where} has version {version}, this program reads version {schema_version()}",
            hint="start the controller of this version once: it brings its store up to date",
        )


def create_or_migrate(connection: Connection, where: str) -> None:
    """Create the tables, or bring them to this version, inside the caller's transaction."""
    version = stored_version(connection)
    if version is None:
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(insert(SCHEMA).values(version=schema_version()))
        return
    _refuse_newer(version, where)
    if version < schema_version():
        for migration in MIGRATIONS[version - 1 :]:
            migration(connection)
        connection.execute(update(SCHEMA).values(version=schema_version()))


def _refuse_newer(version: int, where: str) -> None:
    if version > schema_version():
        raise StoreError(
            f"{where} has version {version}, this program knows versions up to {schema_version()}",
            hint="a newer vpnctl wrote it: upgrade this one, or give it a store of its own",
        )
