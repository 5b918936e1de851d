"""Addresses in 127.0.0.0/8 that no other test uses at the same time."""

from __future__ import annotations

import itertools
import os
import socket

_counter = itertools.count(1)


def loopback_address() -> str:
    """A fresh one: the process chooses two octets, a counter the last."""
    pid, count = os.getpid(), next(_counter)
    return f"127.{1 + (pid + count // 250) % 254}.{pid // 254 % 256}.{1 + count % 250}"


def free_port(address: str) -> int:
    """A TCP port that was free a moment ago; with a fresh address it stays so."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as sock:
        return int(sock.getsockname()[1])
