"""What passes between who makes connections and who uses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from vpnctl.sidecar.wan.connection import Connection, ConnectionEvent
from vpnctl.sidecar.wan.greeting import Greeting
from vpnctl.sidecar.wan.stream import Stream


class CutError(Exception):
    """A connection is of no more use, or was not made; the next one may be."""


@dataclass(frozen=True, slots=True)
class Met:
    """A connection on which the peer has greeted; ``rest``: what the peer said behind its greeting,
    to be read once the connection is open."""

    stream: Stream
    connection: Connection
    peer: Greeting
    rest: Iterator[ConnectionEvent]


class Meeting(Protocol):
    """Where connections come from, see `vpnctl.sidecar.wan.meeting`."""

    async def meet(self, received: int) -> Met:
        """The next connection; ``received``: octets of the peer's stream that have arrived.

        Raises `CutError` when there was none and to try again makes sense, `SidecarError` when
        not.
        """

    async def replaced(self) -> None:
        """Return when the peer has come again, because it lost the present connection."""

    async def close(self) -> None:
        """Meet nobody any more."""
