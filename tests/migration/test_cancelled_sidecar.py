"""A migration that is cancelled while its sidecar becomes ready is cancelled."""

from __future__ import annotations

import asyncio
import sys

import pytest

from vpnctl.migration.agent.sidecars import Sidecar


@pytest.mark.parametrize("turns", range(2))
def test_a_cancellation_that_comes_with_readiness_is_heard(turns: int) -> None:
    async def story() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "input()"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        sidecar = Sidecar(process, None)
        waiting = asyncio.create_task(sidecar.until_ready())
        await asyncio.sleep(0.01)
        sidecar.ready.set_result("listening")
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        done, _ = await asyncio.wait((waiting,), timeout=2)
        await sidecar.end()
        assert done
        assert waiting.cancelled()

    asyncio.run(story())
