"""One limit for a machine's memory and its disks, however they share it."""

from __future__ import annotations

import asyncio
import contextlib

from vpnctl.errors import VpnctlError
from vpnctl.migration.agent.mirrors import Mirrors
from vpnctl.migration.agent.sidecars import Sidecar
from vpnctl.sidecar.run.control import SLOWEST

#: Seconds between two looks at what the disks need.
_LOOK_S = 0.5
#: What disks that follow get: more than they took of late, so that they can take more; no less and
#: no more than these parts of the limit.
_MORE, _LEAST, _MOST = 1.5, 0.1, 0.5
#: A change that is smaller than this part of the limit is not worth telling.
_WORTH = 0.05
_OCTET = 8


def shares(rate: int, disk: float) -> tuple[int, int]:
    """What disks and memory may take of ``rate``, disks having taken ``disk`` of late; all in bits
    per second.

    Memory is what decides when the machine goes, so disks that follow are given what they need.
    """
    for_disks = int(min(max(_MORE * disk, _LEAST * rate, SLOWEST), max(_MOST * rate, SLOWEST)))
    return for_disks, max(rate - for_disks, SLOWEST)


class Bandwidth:
    """``rate``: bits per second for all of a migration, None for no limit."""

    def __init__(self, rate: int | None, sidecar: Sidecar, mirrors: Mirrors | None) -> None:
        self.rate = rate
        self._sidecar = sidecar
        self._mirrors = mirrors
        self._memory = rate
        self._sharing = False
        self._wire = 0

    async def change(self, rate: int | None) -> None:
        """Another limit; raises `VpnctlError` when the sidecar does not take it."""
        self.rate = rate
        if self._sharing:
            await self._share(0.0)
        else:
            if self._mirrors is not None:
                self._mirrors.limit(rate)
            await self._give_memory(rate)

    async def share(self) -> None:
        """Share from now on, until `memory_alone`."""
        self._sharing = True
        while self._sharing:
            wire = self._mirrors.traffic().wire if self._mirrors is not None else 0
            # A sidecar that has ended needs no limit; whoever waits for it says what that means.
            with contextlib.suppress(VpnctlError):
                await self._share((wire - self._wire) * _OCTET / _LOOK_S)
            self._wire = wire
            await asyncio.sleep(_LOOK_S)

    async def memory_alone(self) -> None:
        """The disks have arrived: memory gets everything."""
        self._sharing = False
        with contextlib.suppress(VpnctlError):
            await self._give_memory(self.rate)

    async def _share(self, disk: float) -> None:
        memory = self.rate
        if self._mirrors is not None and self.rate is not None:
            for_disks, memory = shares(self.rate, disk)
            self._mirrors.limit(for_disks)
        elif self._mirrors is not None:
            self._mirrors.limit(None)
        await self._give_memory(memory)

    async def _give_memory(self, rate: int | None) -> None:
        if rate is None or self._memory is None:
            changed = rate != self._memory
        else:
            changed = abs(rate - self._memory) > _WORTH * rate
        if changed:
            await self._sidecar.limit(rate)
            self._memory = rate
