"""What is still to be written to one peer."""

from __future__ import annotations

import socket
from collections import deque
from itertools import islice

from vpnctl.bgp.messages import KEEPALIVE, length_at

#: Buffers handed to the kernel in one call (IOV_MAX is 1024 on Linux).
_BATCH = 256


class _Chunk:
    """Whole messages, of which ``sent`` octets are gone; ``boundary``: where some message begins,
    the last one that was looked for, so that a search goes over each message once."""

    __slots__ = ("boundary", "counted", "octets", "sent")

    def __init__(self, octets: memoryview, counted: bool) -> None:
        self.octets = octets
        self.counted = counted
        self.sent = 0
        self.boundary = 0

    def next_boundary(self) -> int:
        """Where the message that is being written ends; ``sent`` when none is."""
        while self.boundary < self.sent:
            self.boundary += length_at(self.octets, self.boundary)
        return self.boundary


class Outbox:
    """Messages in order, written as far as the socket takes them.

    ``written`` counts the octets of what `append` was given that the kernel took;
    ``pending`` is what remains of it.  ``blocked``: the socket took no more; wait until it is
    writable.
    """

    def __init__(self) -> None:
        self._chunks: deque[_Chunk] = deque()
        self._keepalive: _Chunk | None = None
        self.written = 0
        self.pending = 0
        self.blocked = False

    def __bool__(self) -> bool:
        return bool(self._chunks)

    @property
    def total(self) -> int:
        """Octets that `append` was given, but for those that `finish_with` dropped."""
        return self.written + self.pending

    def append(self, octets: bytes) -> None:
        """Whole messages; the controller answers for that."""
        if octets:
            self._chunks.append(_Chunk(memoryview(octets), counted=True))
            self.pending += len(octets)

    def keepalive(self) -> None:
        """A KEEPALIVE after the message that is being written, before all others.

        One that still waits is enough.  Raises `ValueError` when no boundary can be found.
        """
        if self._keepalive is not None:
            return
        rest = self._split_after_current()
        self._keepalive = _Chunk(memoryview(KEEPALIVE), counted=False)
        self._chunks.insert(rest, self._keepalive)

    def finish_with(self, message: bytes) -> None:
        """Let the message that is being written be the last but ``message``."""
        kept = 0
        try:
            kept = self._split_after_current()
        except ValueError:
            # Nothing sensible can follow a torn message; say what is to be said all the same.
            self._chunks.clear()
        while len(self._chunks) > kept:
            self._chunks.pop()
        self._keepalive = None
        self.pending = sum(len(c.octets) - c.sent for c in self._chunks if c.counted)
        self._chunks.append(_Chunk(memoryview(message), counted=False))

    def _split_after_current(self) -> int:
        """Cut the first chunk after the message being written; how many chunks that is: 0 or 1."""
        if not self._chunks or self._chunks[0].sent == 0:
            return 0
        head = self._chunks[0]
        boundary = head.next_boundary()
        if boundary < len(head.octets):
            rest = _Chunk(head.octets[boundary:], head.counted)
            head.octets = head.octets[:boundary]
            self._chunks.insert(1, rest)
        if head.sent == boundary:
            self._chunks.popleft()
            return 0
        return 1

    def write(self, sock: socket.socket, limit: int) -> int:
        """Write to a non-blocking socket, about ``limit`` octets at most; how many it took.

        Raises `OSError` when the connection is gone.
        """
        total = 0
        self.blocked = False
        while self._chunks and total < limit:
            buffers = [chunk.octets[chunk.sent :] for chunk in islice(self._chunks, _BATCH)]
            try:
                taken = sock.sendmsg(buffers)
            except (BlockingIOError, InterruptedError):
                self.blocked = True
                break
            total += taken
            self._advance(taken)
        return total

    def _advance(self, taken: int) -> None:
        while taken:
            head = self._chunks[0]
            step = min(taken, len(head.octets) - head.sent)
            head.sent += step
            taken -= step
            if head.counted:
                self.written += step
                self.pending -= step
            if head.sent == len(head.octets):
                self._chunks.popleft()
                if head is self._keepalive:
                    self._keepalive = None
