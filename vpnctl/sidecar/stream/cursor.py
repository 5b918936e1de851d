"""Small numbers and names out of octets that may end too early."""

from __future__ import annotations

import struct

_BE16 = struct.Struct(">H")
_BE32 = struct.Struct(">I")
_BE64 = struct.Struct(">Q")


class NeedMoreError(Exception):
    """The octets end within the item that is being read; read it again when there are more."""


class Cursor:
    """A place in octets that moves forward as they are read.

    Every method raises `NeedMoreError` when the octets end before what it reads does.
    """

    def __init__(self, source: memoryview, position: int) -> None:
        self.source = source
        self.position = position

    def octets(self, count: int) -> bytes:
        begin, end = self.position, self.position + count
        if end > len(self.source):
            raise NeedMoreError
        self.position = end
        return bytes(self.source[begin:end])

    def skip(self, count: int) -> None:
        if self.position + count > len(self.source):
            raise NeedMoreError
        self.position += count

    def u8(self) -> int:
        return self.octets(1)[0]

    def be16(self) -> int:
        return int(_BE16.unpack(self.octets(2))[0])

    def be32(self) -> int:
        return int(_BE32.unpack(self.octets(4))[0])

    def be64(self) -> int:
        return int(_BE64.unpack(self.octets(8))[0])

    def counted(self) -> bytes:
        """A string with its length in the octet before it."""
        return self.octets(self.u8())
