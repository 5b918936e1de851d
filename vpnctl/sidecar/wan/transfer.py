"""Octets that have to arrive once and in order, over as many connections as it takes."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from vpnctl.errors import SidecarProtocolError


class Transfer:
    """Both directions of a migration: what is still to be sent, how much has arrived.

    Octets are numbered from 0 in each direction.  Those that the peer has not acknowledged are
    kept, ``window`` octets at most but for the last chunk that was put in::

        0 ........ acknowledged ........ sent ........ queued
                   | kept                             |
    """

    def __init__(self, window: int) -> None:
        self.window = window
        #: Octets of the peer's stream that have arrived.
        self.received = 0
        self.acknowledged = 0
        #: Where the present connection goes on.
        self.sent = 0
        self.queued = 0
        #: Octets that were sent more than once, because a connection was cut.
        self.resent = 0
        self._chunks: deque[memoryview] = deque()
        # Where what was put in at once ends, of all that is kept.
        self._ends: list[int] = []
        # Octets of the first chunk that are acknowledged.
        self._gone = 0
        # Index of the chunk with the first octet to be sent, and where in it that is.
        self._chunk = 0
        self._at = 0

    @property
    def unsent(self) -> int:
        return self.queued - self.sent

    @property
    def unacknowledged(self) -> int:
        return self.queued - self.acknowledged

    @property
    def has_room(self) -> bool:
        return self.unacknowledged < self.window

    def put(self, *octets: bytes | memoryview) -> None:
        """Queue octets; they are not copied and must not change.

        What is put in at once goes together where that can be had: see `take`.
        """
        before = self.queued
        for chunk in octets:
            if chunk:
                self._chunks.append(memoryview(chunk))
                self.queued += len(chunk)
        if self.queued > before:
            self._ends.append(self.queued)

    def take(self, limit: int) -> tuple[int, list[memoryview]]:
        """The next octets to send, ``limit`` at most: offset of the first one, and the octets.

        Half of ``limit`` is enough if they end where something ends that was put in at once: who
        gets the whole of it need not put it together.
        """
        limit = self._until_end(limit)
        offset, parts = self.sent, []
        while limit and self._chunk < len(self._chunks):
            chunk = self._chunks[self._chunk]
            part = chunk[self._at : self._at + limit]
            parts.append(part)
            limit -= len(part)
            self.sent += len(part)
            self._at += len(part)
            if self._at == len(chunk):
                self._chunk, self._at = self._chunk + 1, 0
        return offset, parts

    def acknowledge(self, offset: int) -> None:
        """The peer has everything before ``offset``: forget it.

        Raises `SidecarProtocolError` when that was not sent, or was acknowledged long ago.
        """
        if not self.acknowledged <= offset <= self.sent:
            raise SidecarProtocolError(
                f"the peer acknowledges {offset} octets; {self.sent} were sent,"
                f" {self.acknowledged} of them acknowledged before"
            )
        gone = offset - self.acknowledged + self._gone
        while self._chunks and gone >= len(self._chunks[0]):
            gone -= len(self._chunks.popleft())
            self._chunk -= 1
        self._gone = gone
        self.acknowledged = offset
        del self._ends[: bisect_right(self._ends, offset)]

    def resume(self, offset: int) -> None:
        """Go on with octet ``offset`` on a new connection; the peer has everything before it.

        Raises `SidecarProtocolError` when that octet was never sent or is no longer kept.
        """
        self.acknowledge(offset)
        self.resent += self.sent - offset
        self.sent = offset
        self._chunk, self._at = 0, self._gone

    def _until_end(self, limit: int) -> int:
        if self.unsent > limit:
            ends = bisect_right(self._ends, self.sent + limit)
            if ends and self._ends[ends - 1] - self.sent >= limit // 2:
                return self._ends[ends - 1] - self.sent
        return limit

    def arrived(self, offset: int, length: int) -> None:
        """A segment is here; `SidecarProtocolError` unless it is the next one."""
        if offset != self.received:
            raise SidecarProtocolError(
                f"the peer sent octets from {offset} on, {self.received} was to come next"
            )
        self.received += length
