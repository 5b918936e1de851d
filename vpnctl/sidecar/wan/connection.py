"""One TCP connection between two sidecars: bytes in, events out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.wan import records
from vpnctl.sidecar.wan.greeting import Greeting
from vpnctl.sidecar.wan.records import PREFACE, Kind, RecordReader
from vpnctl.sidecar.wan.transfer import Transfer

#: An acknowledgement is sent when so many octets have arrived since the last one; a window is
#: many times as large.
ACK_EVERY = 1024 * 1024
#: With octets that go to the peer anyway, one goes along if so many have arrived: what comes alone
#: wakes the peer up.
ACK_ALONG = 64 * 1024


class State(Enum):
    """How far a connection is."""

    MEETING = "meeting"  # nothing was heard of the peer
    MET = "met"  # the peer has greeted; whether to go on with it is being decided
    OPEN = "open"  # the streams go on
    ENDED = "ended"  # the peer said goodbye, or why it gave up


class Input(Enum):
    """What can happen to a connection, beside the kinds of records."""

    OPENED = "opened"


#: What may come in which state, and the state after it.  All else is a peer that lies.
TRANSITIONS: Mapping[tuple[State, Kind | Input], State] = MappingProxyType(
    {
        (State.MEETING, Kind.GREETING): State.MET,
        (State.MEETING, Kind.ABORT): State.ENDED,
        (State.MET, Input.OPENED): State.OPEN,
        (State.OPEN, Kind.SEGMENT): State.OPEN,
        (State.OPEN, Kind.ACK): State.OPEN,
        (State.OPEN, Kind.ALIVE): State.OPEN,
        (State.OPEN, Kind.BYE): State.ENDED,
        (State.OPEN, Kind.ABORT): State.ENDED,
    }
)


@dataclass(frozen=True, slots=True)
class PeerGreeted:
    """The peer told who it is; ``received``: octets of our stream that it has."""

    greeting: Greeting
    received: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """The next octets of the peer's stream."""

    octets: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The peer has more of our stream than was known; `Transfer` knows how much."""


@dataclass(frozen=True, slots=True)
class PeerAborted:
    """The peer gave the migration up, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """The peer has all it wanted and closes."""


ConnectionEvent: TypeAlias = PeerGreeted | Arrived | Acknowledged | PeerAborted | PeerLeft


class Connection:
    """One end of a connection.

    Put what arrives into `room`, `receive` it, and send what `next_record` gives.  Raises
    `SidecarProtocolError` on anything a sidecar does not say at that point; the connection, and
    the migration with it, is of no use afterwards.
    """

    def __init__(self) -> None:
        self.state = State.MEETING
        self._reader = RecordReader()
        self._transfer: Transfer | None = None
        self._peer_has = 0
        self._told = 0
        self._control: deque[bytes] = deque([PREFACE])

    def greet(self, greeting: Greeting, received: int) -> None:
        """Say who we are; ``received``: octets of the peer's stream that have arrived."""
        self._say(records.encode(Kind.GREETING, received, greeting.to_json()))

    def open(self, transfer: Transfer) -> None:
        """Go on with ``transfer`` where the peer says it stopped."""
        self._move(Input.OPENED)
        transfer.resume(self._peer_has)
        self._transfer = transfer
        self._told = transfer.received

    def alive(self) -> None:
        """Tell the peer that we are there."""
        self._acknowledge()
        self._say(records.encode(Kind.ALIVE))

    def leave(self) -> None:
        """Tell the peer that all is done."""
        assert self._transfer is not None
        self._say(records.encode(Kind.BYE, self._transfer.received))

    def abort(self, reason: str) -> None:
        """Tell the peer, before any further segment, that the migration is over."""
        text = reason.encode(errors="replace")[: records.MAX_REASON]
        self._say(records.encode(Kind.ABORT, 0, text))

    @property
    def wants_to_send(self) -> bool:
        """Whether `next_record` gives any."""
        return bool(self._control) or (self._transfer is not None and self._transfer.unsent > 0)

    def next_record(self, limit: int) -> tuple[bytes | memoryview, ...]:
        """What to send next, in parts; empty if there is nothing.

        Segments have at most ``limit`` octets.
        """
        if self._control:
            return (self._control.popleft(),)
        if self._transfer is None or not self._transfer.unsent:
            return ()
        if self._transfer.received - self._told >= ACK_ALONG:
            self._acknowledge()
        offset, parts = self._transfer.take(limit)
        segment = records.in_parts(Kind.SEGMENT, offset, *parts)
        return (self._control.popleft(), *segment) if self._control else segment

    def last_words(self) -> bytes:
        """What was said and not sent, but for segments: nothing follows an abort or a goodbye."""
        words = b"".join(self._control)
        self._control.clear()
        return words

    def room(self) -> memoryview:
        """Where what the peer says next is to be put, at least one octet."""
        return self._reader.room()

    def receive(self, count: int) -> Iterator[ConnectionEvent]:
        """What the peer said in ``count`` octets that were put into `room`.

        Exhaust the iterator before the next call of either.
        """
        for record in self._reader.filled(count):
            self._move(record.kind)
            match record.kind:
                case Kind.GREETING:
                    self._peer_has = record.offset
                    yield PeerGreeted(Greeting.from_json(bytes(record.payload)), record.offset)
                case Kind.SEGMENT:
                    yield self._segment(record.offset, record.payload)
                case Kind.ACK:
                    self._open_transfer().acknowledge(record.offset)
                    yield Acknowledged()
                case Kind.ABORT:
                    yield PeerAborted(_printable(bytes(record.payload)))
                case Kind.BYE:
                    self._open_transfer().acknowledge(record.offset)
                    yield PeerLeft()
                case Kind.ALIVE:
                    pass

    def _segment(self, offset: int, payload: bytes | memoryview) -> Arrived:
        if not payload:
            raise SidecarProtocolError("the peer sent an empty segment")
        transfer = self._open_transfer()
        transfer.arrived(offset, len(payload))
        if transfer.received - self._told >= ACK_EVERY:
            self._acknowledge()
        return Arrived(payload)

    def _acknowledge(self) -> None:
        transfer = self._transfer
        if transfer is not None and transfer.received > self._told:
            self._told = transfer.received
            self._say(records.encode(Kind.ACK, self._told))

    def _say(self, record: bytes) -> None:
        self._control.append(record)

    def _open_transfer(self) -> Transfer:
        assert self._transfer is not None
        return self._transfer

    def _move(self, what: Kind | Input) -> None:
        after = TRANSITIONS.get((self.state, what))
        if after is None:
            raise SidecarProtocolError(
                f"the peer sent {what.name}, which makes no sense while {self.state.value}"
            )
        self.state = after


def _printable(text: bytes) -> str:
    """A peer's words, fit for a terminal."""
    words = text.decode(errors="replace")
    return "".join(sign if sign.isprintable() else " " for sign in words).strip() or "no reason"
