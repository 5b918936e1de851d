"""One established session: read, write, timers and back-pressure; no ExaBGP and no loop.

Whoever owns a `Session` calls `read` and `write` when the socket is ready and `check_timers` now
and then.  A session ends by one of the exceptions below, raised from any of these.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from vpnctl.bgp import hard_reset
from vpnctl.bgp.messages import MessageType, notification, split
from vpnctl.bgp.outbox import Outbox
from vpnctl.bgp.wire import NOTIFY, REFRESH, Kind

#: Octets read from a peer at once.
READ_SIZE = 256 * 1024
#: Octets written to one peer before the others get their turn.
WRITE_SIZE = 1024 * 1024
#: UPDATES that the controller may leave unprocessed before this peer is not read any more, and
#: what must remain of them for reading to go on.
CREDIT, CREDIT_LOW = 1024 * 1024, 512 * 1024
#: RFC 9687 section 4: the send hold timer is the greater of 8 minutes and twice the hold time.
SEND_HOLD_TIME = 480.0

#: ``emit(kind, payload)`` sends the controller a frame about this session.
Emit = Callable[[int, bytes], None]


class ConnectionLost(Exception):  # noqa: N818 -- an event, as RFC 4271 section 8.1 counts them
    """The TCP connection is gone."""


class PeerNotified(Exception):  # noqa: N818
    """The peer sent a NOTIFICATION."""

    def __init__(self, code: int, subcode: int, octets: bytes) -> None:
        super().__init__(code, subcode, octets)
        self.code, self.subcode, self.octets = code, subcode, octets


class MustNotify(Exception):  # noqa: N818
    """The session ends with a NOTIFICATION from us; ``words`` say why."""

    def __init__(self, code: int, subcode: int, octets: bytes = b"", words: str = "") -> None:
        super().__init__(words)
        self.code, self.subcode, self.octets, self.words = code, subcode, octets, words

    def hard(self) -> MustNotify:
        """The same as a Hard Reset (RFC 8538 section 3.1): nobody's routes stay."""
        octets = hard_reset.data_of(self.code, self.subcode, self.octets)
        return MustNotify(*hard_reset.HARD_RESET, octets, self.words)

    @property
    def message(self) -> bytes:
        return notification(self.code, self.subcode, self.octets)


class Session:
    """An established session over ``sock`` (non-blocking, owned by the caller).

    ``message_size``: octets of the longest message agreed on.  ``hold_time``: seconds, 0 for
    none.  ``now`` is always CLOCK_MONOTONIC in seconds.
    """

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        *,
        message_size: int,
        hold_time: float,
        emit: Emit,
        now: float,
    ) -> None:
        self.number = number
        self.outbox = Outbox()
        #: Set from outside while the controller does not read at all.
        self.held = False
        self._sock = sock
        self._emit = emit
        self._message_size = message_size
        self._hold_time = hold_time
        self._hold_deadline = now + hold_time
        self._keepalive_at = now + hold_time / 3
        self._send_hold_time = max(SEND_HOLD_TIME, 2 * hold_time)
        self._progress_at = now
        self._remainder = b""
        self._forwarded = 0
        self._consumed = 0
        self._throttled = False

    @property
    def reading(self) -> bool:
        """Whether the peer may be read; if not, TCP makes it wait."""
        return not (self._throttled or self.held)

    def consumed(self, octets: int) -> None:
        """The controller has processed ``octets`` of UPDATES since the session came up."""
        self._consumed = max(self._consumed, octets)
        if self._forwarded - self._consumed <= CREDIT_LOW:
            self._throttled = False

    def said_anew(self, octets: int) -> None:
        """Another controller is given ``octets`` of UPDATES: all that came until now."""
        self._forwarded, self._consumed = octets, 0
        self._throttled = octets > CREDIT

    def read(self, now: float) -> None:
        """Read once and forward what came."""
        try:
            octets = self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise ConnectionLost(f"the connection broke: {error.strerror}") from error
        if not octets:
            raise ConnectionLost("the peer closed the connection")
        if self._remainder:
            octets = self._remainder + octets
        messages, used, fault = split(octets, self._message_size)
        self._remainder = octets[used:]
        for kind, message in messages:
            if kind == MessageType.UPDATE:
                self._hold_deadline = now + self._hold_time
                self._forward(message)
            elif kind == MessageType.KEEPALIVE:
                self._hold_deadline = now + self._hold_time
            else:
                self._handle(kind, message)
        if fault is not None:
            raise MustNotify(fault.code, fault.subcode, fault.octets, fault.words)

    def write(self, now: float) -> None:
        """Write what the peer takes."""
        try:
            taken = self.outbox.write(self._sock, WRITE_SIZE)
        except OSError as error:
            raise ConnectionLost(f"the connection broke: {error.strerror}") from error
        if taken or not self.outbox:
            self._progress_at = now

    def check_timers(self, now: float) -> None:
        """Hold timer, keepalive timer, send hold timer (RFC 4271 section 10, RFC 9687)."""
        if not self.outbox:
            self._progress_at = now
        elif now - self._progress_at > self._send_hold_time:
            raise MustNotify(8, 0, b"", f"it took nothing for {self._send_hold_time:.0f} seconds")
        if not self._hold_time:
            return
        if now >= self._keepalive_at:
            self._keepalive_at = now + self._hold_time / 3
            self.outbox.keepalive()
        if not self.reading:
            # What the peer has sent meanwhile waits in the socket and cannot be judged.
            self._hold_deadline = now + self._hold_time
        elif now >= self._hold_deadline:
            # This process may have been stopped: the peer's KEEPALIVE may lie there, unread.
            self.read(now)
            if now >= self._hold_deadline:
                raise MustNotify(4, 0, b"", f"nothing came for {self._hold_time:.0f} seconds")

    def _forward(self, updates: bytes) -> None:
        self._emit(Kind.UPDATES, updates)
        self._forwarded += len(updates)
        if self._forwarded - self._consumed > CREDIT:
            self._throttled = True

    def _handle(self, kind: int, message: bytes) -> None:
        body = message[19:]
        if kind == MessageType.NOTIFICATION:
            code, subcode = NOTIFY.unpack_from(body)
            raise PeerNotified(code, subcode, body[NOTIFY.size :])
        if kind == MessageType.ROUTE_REFRESH:
            afi, subtype, safi = REFRESH.unpack_from(body)
            if subtype in (1, 2) and len(body) != REFRESH.size:
                # RFC 7313 section 5
                raise MustNotify(7, 1, message, f"a ROUTE-REFRESH of {len(message)} octets")
            self._emit(Kind.REFRESH, REFRESH.pack(afi, subtype, safi))
            return
        # RFC 6608 section 4: only an OPEN gets here.
        raise MustNotify(5, 3, bytes((kind,)), "an OPEN came in the middle of the session")
