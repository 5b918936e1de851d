"""What QEMU writes is read ahead, but not far."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

import pytest
import uvloop

from tests.sidecar.wan.ends import until
from vpnctl.sidecar.run.intake import Intake

_AHEAD = 100_000
_READ = 256 * 1024


@asynccontextmanager
async def reading() -> AsyncIterator[tuple[Intake, socket.socket]]:
    """An intake that runs, and its QEMU."""
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
    intake = Intake(ours, _AHEAD)
    running = asyncio.create_task(intake.run())
    try:
        with ours, theirs:
            yield intake, theirs
            await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def run(told: Coroutine[None, None, None]) -> None:
    """In the loop that sidecars run in, which tells of an error once."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(told)


def test_everything_is_read_once_and_in_order() -> None:
    async def told() -> None:
        octets, got = random.Random(1).randbytes(3_000_000), b""
        async with reading() as (intake, qemu):

            async def write() -> None:
                await asyncio.get_running_loop().sock_sendall(qemu, octets)
                qemu.close()

            writing = asyncio.create_task(write())
            while not intake.ended or intake.held:
                await intake.filled()
                assert intake.held < _AHEAD + _READ
                got += (part := intake.take(50_000))
                intake.given(len(got))
                assert part or intake.ended
            await writing
        assert got == octets
        assert intake.octets == len(octets)

    run(told())


def test_what_nobody_takes_stays_with_qemu() -> None:
    async def told() -> None:
        async with reading() as (intake, qemu):
            writing = asyncio.create_task(
                asyncio.get_running_loop().sock_sendall(qemu, bytes(2_000_000))
            )
            await until(lambda: intake.held >= _AHEAD)
            before = intake.octets
            await asyncio.sleep(0.05)
            assert intake.octets == before < _AHEAD + _READ
            while not writing.done():
                await intake.filled()
                intake.take(intake.held)
                intake.given(intake.octets)
            qemu.close()

    run(told())


def test_what_is_under_way_is_bounded() -> None:
    """However quickly it is taken: QEMU counts it as arrived."""

    async def told() -> None:
        async with reading() as (intake, qemu):
            writing = asyncio.create_task(
                asyncio.get_running_loop().sock_sendall(qemu, bytes(50_000_000))
            )
            taken, before = 0, -1
            while taken != before or not taken:
                before = taken
                for _ in range(100):
                    await asyncio.sleep(0.001)
                    intake.take(intake.held)
                taken = intake.octets
            assert taken == intake.under_way < 20_000_000
            assert intake.waited_s > 0
            intake.given(taken)
            await until(lambda: intake.octets > taken)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            qemu.close()
            while not intake.ended:
                intake.given(intake.octets)
                await asyncio.sleep(0.001)
                intake.take(intake.held)

    run(told())


@pytest.mark.parametrize("last", [b"", b"its last octets"])
def test_a_killed_qemu_is_the_end(last: bytes) -> None:
    async def told() -> None:
        async with reading() as (intake, qemu):
            await asyncio.sleep(0.01)
            # What it has not read makes the kernel reset the connection.
            intake._qemu.send(b"return path")
            qemu.send(last)
            qemu.close()
            await asyncio.wait_for(until(lambda: intake.ended), 5)
            assert intake.take(100) == last

    run(told())
