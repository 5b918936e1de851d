"""Policy files of a revision: what changed, and what was there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sqlalchemy import Connection, and_, bindparam, func, select

from vpnctl.errors import StoreError
from vpnctl.store.rows import Rows
from vpnctl.store.schema import BLOBS, REVISION_FILES

_HIGHEST = (
    select(REVISION_FILES.c.path, func.max(REVISION_FILES.c.revision).label("revision"))
    .where(REVISION_FILES.c.revision <= bindparam("number"))
    .group_by(REVISION_FILES.c.path)
    .subquery()
)
_AT = (
    select(REVISION_FILES.c.path, REVISION_FILES.c.digest)
    .join(
        _HIGHEST,
        and_(
            _HIGHEST.c.path == REVISION_FILES.c.path,
            _HIGHEST.c.revision == REVISION_FILES.c.revision,
        ),
    )
    .where(REVISION_FILES.c.digest.is_not(None))
)
_AT_WITH_CONTENT = _AT.join(BLOBS, BLOBS.c.digest == REVISION_FILES.c.digest).add_columns(
    BLOBS.c.content
)
_CHANGED = (
    select(REVISION_FILES.c.path, REVISION_FILES.c.digest, BLOBS.c.content)
    .outerjoin(BLOBS, BLOBS.c.digest == REVISION_FILES.c.digest)
    .where(REVISION_FILES.c.revision == bindparam("number"))
)
_ROWS = Rows(REVISION_FILES)
_CONTENTS = Rows(BLOBS, keep=True)


def digest_of(content: bytes) -> str:
    """SHA-256 in hexadecimal, the name under which a content is kept."""
    return hashlib.sha256(content).hexdigest()


def digests_at(connection: Connection, number: int) -> dict[str, str]:
    """Digest by path of every file that is there at revision ``number``."""
    return {row.path: row.digest for row in connection.execute(_AT, {"number": number})}


def contents_at(connection: Connection, number: int) -> dict[str, bytes]:
    """Content by path of every file that is there at revision ``number``, sorted by path.

    Raises `StoreError` when a content is not what was stored.
    """
    rows = connection.execute(_AT_WITH_CONTENT, {"number": number})
    return {row.path: _verified(row.path, row.digest, row.content) for row in sorted(rows)}


def changed_in(connection: Connection, number: int) -> dict[str, bytes | None]:
    """Content by path of the files that revision ``number`` changed, None for a deleted one."""
    rows = connection.execute(_CHANGED, {"number": number})
    return {
        path: None if digest is None else _verified(path, digest, content)
        for path, digest, content in sorted(rows)
    }


def difference(
    digests: Mapping[str, str], files: Mapping[str, bytes | None]
) -> dict[str, str | None]:
    """New digest by path of those ``files`` that differ from ``digests``; None is deleted."""
    wanted = {
        path: None if content is None else digest_of(content) for path, content in files.items()
    }
    return {path: digest for path, digest in wanted.items() if digests.get(path) != digest}


def write(
    connection: Connection,
    number: int,
    changed: Mapping[str, str | None],
    files: Mapping[str, bytes | None],
) -> None:
    """Store what `difference` found as the changes of revision ``number``."""
    contents = {digest: files[path] for path, digest in changed.items() if digest is not None}
    _CONTENTS.insert(
        connection,
        [{"digest": digest, "content": content} for digest, content in contents.items()],
    )
    _ROWS.insert(
        connection,
        [{"path": path, "revision": number, "digest": digest} for path, digest in changed.items()],
    )


def _verified(path: str, digest: str, content: bytes | None) -> bytes:
    if content is None or digest_of(content) != digest:
        raise StoreError(
            f"the stored content of {path} is damaged: it is not what digest {digest[:12]} names",
            hint="restore the store from a backup; the policy directory itself is not touched",
        )
    return content
