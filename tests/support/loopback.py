"""Addresses in 127.0.0.0/8 that no other test uses at the same time."""

from __future__ import annotations

import secrets
import socket


def loopback_address() -> str:
    """One of 16 million, so that tests at the same time do not meet."""
    octets = 1 + secrets.randbelow(254), secrets.randbelow(256), 1 + secrets.randbelow(254)
    return "127." + ".".join(map(str, octets))


def free_port(address: str) -> int:
    """A TCP port that was free a moment ago; with a fresh address it stays so."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as sock:
        return int(sock.getsockname()[1])
