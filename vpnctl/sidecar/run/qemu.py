"""QEMU's end of a migration: a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from vpnctl.errors import SidecarError, UsageError

#: Octets of ``sun_path`` on Linux, less the closing zero.
_LONGEST_PATH = 107


@contextlib.contextmanager
def unix_listener(path: Path) -> Iterator[socket.socket]:
    """A unix socket at ``path`` that only its owner can connect to; removed at the end.

    Raises `UsageError` when there is something already, or the socket cannot be made.
    """
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise UsageError(
            f"the socket's path is longer than {_LONGEST_PATH} octets: {path}",
            hint="choose a shorter one",
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise UsageError(
                f"no socket can be made at {path}: {error.strerror}",
                hint="choose another path; a socket that a killed sidecar left may be removed",
            ) from error
        finally:
            os.umask(before)
        try:
            listener.listen(8)
            listener.setblocking(False)
            yield listener
        finally:
            path.unlink(missing_ok=True)
    finally:
        listener.close()


async def accepted(listener: socket.socket) -> socket.socket:
    """The first one who connects."""
    qemu, _ = await asyncio.get_running_loop().sock_accept(listener)
    return qemu


async def connected(path: Path) -> socket.socket:
    """A connection to QEMU listening at ``path``; raises `SidecarError` when nobody does."""
    qemu = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    qemu.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(qemu, str(path))
    except OSError as error:
        qemu.close()
        raise SidecarError(
            f"the destination's QEMU cannot be reached at {path}: {os.strerror(error.errno or 0)}",
            hint=f"start it with -incoming unix:{path}, or give its socket with --qemu",
        ) from error
    except BaseException:
        qemu.close()
        raise
    return qemu


def half_close(qemu: socket.socket) -> None:
    """Tell QEMU that no more octets will come."""
    with contextlib.suppress(OSError):
        qemu.shutdown(socket.SHUT_WR)
