"""The running digest over a guest's stream that both ends compare before QEMU gets an octet."""

from __future__ import annotations

from collections import deque

import xxhash

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.wan.messages import Check


class SentDigest:
    """The source's half: octets as QEMU wrote them, digested as far as the codec took them."""

    def __init__(self) -> None:
        self._state = xxhash.xxh3_128()
        self._octets = 0
        self._ahead: deque[memoryview] = deque()

    def feed(self, octets: bytes | memoryview) -> None:
        """QEMU wrote ``octets``, which must not change."""
        self._ahead.append(memoryview(octets))

    def taken(self, count: int) -> list[memoryview]:
        """The codec has taken the next ``count`` octets of what was fed: these."""
        self._octets += count
        found = []
        while count:
            part = self._ahead.popleft()
            if len(part) > count:
                self._ahead.appendleft(part[count:])
                part = part[:count]
            self._state.update(part)
            found.append(part)
            count -= len(part)
        return found

    def check(self) -> Check:
        """What the destination must find when it has decoded everything so far."""
        return Check(self._octets, self._state.digest())


class ReceivedDigest:
    """The destination's half."""

    def __init__(self) -> None:
        self._state = xxhash.xxh3_128()
        self._octets = 0

    def feed(self, octets: bytes | memoryview) -> None:
        """The codec made ``octets``."""
        self._state.update(octets)
        self._octets += len(octets)

    def verify(self, check: Check) -> None:
        """Raises `SidecarProtocolError` unless this is what the source was given by its QEMU."""
        if (self._octets, self._state.digest()) != (check.octets, check.digest):
            raise SidecarProtocolError(
                f"after {self._octets} octets the guest's stream is not what its QEMU wrote"
                f" (the source counts {check.octets}); none of the difference reached QEMU",
                hint="the codecs of the two sites disagree; migrate again with --stages zstd",
            )
