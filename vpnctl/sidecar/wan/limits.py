"""What a migration may take of its link, and what it has taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a migration may take.

    ``window``: octets kept until the peer acknowledges them; ``queue``: octets that wait to be
    sent before the source's QEMU has to; ``connect_s``: seconds to meet the peer at first, None to
    wait for ever; ``resume_s``: seconds after a cut within which the connection must be made
    again; ``keepalive_s``: seconds of silence after which each side says that it is there; a peer
    that was silent for three times as long is given up.
    """

    window: int = 32 * 1024 * 1024
    queue: int = 256 * 1024
    connect_s: float | None = 30.0
    resume_s: float = 60.0
    keepalive_s: float = 3.0

    @property
    def silence_s(self) -> float:
        return 3 * self.keepalive_s


@dataclass(slots=True)
class Traffic:
    """Of all connections of a migration so far.

    ``sent`` and ``received``: octets of records (TLS adds 22 for each 16 KiB and some 3,000 for
    each connection); ``cuts``: connections lost; ``cut_s``: seconds without one.
    """

    sent: int = 0
    received: int = 0
    cuts: int = 0
    cut_s: float = 0.0
