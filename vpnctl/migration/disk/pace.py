"""How fast the disks of a machine may be sent, together."""

from __future__ import annotations

import asyncio

#: Bits.
_OCTET = 8


class Pace:
    """``rate``: bits per second, None for no limit; it may be changed at any time."""

    def __init__(self, rate: int | None) -> None:
        self.rate = rate
        self._free = 0.0

    async def room(self, octets: int) -> None:
        """Return when so many octets may be sent."""
        if self.rate is None:
            return
        now = asyncio.get_running_loop().time()
        begin = max(self._free, now)
        self._free = begin + octets * _OCTET / self.rate
        await asyncio.sleep(begin - now)
