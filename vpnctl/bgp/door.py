"""Where a controller attaches to a session process that outlived the one before.

A unix socket in a directory that is the user's alone.  Both ends ask the kernel who the other one
is, and go on only with a process of the same user, or of root's.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

from vpnctl.errors import SessionProcessError

#: Octets of ``sun_path`` on Linux, less the closing zero.
_LONGEST_PATH = 107
_NAME = "s"
#: Seconds that a session process may take to let somebody in.
_PATIENCE = 5.0
#: struct ucred: process, user, group.
_CREDENTIALS = struct.Struct("=iII")


def prepare(directory: Path) -> None:
    """Make the directory, for nobody but us.  Raises `SessionProcessError`."""
    path = directory / _NAME
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise SessionProcessError(
            f"the path of the sessions' socket is longer than {_LONGEST_PATH} octets: {path}",
            hint="choose a shorter one with --socket, or give --keep-sessions 0",
        )
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise SessionProcessError(
            f"{directory} cannot be made: {error.strerror}",
            hint="choose another path with --socket, or give --keep-sessions 0",
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SessionProcessError(
            f"{directory} is no directory of yours alone, so BGP sessions cannot be kept there",
            hint=f"remove it, or make it yours: chmod 700 {directory}",
        )


def knock(directory: Path) -> tuple[socket.socket, int] | None:
    """A connection to the session process that listens there, and its number; None for none.

    Raises `SessionProcessError` where it is somebody else's.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(_PATIENCE)
    try:
        sock.connect(os.fspath(directory / _NAME))
        process, user = _other_end(sock)
    except OSError:
        sock.close()
        return None
    if user not in (os.geteuid(), 0):
        sock.close()
        raise SessionProcessError(
            f"the process at {directory} belongs to user {user}",
            hint="choose another path with --socket",
        )
    return sock, process


def _other_end(sock: socket.socket) -> tuple[int, int]:
    """Process and user at the other end of a unix socket."""
    octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(octets)
    return process, user


class Door:
    """The session process's end: listens in a directory that `prepare` made.

    Raises `OSError` when that cannot be.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _NAME
        # Whoever was here before is dead: its controller found nobody at home.
        self._path.unlink(missing_ok=True)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._sock.bind(os.fspath(self._path))
        finally:
            os.umask(before)
        self._inode = self._path.lstat().st_ino
        self._sock.listen(4)
        self._sock.setblocking(False)

    def fileno(self) -> int:
        return self._sock.fileno()

    def accept(self) -> socket.socket | None:
        """Who knocks, if that is one of us."""
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return None
        try:
            _, user = _other_end(sock)
        except OSError:
            user = -1
        if user not in (os.geteuid(), 0):
            sock.close()
            return None
        return sock

    def close(self) -> None:
        self._sock.close()
        try:
            # Unless it is the next process's.
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
                self._path.parent.rmdir()
        except OSError:
            pass  # somebody has cleared up already, or keeps things there
