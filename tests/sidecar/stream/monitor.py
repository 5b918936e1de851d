"""Asking a real QEMU what stands against its migration."""

from __future__ import annotations

from tests.support.qemu import Guest
from vpnctl.sidecar.stream.refusals import QUERIES, refusals


async def reasons_against(guest: Guest) -> list[str]:
    """Names of `refusals` for what QEMU answers."""
    answers = {
        query.name: await guest.qmp.execute(query.command, dict(query.arguments))
        for query in QUERIES
    }
    return [refusal.name for refusal in refusals(answers)]
