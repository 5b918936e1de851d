"""NETCONF's messages in a stream: end-of-message and chunks (RFC 6242 sections 4.3, 4.2)."""

from __future__ import annotations

import re

_END = b"]]>]]>"
_CHUNK = re.compile(rb"\n#(?:([1-9]\d{0,9})|#)\n")
_LONGEST = 64 << 20


class FramingError(Exception):
    """The stream is no NETCONF; only closing helps."""


class Framing:
    """Octets in, messages out.  ``chunked`` is set when both sides have said base:1.1."""

    def __init__(self) -> None:
        self.chunked = False
        self._octets = b""
        self._chunks: list[bytes] = []

    def take(self, octets: bytes) -> list[bytes]:
        """The messages that are complete now.

        Stops after each message that could change the framing, the first: call again with nothing.
        """
        self._octets += octets
        found = []
        while True:
            message = self._chunk() if self.chunked else self._until_end()
            if message is None:
                break
            found.append(message)
            if len(found) == 1 and not self.chunked:
                break
        if len(self._octets) > _LONGEST:
            raise FramingError("a message of more than 64 MiB")
        return found

    def wrap(self, message: bytes) -> bytes:
        """A message as it goes out."""
        if self.chunked:
            return b"\n#%d\n%b\n##\n" % (len(message), message)
        return message + b"\n" + _END + b"\n"

    def _until_end(self) -> bytes | None:
        message, end, rest = self._octets.partition(_END)
        if not end:
            return None
        self._octets = rest
        return message.strip()

    def _chunk(self) -> bytes | None:
        while found := _CHUNK.match(self._octets):
            if found[1] is None:
                self._octets = self._octets[found.end() :]
                message, self._chunks = b"".join(self._chunks), []
                return message
            end = found.end() + int(found[1])
            if len(self._octets) < end:
                return None
            self._chunks.append(self._octets[found.end() : end])
            self._octets = self._octets[end:]
        if len(self._octets) >= 13 or (self._octets and not b"\n#".startswith(self._octets[:2])):
            raise FramingError("no chunk where one must begin")
        return None
