"""The driver for plain QEMU, started by the agent itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from vpnctl.migration.definition import Definition
from vpnctl.migration.hypervisor.abilities import abilities
from vpnctl.migration.hypervisor.command_line import Places, arguments
from vpnctl.migration.hypervisor.driver import Abilities
from vpnctl.migration.hypervisor.qemu import Qemu
from vpnctl.migration.ledger import Copy


class PlainQemu:
    """`vpnctl.migration.hypervisor.driver.Driver` by the program ``binary``."""

    kind = "qemu"

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._abilities: Abilities | None = None
        self._asking = asyncio.Lock()

    async def abilities(self) -> Abilities:
        """What this QEMU can do; asked once."""
        async with self._asking:
            if self._abilities is None:
                self._abilities = await abilities(self._binary)
            return self._abilities

    async def start(
        self,
        definition: Definition,
        places: Places,
        taps: Sequence[str],
        copy: Copy,
        record: Callable[[Copy], None],
        *,
        incoming: bool,
    ) -> Qemu:
        """Start a machine as a process of its own, which does not end with the agent."""
        words = arguments(definition, places, taps, incoming=incoming)
        return await Qemu.start(self._binary, words, copy, record)

    async def find(self, copy: Copy) -> Qemu | None:
        """By its process."""
        return await Qemu.find(copy)

    async def attach(self, qmp: Path) -> Qemu:
        """By the process behind its monitor."""
        return await Qemu.attach(qmp)
