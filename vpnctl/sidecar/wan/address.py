"""Where a sidecar is reached."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Self

from vpnctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Address:
    """``host``: a name or an IP address; ``port``: 0 lets the system choose, to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """``HOST:PORT``, IPv6 addresses in brackets; raises `UsageError` for anything else."""
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        bracketed = host.startswith("[") and host.endswith("]")
        known = bare and port.isascii() and port.isdecimal() and int(port) <= 65535
        if not colon or not known or (":" in bare) != bracketed:
            raise UsageError(
                f"{text!r} is no HOST:PORT",
                hint="write e.g. 192.0.2.7:4789, [2001:db8::7]:4789 or cloud2.example.net:4789",
            )
        return cls(bare, int(port))

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def check_plain(address: Address) -> None:
    """Raise `UsageError` unless octets may go to ``address`` in the clear."""
    if not address.is_loopback:
        raise UsageError(
            f"a guest's memory does not go to {address} without TLS",
            hint="give --cert, --key and --ca ('vpnctl pki' makes them); --plain is for loopback",
        )
