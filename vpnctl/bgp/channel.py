"""Frames over a non-blocking stream socket, for either end of the channel."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from itertools import islice

from vpnctl.bgp.wire import FrameReader, frame_header

#: Octets asked of the kernel at once.
READ_SIZE = 1024 * 1024
_BATCH = 256


class Channel:
    """One end of the channel.  ``backlog``: octets that wait for the other end to read."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, READ_SIZE)
        self.sock = sock
        self.backlog = 0
        self._queue: deque[bytes | memoryview] = deque()
        self._reader = FrameReader()

    def put(self, kind: int, session: int, payload: bytes = b"") -> None:
        """Queue one frame, which `flush` writes; nothing is queued once the channel is closed."""
        if self.sock.fileno() == -1:
            return
        header = frame_header(kind, session, len(payload))
        self._queue.append(header)
        if payload:
            self._queue.append(payload)
        self.backlog += len(header) + len(payload)

    def flush(self) -> None:
        """Write what the other end takes now.  Raises `OSError` when it is gone."""
        while self._queue:
            try:
                taken = self.sock.sendmsg(list(islice(self._queue, _BATCH)))
            except (BlockingIOError, InterruptedError):
                return
            self.backlog -= taken
            while taken:
                head = self._queue[0]
                if taken < len(head):
                    self._queue[0] = memoryview(head)[taken:]
                    break
                taken -= len(head)
                self._queue.popleft()

    def receive(self) -> Iterator[tuple[int, int, bytes]] | None:
        """Frames completed by one read; None when the other end has closed.

        Raises `FrameError` on what is no frame and `OSError` when the other end is gone.
        """
        try:
            octets = self.sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return iter(())
        return self._reader.feed(octets) if octets else None

    def close(self) -> None:
        self._queue.clear()
        self.backlog = 0
        self.sock.close()
