"""What a driver of a hypervisor can do, and the machines that it gives.

Every driver is one of QEMU, whatever starts it: a machine is asked in QEMU's own words (QMP).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qemu.qmp import EventListener

from vpnctl.migration.definition import Definition
from vpnctl.migration.hypervisor.command_line import Places
from vpnctl.migration.ledger import Copy


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a hypervisor can do; ``aliases``: machine types' short names to those with a version."""

    version: tuple[int, ...]
    machine_types: tuple[str, ...]
    aliases: Mapping[str, str]
    cpus: tuple[str, ...]


class Guest(Protocol):
    """A copy of a machine that runs, or waits for its memory; `gone` is set when it has ended.

    Everything but `disconnect` and `destroy` raises `MigrationError` when it is not done.
    """

    copy: Copy
    gone: asyncio.Event

    async def ask(self, command: str, timeout_s: float = ..., **arguments: Any) -> Any:
        """A QMP command; ``_`` in names of arguments stands for ``-``."""

    def listen(self, *names: str) -> AbstractContextManager[EventListener]:
        """Events of these names while the block runs."""

    async def status(self) -> str:
        """QEMU's run state: running, paused, inmigrate, postmigrate ..."""

    async def run(self) -> float | None:
        """Let it run; when it did, by the wall's clock, None if it ran already."""

    async def disk_sizes(self, disks: int) -> list[int]:
        """Octets of each of its disks, of which there are ``disks``."""

    async def node(self, disk: int) -> str:
        """What its QEMU calls the node of a disk."""

    async def announce(self) -> None:
        """Send RARP from its nics, a few times, so that bridges learn where it is."""

    async def disconnect(self) -> None:
        """Leave it running, and let go of it."""

    async def destroy(self) -> None:
        """End it, whatever it does, and return when it has ended."""


class Driver(Protocol):
    """Starts machines and finds those that run; raises `MigrationError`.

    ``kind``: what it is called; a machine moves between sites of one kind.
    """

    kind: str

    async def abilities(self) -> Abilities:
        """What the hypervisor of this site can do."""

    async def start(
        self,
        definition: Definition,
        places: Places,
        taps: Sequence[str],
        copy: Copy,
        record: Callable[[Copy], None],
        *,
        incoming: bool,
    ) -> Guest:
        """Start a machine; ``record`` is told its process as soon as there is one.

        ``incoming``: it waits for its memory, and stays stopped when that has come.
        """

    async def find(self, copy: Copy) -> Guest | None:
        """One that an agent before us started or attached to; None if it has ended."""

    async def attach(self, qmp: Path) -> Guest:
        """One that somebody else started, by its monitor."""


def seconds(event: Any) -> float:
    """When an event of QEMU's was, by the wall's clock."""
    at = event["timestamp"]
    return float(at["seconds"] + at["microseconds"] / 1e6)
