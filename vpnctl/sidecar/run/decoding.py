"""The destination's work on payloads, in two halves for two threads."""

from __future__ import annotations

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.elimination import Decoder
from vpnctl.sidecar.elimination.compression import Batch, Form, is_plain
from vpnctl.sidecar.elimination.statistics import Statistics
from vpnctl.sidecar.run.agreement import Agreed
from vpnctl.sidecar.run.tasks import LIGHT
from vpnctl.sidecar.wan.digest import ReceivedDigest
from vpnctl.sidecar.wan.messages import Check, Payload

#: What may be decoded between two checks; a source sends one after each piece that it works on,
#: and one batch of the codec may come on top.
_MAX_UNCHECKED = 32 * 1024 * 1024
#: What holding a piece takes beside its octets, at least; a peer may send many that are empty.
_PIECE = 4096


class Decoding:
    """One migration: octets are held until a check has shown that they are the guest's."""

    def __init__(self, agreed: Agreed) -> None:
        self._decoder = Decoder(agreed.options, agreed.site)
        self._digest = ReceivedDigest()
        self._has_site = agreed.site is not None
        self._held: list[memoryview] = []
        self._size = 0

    @property
    def statistics(self) -> Statistics:
        return self._decoder.statistics

    @staticmethod
    def arrives_plain(message: Payload | Check) -> bool:
        """Whether the first half has nothing to do but to look at it."""
        return isinstance(message, Check) or is_plain(message.octets)

    def is_light(self, found: Batch | Check) -> bool:
        """Whether the second half takes no more than a millisecond or two."""
        if isinstance(found, Check) or found.form in (Form.OCTETS, Form.OCTETS_ZSTD):
            return True
        # A site's cache is on a disk, which takes the time it likes.
        return found.size <= LIGHT and not self._has_site

    def decompress(self, message: Payload | Check) -> Batch | Check:
        """First half; raises `SidecarProtocolError` when a payload is none."""
        return message if isinstance(message, Check) else self._decoder.decompress(message.octets)

    def rebuild(self, found: Batch | Check) -> list[memoryview]:
        """Second half: octets for QEMU, empty until a check has come.

        Raises `SidecarProtocolError` when they are not what QEMU should get.
        """
        if isinstance(found, Check):
            self._digest.verify(found)
            held, self._held, self._size = self._held, [], 0
            return held
        octets = self._decoder.rebuild(found)
        self._digest.feed(octets)
        self._held.append(octets)
        self._size += len(octets) + _PIECE
        if self._size > _MAX_UNCHECKED:
            raise SidecarProtocolError(
                f"the peer sent {len(self._held)} pieces of the guest's stream,"
                f" {sum(map(len, self._held))} octets, without a check"
            )
        return []

    def finish(self) -> None:
        """The guest was loaded: the site's cache keeps what is new."""
        self._decoder.finish()
