"""What the controller hears of its sessions."""

from __future__ import annotations

from typing import Protocol

from vpnctl.bgp.wire import SessionClosed, SessionOpened


class SpeakerEvents(Protocol):
    """What the controller wants to hear.  Calls come in the order of what happened.

    ``session`` numbers one established session and is never used again.  An exception raised here
    goes to the event loop's exception handler and changes nothing else.
    """

    def session_up(self, session: int, opened: SessionOpened) -> None:
        """A session is established; `updates` and `refresh` follow."""

    def session_down(self, session: int, closed: SessionClosed) -> None:
        """The session is over; nothing more is said about it."""

    def updates(self, session: int, messages: bytes) -> None:
        """One or more whole UPDATE messages with their headers, as received."""

    def refresh(self, session: int, afi: int, subtype: int, safi: int) -> None:
        """ROUTE-REFRESH received; subtype 0 asks for the routes of that family (RFC 7313)."""

    def written(self, session: int, total: int, at_ns: int) -> None:
        """The kernel has ``total`` octets of what was sent; CLOCK_MONOTONIC in nanoseconds."""

    def neighbor_state(self, name: str, state: str, reason: str) -> None:
        """The peer's state machine moved; see `vpnctl.bgp.wire.NeighborState`."""

    def process_lost(self, reason: str) -> None:
        """The session process died and is started again; every session was reported down."""

    def session_held(self, session: int, opened: SessionOpened) -> None:
        """A session is up since before we came; its peer may be sent messages after `resumed`."""

    def told(self, session: int, messages: bytes) -> None:
        """Messages that a held session's peer was sent before we came, in order, from the first."""

    def resumed(self) -> None:
        """All of what was told and heard in held sessions has been said."""

    def image_wanted(self, session: int) -> None:
        """`Speaker.image` is to be called, soon, with what was told and heard in a session."""
