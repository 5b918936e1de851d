"""This thread in other network namespaces: by name, or in one that nobody else sees.

Nothing here forks.  pyroute2 does, where it is given a namespace's name: the child would run our
signal handlers and, should one raise, all that is to be done on the way out.  Nothing here is
interrupted either: this thread would be left in the wrong namespace, or pyroute2 with half an
answer.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute, netns

from vpnctl.lab.undisturbed import undisturbed

#: Where ``ip netns`` and the lab keep namespaces by name.
NAMESPACES = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def within(namespace: str) -> Iterator[None]:
    """In a namespace for a while; sockets that are opened meanwhile stay there.

    Raises `OSError` where there is none of that name, or no right to enter it.
    """
    with undisturbed():
        # By a descriptor: a name that does not exist pyroute2 would make.
        descriptor = os.open(NAMESPACES / namespace, os.O_RDONLY)
        try:
            netns.pushns(descriptor)
        finally:
            os.close(descriptor)
        try:
            yield
        finally:
            netns.popns()


@contextmanager
def apart() -> Iterator[None]:
    """In a fresh namespace without a name for a while: it is gone afterwards, or when we are.

    Raises `OSError` where there is no right to make one.
    """
    with undisturbed():
        netns.pushns()
        try:
            _unshare()
            yield
        finally:
            netns.popns()


@contextmanager
def routing(namespace: str) -> Iterator[IPRoute]:
    """A netlink socket in a namespace; raises `OSError` as `within`, and `NetlinkError`."""
    with undisturbed():
        with within(namespace):
            netlink = IPRoute()
        with netlink:
            yield netlink


def create(namespace: str) -> None:
    """Make a namespace; raises `OSError` where there is one already, or no right to."""
    with apart():
        netns.attach(namespace, threading.get_native_id())


def remove(namespace: str) -> None:
    """Remove a namespace with everything in it; fine where there is none."""
    try:
        netns.remove(namespace)
    except FileNotFoundError:
        return
    except OSError:
        # Made, but not yet mounted, by somebody who was killed: a file is left.
        (NAMESPACES / namespace).unlink(missing_ok=True)


def identity(namespace: str) -> int | None:
    """The inode of a namespace, as in ``/proc/PID/ns/net``; `None` where there is none."""
    try:
        return os.stat(NAMESPACES / namespace).st_ino  # noqa: PTH116  as for processes
    except OSError:
        return None


def own_identity() -> int:
    """The inode of the namespace that this thread is in."""
    return os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116  as for others


def _unshare() -> None:
    if _LIBC.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "network namespace")
