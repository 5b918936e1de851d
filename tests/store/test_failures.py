"""What goes wrong under a store: it says so, keeps what it had, and goes on afterwards."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Engine, event

from tests.store.commits import commit, target
from tests.support.postgres import PostgresServer, refused_soon
from vpnctl.errors import StoreError
from vpnctl.store import Store

BIG = os.urandom(4_000_000)


def _fails_whole_and_goes_on(store: Store, make_room: Callable[[], object]) -> None:
    """A commit that does not fit leaves nothing behind; one that fits is taken."""
    commit(store, None, {"e1.yaml": b"one"}, [target("E1/hq", 100)])
    with pytest.raises(StoreError, match="its disk is full") as refused:
        commit(store, 1, {"e1.yaml": BIG}, [target("E1/hq", 101)], journal={"files": ["e1.yaml"]})
    assert "free some space" in refused.value.hint
    assert store.latest() == store.revision(1)
    assert store.files(1) == {"e1.yaml": b"one"}
    assert store.allocations() == (target("E1/hq", 100),)
    assert store.pending() == ()
    make_room()
    commit(store, 1, {"e1.yaml": BIG}, [target("E1/hq", 101)])
    assert store.files(2) == {"e1.yaml": BIG}
    assert store.check() == ()


def test_a_full_database_file(
    sqlite_url: str, sqlite_connections: list[sqlite3.Connection]
) -> None:
    with Store.open(sqlite_url) as store:
        (connection,) = sqlite_connections
        connection.execute("PRAGMA max_page_count = 100")
        _fails_whole_and_goes_on(
            store, lambda: connection.execute("PRAGMA max_page_count = 100000")
        )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    with Store.open(f"sqlite:///{small_disk}/store.db") as store:
        grow = ["mount", "-o", "remount,size=32m", str(small_disk)]
        _fails_whole_and_goes_on(store, lambda: subprocess.run(grow, check=True))


def test_a_read_only_disk(small_disk: Path) -> None:
    Store.open(f"sqlite:///{small_disk}/store.db").close()
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    with pytest.raises(StoreError, match="it is read-only"):
        Store.open(f"sqlite:///{small_disk}/store.db")


def test_another_program_that_holds_the_database(
    sqlite_url: str, sqlite_connections: list[sqlite3.Connection]
) -> None:
    with Store.open(sqlite_url) as store:
        commit(store, None)
        sqlite_connections[0].execute("PRAGMA busy_timeout = 1")
        stranger = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program holds a lock"):
            commit(store, 1)
        stranger.execute("ROLLBACK")
        stranger.close()
        assert commit(store, 1).number == 2


def test_an_interrupt_between_commit_and_return_leaves_the_store_true(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        commit(store, None)

        def commit_then_interrupt(connection: SqlConnection) -> None:
            connection.exec_driver_sql("COMMIT")
            raise KeyboardInterrupt

        event.listen(Engine, "commit", commit_then_interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                commit(store, 1, {"e1.yaml": b"taken"}, [target("E1/hq", 100)])
        finally:
            event.remove(Engine, "commit", commit_then_interrupt)
        assert store.files(2) == {"e1.yaml": b"taken"}
        assert store.allocations() == (target("E1/hq", 100),)
        assert commit(store, 2).number == 3


def test_a_damaged_file_is_found_by_the_check(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with Store.open(sqlite_url) as store:
        commit(store, None, {"e1.yaml": b"the quick brown fox"})
    path.write_bytes(path.read_bytes().replace(b"quick brown", b"QUICK brown"))
    with Store.open(sqlite_url) as store:
        (problem,) = store.check()
        assert "the content stored under" in problem
        with pytest.raises(StoreError, match=r"stored content of e1\.yaml is damaged"):
            store.files(1)
        assert commit(store, 1, {"e2.yaml": b""}).number == 2


def test_a_file_of_garbage_pages_is_reported(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with Store.open(sqlite_url) as store:
        commit(store, None, {"e1.yaml": bytes(20_000)})
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(StoreError, match="the database is damaged") as refused:
        Store.open(sqlite_url).latest()
    assert "backup" in refused.value.hint


@pytest.mark.daemon
def test_a_postgresql_server_that_restarts(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    with Store.open(url) as store:
        commit(store, None, allocations=[target("E1/hq", 100)])
        postgres_server.stop()
        try:
            with pytest.raises(StoreError, match="cannot be reached"):
                store.latest()
            with pytest.raises(StoreError, match="cannot be reached"):
                commit(store, 1, allocations=[])
        finally:
            postgres_server.start()
        assert store.allocations() == (target("E1/hq", 100),)
        assert commit(store, 1).number == 2
        postgres_server.restart()
        assert commit(store, 2).number == 3
        with refused_soon(), pytest.raises(StoreError, match="another controller"):
            Store.open(url)


@pytest.mark.daemon
def test_a_postgresql_connection_cut_in_the_middle_of_a_commit(
    postgres_server: PostgresServer,
) -> None:
    with Store.open(postgres_server.create_database()) as store:
        commit(store, None)

        def cut_while_allocating() -> Iterator[object]:
            postgres_server.restart()
            yield target("E1/hq", 100)

        with pytest.raises(StoreError, match="connection to the server was lost") as refused:
            commit(store, 1, {"e1.yaml": b"one"}, cut_while_allocating())  # type: ignore[arg-type]
        assert "vpnctl history" in refused.value.hint
        assert store.allocations() == ()
        assert commit(store, 1, {"e1.yaml": b"one"}).number == 2


@pytest.mark.daemon
def test_a_controller_that_lost_its_lock_to_another_cannot_write(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.create_database()
    with Store.open(url) as first:
        commit(first, None)
        postgres_server.restart()
        with Store.open(url) as second:
            with refused_soon(), pytest.raises(StoreError, match="another controller"):
                commit(first, 1)
            commit(second, 1, {"e1.yaml": b"second"}, [target("E1/hq", 100)])
        assert first.allocations() == (target("E1/hq", 100),)
        assert commit(first, 2, {"e1.yaml": b"first"}).number == 3
