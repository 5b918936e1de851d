"""QEMU's monitor: may the guest move, and how much is left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient, QMPError

from vpnctl.errors import StreamRefusedError, UsageError
from vpnctl.sidecar.stream.refusals import QUERIES, refusals

#: Seconds that a monitor has to answer before the guest begins to move.
_PATIENCE_S = 5.0


class Monitor:
    """A monitor of the source's QEMU that nobody else is connected to (`monitored` makes one)."""

    def __init__(self, client: QMPClient) -> None:
        self._client = client

    async def refuse(self) -> None:
        """Raise `StreamRefusedError` with every reason why this guest cannot pass a sidecar.

        `UsageError` when the monitor does not answer.
        """
        answers = {}
        try:
            async with asyncio.timeout(_PATIENCE_S):
                for query in QUERIES:
                    answers[query.name] = await self._client.execute(
                        query.command, dict(query.arguments)
                    )
        except (TimeoutError, QMPError) as error:
            raise UsageError(
                f"QEMU's monitor did not answer {query.command}: {str(error) or 'it is silent'}",
                hint="is that QEMU's, and is it free? migrate without --qmp to leave it out",
            ) from error
        found = refusals(answers)
        if found:
            raise StreamRefusedError(
                "this guest cannot move through a sidecar: "
                + "; ".join(f"{one.name}: {one.reason}" for one in found),
                hint="; ".join(f"{one.name}: {one.remedy}" for one in found),
            )

    async def remaining(self) -> int | None:
        """Octets of memory that QEMU has still to send; None when it does not say.

        QEMU's monitor stands still during the last part of a migration, and so does this.
        """
        try:
            answer: Any = await self._client.execute("query-migrate")
        except QMPError:
            return None
        memory = answer.get("ram") if answer.get("status") == "active" else None
        return int(memory["remaining"]) if memory else None


@contextlib.asynccontextmanager
async def monitored(path: Path) -> AsyncIterator[Monitor]:
    """The monitor at ``path``; raises `UsageError` when there is none that answers."""
    client = QMPClient("sidecar")
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await client.connect(str(path))
    except (TimeoutError, QMPError, OSError) as error:
        raise UsageError(
            f"no QEMU monitor answers at {path}: {str(error) or 'it is silent'}",
            hint="give QEMU one that nobody else uses: -qmp unix:PATH,server=on,wait=off",
        ) from error
    try:
        yield Monitor(client)
    finally:
        # A QEMU that has ended is an EOFError here; how the migration ended is said elsewhere.
        with contextlib.suppress(QMPError, OSError, EOFError):
            await client.disconnect()
