"""What an agent starts again that finds its records and no process: its host had died, too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vpnctl.errors import MigrationError
from vpnctl.migration.agent.agent import Agent
from vpnctl.migration.agent.settings import AgentSettings
from vpnctl.migration.commit import Arrival, Departure
from vpnctl.migration.definition import Definition, Disk
from vpnctl.migration.hypervisor.command_line import Places
from vpnctl.migration.ledger import ArrivalRecord, Copy, DepartureRecord, Machine, Peer
from vpnctl.sidecar.wan.address import Address

DEFINITION = Definition(
    machine="web1",
    app="shop",
    memory="64M",  # type: ignore[arg-type]  # as it is written
    disks=(Disk(file="web1.img", format="raw"),),
)
#: Of a process that has ended.
COPY = Copy(incarnation="0123456789ab", qmp="/nowhere/qmp", pid=1, born=1)


class _Guest:
    """Runs until it is told to end."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self.gone = asyncio.Event()

    async def ask(self, *_: Any, **__: Any) -> Any:
        return []

    async def status(self) -> str:
        return "running"

    async def disconnect(self) -> None:
        return

    async def destroy(self) -> None:
        self.gone.set()


class _Starts:
    """A driver that counts what it is told to start; ``able``: whether that works."""

    def __init__(self, able: bool = True) -> None:
        self.guests: list[_Guest] = []
        self._able = able

    async def find(self, _: Copy) -> None:
        return

    async def start(
        self, _: Definition, __: Places, ___: Sequence[str], copy: Copy,
        record: Callable[[Copy], None], **____: bool,
    ) -> _Guest:  # fmt: skip
        # Others have their turn, as while a process is started.
        await asyncio.sleep(0)
        if not self._able:
            raise MigrationError("QEMU ended at once")
        record(copy)
        self.guests.append(_Guest(copy))
        return self.guests[-1]


@contextlib.asynccontextmanager
async def _opened(state: Path, driver: _Starts, *records: Any) -> AsyncIterator[Agent]:
    """An agent that was started with these records, and has done what it does about them."""
    settings = AgentSettings(
        site="a", state=state, disks=state, shared=state, images=state, qemu="none",
        data=Address("127.0.0.1", 0), certificates=None,
    )  # fmt: skip
    agent = Agent(settings)
    agent.site.driver = driver  # type: ignore[assignment]  # its guests are no QEMUs
    for record in records:
        agent.site.ledger.write(record)
    machines = (one for one in records if isinstance(one, Machine))
    left = [settings.places(one.process.incarnation).run for one in machines if one.process]
    for one in left:
        one.mkdir(parents=True)
    await agent.open()
    async with asyncio.timeout(30):
        await asyncio.gather(*agent._tasks, return_exceptions=True)
    if driver.guests:
        assert not any(one.exists() for one in left)
    try:
        yield agent
    finally:
        await agent.close()


def _machine() -> Machine:
    return Machine(definition=DEFINITION, epoch=1, owner=True, process=COPY)


def _departure(state: Departure) -> DepartureRecord:
    return DepartureRecord(
        migration="m1", machine="web1", epoch=2, state=state, incarnation=COPY.incarnation,
        to=Peer(site="b", url="unix:/nowhere/agent.sock"),
    )  # fmt: skip


def test_a_machine_without_a_migration_is_started_again(tmp_path: Path) -> None:
    async def story() -> None:
        driver = _Starts()
        async with _opened(tmp_path, driver, _machine()) as agent:
            assert len(driver.guests) == 1
            assert agent.site.machine("web1").process == driver.guests[0].copy

    asyncio.run(story())


def test_one_that_has_gone_is_not(tmp_path: Path) -> None:
    """The host died after the departure was recorded, and before the machine was."""

    async def story() -> None:
        driver = _Starts()
        async with _opened(tmp_path, driver, _machine(), _departure(Departure.GONE)) as agent:
            assert driver.guests == []
            assert not agent.site.machine("web1").owner
            with pytest.raises(MigrationError, match="has left a"):
                await agent.site.go_on("web1")
            assert driver.guests == []

    asyncio.run(story())


def test_one_that_has_gone_and_come_back_is(tmp_path: Path) -> None:
    """Its departure has not ended, but was that of another copy."""

    async def story() -> None:
        driver = _Starts()
        back = _machine().model_copy(
            update={"epoch": 3, "process": COPY.model_copy(update={"incarnation": "ba9876543210"})}
        )
        async with _opened(tmp_path, driver, back, _departure(Departure.GONE)) as agent:
            assert len(driver.guests) == 1
            assert agent.site.machine("web1").owner

    asyncio.run(story())


def test_one_that_stays_is_started_once(tmp_path: Path) -> None:
    async def story() -> None:
        driver = _Starts()
        async with _opened(tmp_path, driver, _machine(), _departure(Departure.KEPT)) as agent:
            assert len(driver.guests) == 1
            machine = agent.site.machine("web1")
            assert (machine.owner, machine.process) == (True, driver.guests[0].copy)

    asyncio.run(story())


def test_whoever_wants_it_to_go_on_it_is_started_once(tmp_path: Path) -> None:
    async def story() -> None:
        driver = _Starts()
        async with _opened(tmp_path, driver, _machine()) as agent:
            driver.guests[0].gone.set()
            await asyncio.gather(agent.site.go_on("web1"), agent.site.go_on("web1"))
            assert len(driver.guests) == 2
            assert agent.site.machine("web1").process == driver.guests[1].copy

    asyncio.run(story())


def test_one_that_came_and_cannot_be_started_does_not_keep_the_agent(tmp_path: Path) -> None:
    """It is this site's, and the others are to be looked after."""
    came = ArrivalRecord(
        migration="m1", definition=DEFINITION, epoch=2, owner="", state=Arrival.ACCEPTED,
        process=COPY,
    )  # fmt: skip

    async def story() -> None:
        async with _opened(tmp_path, _Starts(able=False), came) as agent:
            assert agent.site.machine("web1").owner
            assert (await agent.offer("m1", "")).accepted
            assert (await agent.machine("web1")).state == "stopped"

    asyncio.run(story())
