"""Opening a store: where it lives, who may use it, which versions are understood."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, create_engine, inspect, text

from tests.store.commits import commit
from tests.support.postgres import PostgresServer, refused_soon
from vpnctl.errors import StoreError
from vpnctl.store import Step, Store, schema


def _sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def test_a_second_controller_is_refused_until_the_first_is_gone(url: str) -> None:
    with Store.open(url) as first:
        with refused_soon(), pytest.raises(StoreError, match="another controller") as refused:
            Store.open(url)
        assert "stop the other one" in refused.value.hint
        commit(first, None)
    with Store.open(url) as second:
        assert commit(second, 1).number == 2


def test_the_refusal_names_the_process_that_holds_a_sqlite_store(sqlite_url: str) -> None:
    with Store.open(sqlite_url), pytest.raises(StoreError, match=rf"\(process {os.getpid()}\)"):
        Store.open(sqlite_url)


def test_another_name_of_the_same_file_shares_its_lock(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "store.db")
    with (
        Store.open(f"sqlite:///{tmp_path}/store.db"),
        pytest.raises(StoreError, match="another controller"),
    ):
        Store.open(f"sqlite:///{tmp_path}/link.db")


def test_a_reader_follows_the_writer_and_cannot_write(url: str) -> None:
    with Store.open(url) as writer, Store.open(url, read_only=True) as reader:
        assert reader.latest() is None
        commit(writer, None, {"e1.yaml": b"one"})
        assert reader.files(1) == {"e1.yaml": b"one"}
        assert reader.allocations() == ()
        assert reader.check() == ()
        with pytest.raises(StoreError, match="opened for reading only"):
            commit(reader, 1)
        assert commit(writer, 1).number == 2


def test_a_reader_creates_nothing(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store|is not a vpnctl store"):
        Store.open(url, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_new_sqlite_store_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "vpnctl" / "store.db"
    with Store.open(f"sqlite:///{path}") as store:
        commit(store, None)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert {file.name for file in path.parent.iterdir()} >= {"store.db", "store.db-wal"}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.latest()


def test_a_store_of_a_newer_version_is_refused(url: str) -> None:
    Store.open(url).close()
    engine = create_engine(_sqlalchemy_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE vpnctl_schema SET version = 99"))
    engine.dispose()
    for read_only in (False, True):
        with pytest.raises(StoreError, match="has version 99") as refused:
            Store.open(url, read_only=read_only)
        assert "upgrade" in refused.value.hint


def test_a_store_of_an_older_version_is_migrated_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(url) as store:
        commit(store, None)

    def add_table(connection: Connection) -> None:
        Table("extra", MetaData(), Column("id", Integer)).create(connection)

    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, add_table])
    with pytest.raises(StoreError, match="has version 2, this program reads version 3"):
        Store.open(url, read_only=True)
    for _ in range(2):
        with Store.open(url) as store:
            assert store.latest() is not None
    engine = create_engine(_sqlalchemy_url(url))
    assert inspect(engine).has_table("extra")
    engine.dispose()


def test_a_store_of_version_1_learns_of_routers_and_forgets_nothing(url: str) -> None:
    with Store.open(url) as store:
        commit(store, None)
        store.record_timeline(1, [Step("stored", 0.0, 1.0)])
    engine = create_engine(_sqlalchemy_url(url))
    with engine.begin() as connection:
        for statement in (
            "DROP TABLE journal_log",
            "ALTER TABLE timeline DROP COLUMN router",
            "UPDATE vpnctl_schema SET version = 1",
        ):
            connection.execute(text(statement))
    engine.dispose()
    with Store.open(url) as store:
        assert store.timeline(1) == (Step("stored", 0.0, 1.0),)
        operation = store.journal_begin("provision", {}, "prepare")
        assert [entry.phase for entry in store.journal_log(operation)] == ["prepare"]


def test_a_failed_migration_leaves_the_store_as_it_was(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(url) as store:
        commit(store, None)

    def half(connection: Connection) -> None:
        connection.execute(text("DELETE FROM revisions"))
        connection.execute(text("SELECT * FROM no_such_table"))

    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, half])
        with pytest.raises(StoreError, match="could not open the tables"):
            Store.open(url)
    with Store.open(url) as store:
        assert commit(store, 1).number == 2


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/db",
        "postgresql+psycopg2://u:hunter2@h/db",
        "postgresql://u:hunter2@h:port/db",
        "hunter2",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_a_url_that_no_store_can_have_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        Store.open(url)
    assert "sqlite:///" in refused.value.hint
    assert "hunter2" not in str(refused.value)


def test_no_password_stands_in_messages_or_in_the_representation(tmp_path: Path) -> None:
    url = f"postgresql://u:hunter2@/db?host={tmp_path}&sslpassword=hunter%203"
    with pytest.raises(StoreError, match="cannot be reached or refused the login") as refused:
        Store.open(url)
    assert "PGPASSFILE" in refused.value.hint
    shown = refused.value.message + repr(refused.value.__cause__)
    assert "hunter" not in shown
    assert "u:***@" in refused.value.message


@pytest.mark.daemon
def test_a_password_comes_from_the_file_that_pgpassfile_names(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.create_database(password="s3cr:t")
    with pytest.raises(StoreError, match="refused the login"):
        Store.open(url)
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:*:s3cr\\:t\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    with Store.open(url) as store:
        assert commit(store, None).number == 1
        assert "s3cr" not in repr(store)


@pytest.mark.daemon
def test_a_missing_postgresql_database_is_named(
    postgres_server: PostgresServer,
) -> None:
    with pytest.raises(StoreError, match='database "nowhere" does not exist'):
        Store.open(postgres_server.url("nowhere"))


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk\n" * 100)
    with pytest.raises(StoreError, match="it is no SQLite database"):
        Store.open(f"sqlite:///{path}")
    assert path.read_text() == "remember the milk\n" * 100


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="could not open the file"):
        Store.open(f"sqlite:///{tmp_path}/file/store.db")


def test_sqlite_waits_for_the_disk_before_a_commit_returns(
    sqlite_url: str, sqlite_connections: list[sqlite3.Connection]
) -> None:
    with Store.open(sqlite_url):
        (connection,) = sqlite_connections
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
