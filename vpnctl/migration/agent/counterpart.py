"""The other site's half of a departure, as the owner talks to it."""

from __future__ import annotations

import asyncio
import contextlib

from vpnctl.errors import AgentError, VpnctlError
from vpnctl.migration.agent.messages import ArrivalReady, ArrivalRequest, Nothing, OfferAnswer
from vpnctl.migration.agent.peer import LONG_S, AgentClient

#: Seconds between two signs of life, without which the other site gives up.
_ALIVE_S = 5.0
#: Times that a cancel is sent to a site that does not answer, and seconds between two of them; it
#: gives up by itself, too.
_CANCELS, _AGAIN_S = 3, 0.5


class Counterpart:
    """One arrival there; every method raises what the other site answers, `AgentError` when it
    does not, unless it says otherwise."""

    def __init__(self, peer: AgentClient, migration: str) -> None:
        self._peer = peer
        self._path = f"arrivals/{migration}"

    async def prepare(self, request: ArrivalRequest) -> ArrivalReady:
        """Let it make ready for the machine."""
        return await self._peer.post("arrivals", ArrivalReady, request, LONG_S)

    async def stay_in_touch(self) -> None:
        """Let it know that we live, until cancelled; raises what it says when it has given up."""
        while True:
            with contextlib.suppress(AgentError):
                # Two at once keep two connections: neither the announcement nor the offer then
                # waits for a handshake while the guest stands still.
                await asyncio.gather(*(self._peer.get(self._path, Nothing) for _ in range(2)))
            await asyncio.sleep(_ALIVE_S)

    async def announce(self) -> None:
        """Let the network know the machine's addresses there."""
        await self._peer.post(f"{self._path}/announce", Nothing)

    async def settled(self) -> None:
        """The disks are equal: it may close its own to us."""
        await self._peer.post(f"{self._path}/settled", Nothing)

    async def offer(self) -> OfferAnswer:
        """The machine is its."""
        return await self._peer.post(f"{self._path}/offer", OfferAnswer, timeout_s=LONG_S)

    async def cancel(self) -> None:
        """The machine stays ours; raises nothing."""
        for _ in range(_CANCELS):
            try:
                await self._peer.post(f"{self._path}/cancel", Nothing)
            except AgentError:
                await asyncio.sleep(_AGAIN_S)
            except VpnctlError:
                # It does not know of this migration, or has given up already.
                return
            else:
                return

    async def close(self) -> None:
        """Say no more."""
        await self._peer.close()
