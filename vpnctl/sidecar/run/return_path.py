"""What the destination's QEMU says on the return path (``MIG_RP_MSG_*``, ``migration.h``).

Each message is a type and a length, 16 bits each and big-endian, and its body.
"""

from __future__ import annotations

import struct

from vpnctl.sidecar.wan.messages import Outcome

_HEADER = struct.Struct("!HH")
_SHUT_VALUE = struct.Struct("!I")
#: The type of the message that ends the return path; its body is 0 when the guest was loaded.
_SHUT = 1


class ReturnPathReader:
    """Reads along, for the one message that tells whether the guest was loaded."""

    def __init__(self) -> None:
        self._held = b""
        self._skip = 0
        self._shut: int | None = None
        self._used = False

    def feed(self, octets: bytes) -> None:
        """Octets of the return path, cut anywhere."""
        self._used = self._used or bool(octets)
        while octets:
            skipped = octets[self._skip :]
            self._skip -= len(octets) - len(skipped)
            octets = self._held + skipped
            self._held = b""
            if len(octets) < _HEADER.size:
                self._held = octets
                return
            kind, length = _HEADER.unpack_from(octets)
            if kind == _SHUT and length == _SHUT_VALUE.size:
                if len(octets) < _HEADER.size + length:
                    self._held = octets
                    return
                (self._shut,) = _SHUT_VALUE.unpack_from(octets, _HEADER.size)
            octets = octets[_HEADER.size :]
            self._skip = length

    def outcome(self) -> Outcome:
        """Now that QEMU has closed its socket."""
        if self._shut is not None:
            return Outcome.LOADED if self._shut == 0 else Outcome.FAILED
        return Outcome.FAILED if self._used else Outcome.UNSAID
