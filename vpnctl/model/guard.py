"""What a PE's session is guarded with: who may be at its other end, and what that may cost us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType


class Beyond(StrEnum):
    """What happens when a PE goes beyond a limit.

    ``WARN``: the operator is told; ``REFUSE``: what goes beyond is not taken in; ``SHUTDOWN``:
    the session ends with a Cease (RFC 4486) and stays down for a while.
    """

    WARN = "warn"
    REFUSE = "refuse"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is to be had, never the secret: exactly one of the three is not empty.

    ``file``: a path; ``environment``: a variable of the controller's environment; ``command``: a
    program with its arguments, whose standard output is the secret.
    """

    file: str = ""
    environment: str = ""
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.file:
            return f"file {self.file}"
        return (
            f"environment {self.environment}" if self.environment else f"command {self.command[0]}"
        )


class AoAlgorithm(StrEnum):
    """How segments are authenticated: the two of RFC 5926, and what Linux has beside them."""

    AES_CMAC = "aes-128-cmac-96"
    HMAC_SHA1 = "hmac-sha-1-96"
    HMAC_SHA256 = "hmac-sha-256-128"


@dataclass(frozen=True, slots=True)
class AoKey:
    """A Master Key Tuple (RFC 5925 section 3.1) without its key.

    ``send`` and ``receive``: SendID and RecvID, 0 to 255; ``secret``: where the key is.
    """

    send: int
    receive: int
    algorithm: AoAlgorithm
    secret: Secret


#: Octets that one session's routes may take in memory unless the policy says otherwise.
DEFAULT_MEMORY = 1024 << 20


@dataclass(frozen=True, slots=True)
class Guard:
    """How one PE's session is guarded.

    ``md5``: the key of its TCP segments (RFC 2385), None for none.  ``tcp_ao``: keys of TCP-AO
    (RFC 5925), the first one preferred, empty for none; never both.  ``hops``: how many hops away
    the PE may be (RFC 5082), None for any.  ``routes``: name of a family -> most routes of it;
    ``warn``: the share of that at which the operator is told, in percent.  ``paths``: most sets
    of attributes, None for any; ``memory``: most octets for all its routes, about.  ``restart``:
    seconds until a session that was shut down may come back, 0 for never.  ``next_hops``:
    networks its next hops must be of, empty for any.  ``as_path``: most AS numbers in an AS_PATH,
    None for any; ``first_as``: an external PE's AS_PATH must begin with its own AS.
    """

    md5: Secret | None = None
    tcp_ao: tuple[AoKey, ...] = ()
    hops: int | None = None
    routes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    warn: int = 80
    beyond: Beyond = Beyond.SHUTDOWN
    restart: int = 300
    paths: int | None = None
    memory: int = DEFAULT_MEMORY
    next_hops: tuple[IPv4Network | IPv6Network, ...] = ()
    as_path: int | None = None
    first_as: bool = False
