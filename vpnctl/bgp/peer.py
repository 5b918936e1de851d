"""One configured peer, as the session process's loop knows it."""

from __future__ import annotations

import socket
from typing import Protocol

from vpnctl.bgp.session import MustNotify, Session
from vpnctl.bgp.wire import NeighborConfig


class Peer(Protocol):
    """What the loop asks of it; `exabgp_session` makes one."""

    config: NeighborConfig
    session: Session | None

    def interest(self) -> tuple[int, int]:
        """File descriptor (-1 for none) and events to wait for."""

    def advance(self, events: int) -> bool:
        """Do what there is to do; True when the peer was retired and all is done."""

    def accept(self, sock: socket.socket) -> None:
        """The peer has connected."""

    def retire(self, cause: MustNotify) -> None:
        """End the session with this NOTIFICATION and never come back."""

    def end_session(self, cause: MustNotify) -> None:
        """End the session with this NOTIFICATION; another may follow."""

    def abandon(self, reason: str) -> None:
        """Drop every connection at once."""

    def rekey(self, config: NeighborConfig) -> None:
        """Go on with another key, connections included; `OSError` where that cannot be."""
