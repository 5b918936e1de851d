"""A private PostgreSQL server for a test session: unix socket only, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from vpnctl.store import database

_TIMEOUT_S = 60
_LOCK_TIMEOUT_MS = database._LOCK_TIMEOUT_MS
_USER = "vpnctl"


def _binaries() -> Path | None:
    """Debian's directory of the newest server, or that of a server on PATH."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class PostgresServer:
    """A server of its own in ``directory``, which also holds its socket."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        self._binaries = binaries
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._numbers = count(1)
        # The server refuses to run as root.
        self._as_user: dict[str, object] = {"cwd": directory}
        if os.geteuid() == 0:
            account = _unprivileged_account()
            os.chown(directory, account.pw_uid, account.pw_gid)
            self._as_user |= {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": [],
            }
        self._run(
            "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync",
            f"--username={_USER}", f"--pgdata={directory / 'data'}",
        )  # fmt: skip
        (directory / "data" / "pg_hba.conf").write_text(
            f"local all {_USER} trust\nlocal all all scram-sha-256\n"
        )

    def start(self) -> None:
        """Returns when the server takes connections."""
        ready = threading.Event()
        self._process = subprocess.Popen(
            [
                str(self._binaries / "postgres"), "-D", str(self._directory / "data"),
                "-c", "listen_addresses=", "-c", f"unix_socket_directories={self._directory}",
                "-c", "fsync=off", "-c", "max_connections=20", "-c", "shared_buffers=16MB",
            ],
            stderr=subprocess.PIPE, text=True, **self._as_user,  # type: ignore[call-overload]
        )  # fmt: skip
        assert self._process is not None
        threading.Thread(target=self._follow, args=(self._process, ready), daemon=True).start()
        if not ready.wait(_TIMEOUT_S) or self._process.poll() is not None:
            self.stop()
            raise RuntimeError("PostgreSQL did not start:\n" + "".join(self._log[-30:]))

    def stop(self) -> None:
        """Ends every session and then the server; to stop it twice is fine."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.discard()
        self._process = None

    def discard(self) -> None:
        """Ends the server without leaving its files in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_TIMEOUT_S)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def url(self, database: str, user: str = _USER) -> str:
        return f"postgresql://{user}@/{database}?host={self._directory}"

    def create_database(self, *, password: str | None = None) -> str:
        """A new empty database; gives its URL.

        With ``password``, it belongs to a user of its own who has to give it.
        """
        name = f"store_{os.getpid()}_{next(self._numbers)}"
        owner = _USER
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if password is not None:
                owner = f"owner_of_{name}"
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(owner), sql.Literal(password)
                    )
                )
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(owner)
                )
            )
        return self.url(name, owner)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            capture_output=True, text=True, timeout=_TIMEOUT_S, **self._as_user,  # type: ignore[call-overload]
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")

    def _follow(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self._log.append(line)
                if "ready to accept connections" in line:
                    ready.set()
        # The end of the log is the end of the server: nobody has to wait any longer.
        ready.set()


def wait_long() -> None:
    """From now on stores of this process wait for who had theirs, however late its session ends.

    A server that is short of time needs seconds to end the session of a controller that is gone.
    """
    database._LOCK_TIMEOUT_MS = 1000 * _TIMEOUT_S


@contextmanager
def refused_soon() -> Iterator[None]:
    """Stores wait only as long as the controller's do: somebody has theirs and keeps it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "_LOCK_TIMEOUT_MS", _LOCK_TIMEOUT_MS)
        yield


def _unprivileged_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server with no database but its own; skips where PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("not installed: PostgreSQL (apt-get install postgresql)")
    # Not pytest's own directory: the server's user must be able to enter it, and the path of a
    # unix socket has at most 107 octets.
    with tempfile.TemporaryDirectory(prefix="vpnctl-pg-", ignore_cleanup_errors=True) as directory:
        server = PostgresServer(binaries, Path(directory))
        try:
            server.start()
            wait_long()
            yield server
        finally:
            server.discard()
