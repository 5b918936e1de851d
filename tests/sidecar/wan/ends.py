"""Two ends of a transfer on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from vpnctl.sidecar.wan.acquaintance import DestinationAcquaintance, SourceAcquaintance
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.bucket import TokenBucket
from vpnctl.sidecar.wan.lifeline import Lifeline, incarnation
from vpnctl.sidecar.wan.limits import Limits
from vpnctl.sidecar.wan.meeting import Dialer, Listener
from vpnctl.sidecar.wan.messages import DESTINATION_SAYS, SOURCE_SAYS, MessageReader
from vpnctl.sidecar.wan.tls import Tls

#: What the tests send at once.
MAX_PAYLOAD = 1 << 20
QUICK = Limits(connect_s=10.0, resume_s=10.0, keepalive_s=5.0)


def tls(certificates: Path, name: str, peer: str) -> Tls:
    """Of the pair that ``vpnctl pki`` made for ``name``."""
    return Tls(
        certificates / f"{name}.pem", certificates / f"{name}.key", certificates / "ca.pem", peer
    )


def source(
    peer: Address,
    security: Tls | None = None,
    *,
    limits: Limits = QUICK,
    rate: float | None = None,
    migration: str = "m1",
    name: str = "",
    notice: Callable[[str], None] = lambda _: None,
) -> Lifeline:
    """The side that dials."""
    known = SourceAcquaintance(migration, name or incarnation(), {"offer": 1}, lambda _: None)
    return Lifeline(
        Dialer(peer, security, known),
        limits,
        TokenBucket(rate, time.monotonic()),
        MessageReader(DESTINATION_SAYS, 0),
        notice,
    )


class Destination:
    """The side that listens; ``notices``: why visitors were turned away."""

    def __init__(self, security: Tls | None = None, *, limits: Limits = QUICK) -> None:
        self.notices: list[str] = []
        self.acquaintance = DestinationAcquaintance(incarnation(), lambda offer: offer)
        self.listener = Listener(
            Address("127.0.0.1", 0), security, self.acquaintance, self.notices.append
        )
        self.lifeline = Lifeline(
            self.listener,
            limits,
            TokenBucket(None, time.monotonic()),
            MessageReader(SOURCE_SAYS, MAX_PAYLOAD),
        )


async def until(holds: Callable[[], bool]) -> None:
    """Return when something that tells nobody has come to hold."""
    while True:
        if holds():
            return
        await asyncio.sleep(0.002)
