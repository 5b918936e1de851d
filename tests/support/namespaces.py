"""Network namespaces for tests, and sockets in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TypeVar

import pytest

from vpnctl.lab.namespaces import create, remove, routing
from vpnctl.lab.namespaces import within as inside

T = TypeVar("T")
_numbers = count(1)


def require_root() -> None:
    """Skip the test unless it may make namespaces."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")


@contextmanager
def namespaces(many: int) -> Iterator[tuple[str, ...]]:
    """Fresh namespaces with loopback up, gone in the end with all devices in them."""
    require_root()
    with ExitStack() as stack:
        names = tuple(f"ns-test-{os.getpid()}-{next(_numbers)}" for _ in range(many))
        for name in names:
            create(name)
            stack.callback(remove, name)
            with routing(name) as netlink:
                netlink.link("set", index=1, state="up")
        yield names


def add_address(namespace: str, interface: str, address: str) -> None:
    """``address``: with its prefix length."""
    host, _, length = address.partition("/")
    with routing(namespace) as netlink:
        (index,) = netlink.link_lookup(ifname=interface)
        netlink.addr("add", index=index, address=host, prefixlen=int(length))


def devices(namespace: str) -> set[str]:
    """Names of the devices in a namespace, without ``lo``."""
    with routing(namespace) as netlink:
        return {link.get_attr("IFLA_IFNAME") for link in netlink.get_links()} - {"lo"}


def within(namespace: str, do: Callable[[], T]) -> T:
    """``do()`` in the namespace; a socket that it returns stays there."""
    with inside(namespace):
        return do()
