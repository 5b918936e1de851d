"""A machine is in one migration at a time, whatever else has to end before or after."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from vpnctl.errors import UsageError
from vpnctl.migration.agent.agent import Agent
from vpnctl.migration.agent.messages import MigrateRequest, ReplicateRequest
from vpnctl.migration.agent.settings import AgentSettings
from vpnctl.migration.commit import Departure
from vpnctl.migration.definition import Definition, Disk
from vpnctl.migration.ledger import Copy, Machine, Peer, ReplicationRecord
from vpnctl.sidecar.wan.address import Address

COPY = Copy(incarnation="0123456789ab", qmp="/nowhere/qmp", pid=1, born=1)
NOBODY = Peer(site="b", url="unix:/nowhere/agent.sock")
MACHINE = Machine(
    definition=Definition(
        machine="web1",
        app="shop",
        memory="64M",  # type: ignore[arg-type]  # as it is written
        disks=(Disk(file="web1.img", format="raw"),),
    ),
    epoch=1,
    owner=True,
    process=COPY,
)


class _Guest:
    """Runs, and tells of its mirrors once ``open`` is set."""

    def __init__(self) -> None:
        self.copy = COPY
        self.gone = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def ask(self, command: str, **_: Any) -> list[Any]:
        if command == "query-block-jobs":
            await self.open.wait()
        return []

    async def status(self) -> str:
        return "running"

    async def disk_sizes(self, disks: int) -> list[int]:
        return [0] * disks

    async def disconnect(self) -> None:
        return


class _Replicating:
    """Ends once ``open`` is set."""

    def __init__(self) -> None:
        self.record = ReplicationRecord(machine="web1", to=NOBODY, rate=None)
        self.open = asyncio.Event()

    async def stop(self) -> None:
        await self.open.wait()


@contextlib.asynccontextmanager
async def _running(state: Path) -> AsyncIterator[tuple[Agent, _Guest]]:
    agent = Agent(
        AgentSettings(
            site="a", state=state, disks=state, shared=state, images=state, qemu="none",
            data=Address("127.0.0.1", 0), certificates=None,
        )
    )  # fmt: skip
    await agent.open()
    guest = _Guest()
    agent.site.ledger.write(MACHINE)
    agent.site.running["web1"] = guest  # type: ignore[assignment]  # as much of a guest as it needs
    try:
        yield agent, guest
    finally:
        await agent.close()


def _request(name: str) -> MigrateRequest:
    return MigrateRequest(migration=name, machine="web1", to=NOBODY)


def test_not_in_a_second_one_while_its_replication_ends(tmp_path: Path) -> None:
    async def story() -> None:
        async with _running(tmp_path) as (agent, _):
            replicating = _Replicating()
            agent.replications["web1"] = replicating  # type: ignore[assignment]  # it only ends
            await agent.migrate(_request("m1"))
            with pytest.raises(UsageError, match="moving already: m1"):
                await agent.migrate(_request("m2"))
            await agent.migration("m1").cancel()
            # It begins again afterwards: here it only has to be seen that it does.
            again: list[ReplicationRecord] = []
            agent._replicate = again.append  # type: ignore[assignment]  # as above
            replicating.open.set()
            await agent.migration("m1").finished.wait()
            assert agent.view("m1").phase == "cancelled"
            assert list(agent.departures) == ["m1"]
            async with asyncio.timeout(30):
                while not again:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
            assert again == [replicating.record]

    asyncio.run(story())


def test_not_in_a_second_one_while_mirrors_of_the_first_end(tmp_path: Path) -> None:
    """It would take the new ones for those that it has to end."""

    async def story() -> None:
        async with _running(tmp_path) as (agent, guest):
            guest.open.clear()
            await agent.migrate(_request("m1"))
            async with asyncio.timeout(30):
                while agent.migration("m1").record.state is not Departure.KEPT:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert not agent.site.ledger_busy("web1")
            with pytest.raises(UsageError, match="moving already: m1"):
                await agent.migrate(_request("m2"))
            with pytest.raises(UsageError, match="is moving"):
                await agent.start_replication(ReplicateRequest(machine="web1", to=NOBODY))
            guest.open.set()
            await agent.migration("m1").finished.wait()
            assert agent.view("m1").phase == "failed"
            await agent.migrate(_request("m2"))
            await agent.migration("m2").finished.wait()

    asyncio.run(story())
