"""Messages of the peer that wait to be taken."""

from __future__ import annotations

from collections import deque

from vpnctl.sidecar.wan.messages import Message, MessageReader, Payload, Return

#: Reading stops while so many octets of messages wait.
_FULL = 2 * 1024 * 1024


class Inbox:
    """Octets of the peer's stream in, messages out, in order."""

    def __init__(self, reader: MessageReader) -> None:
        self._reader = reader
        self._waiting: deque[tuple[Message, int]] = deque()
        self._size = 0
        self._shut = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether enough waits; what is put in beyond that is kept as well."""
        return self._size >= _FULL

    def put(self, octets: bytes | memoryview) -> None:
        """Raises `SidecarProtocolError` when they are no messages."""
        if self._shut:
            return
        for message in self._reader.feed(octets):
            size = _size(message)
            self._waiting.append((message, size))
            self._size += size

    def take(self) -> Message:
        """The oldest; there must be one."""
        message, size = self._waiting.popleft()
        self._size -= size
        return message

    def shut(self) -> None:
        """Drop what waits, and what is still to come."""
        self._shut = True
        self._waiting.clear()
        self._size = 0


def _size(message: Message) -> int:
    """Octets that a message takes while it waits."""
    held = len(message.octets) if isinstance(message, Payload | Return) else 0
    return held + 64
