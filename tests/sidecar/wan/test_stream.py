"""What a connection's socket is given, and what it gives."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from tests.sidecar.wan.ends import tls, until
from vpnctl.sidecar.wan.stream import Stream, in_tls_records

_RECORD = 16 * 1024


@asynccontextmanager
async def connected(certificates: Path | None) -> AsyncIterator[tuple[Stream, Stream]]:
    """Both ends of a connection over loopback, with TLS if there are certificates."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dialled = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    contexts = (None, None)
    if certificates is not None:
        here = tls(certificates, "cloud1.test", "cloud2.test")
        there = tls(certificates, "cloud2.test", "cloud1.test")
        contexts = here.client_context(), there.server_context()
    source, destination = await asyncio.gather(
        Stream.over_tcp(dialled, contexts[0], "cloud2.test"),
        Stream.over_tcp(accepted, contexts[1]),
    )
    try:
        yield source, destination
    finally:
        source.close()
        destination.close()


def run(told: Coroutine[None, None, None]) -> None:
    """In the loop that sidecars run in, which tells of an error once."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(told)


async def received(stream: Stream, count: int) -> bytes:
    """The next ``count`` octets."""
    into, have = memoryview(bytearray(count)), 0
    while have < count:
        more = await stream.receive(into[have:])
        assert more
        have += more
    return bytes(into)


@given(st.lists(st.integers(0, 600_000).map(lambda size: random.Random(size).randbytes(size))))
def test_tls_records_are_full_but_for_the_last(parts: list[bytes]) -> None:
    found = [bytes(one) for one in in_tls_records(parts)]
    assert b"".join(found) == b"".join(parts)
    assert all(found)
    assert all(len(one) % _RECORD == 0 for one in found[:-1])


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_the_kernel_does_not_take_at_once_is_sent_later(secure: bool, authority: Path) -> None:
    async def told() -> None:
        async with connected(authority if secure else None) as (source, destination):
            parts = [random.Random(size).randbytes(size) for size in (27, 20_000_000, 0, 34)]
            assert source.begin(*parts[:1])
            assert not source.has_begun
            assert not source.begin(*parts[1:])
            assert source.has_begun
            whole = b"".join(parts)
            got, _ = await asyncio.gather(received(destination, len(whole)), source.finish())
            assert got == whole
            assert not source.has_begun
            assert source.held_s > 0

    run(told())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_broken_connection_is_found_by_who_finishes(secure: bool, authority: Path) -> None:
    async def told() -> None:
        async with connected(authority if secure else None) as (source, destination):
            destination.close()
            # The kernel takes what it has room for until it hears that nobody is there.
            source.begin(bytes(100_000))
            await asyncio.sleep(0.01)
            source.begin(bytes(100_000))
            assert source.has_begun
            with pytest.raises(ConnectionError):
                await source.finish()

    run(told())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_comes_later_is_received_as_well(secure: bool, authority: Path) -> None:
    async def told() -> None:
        async with connected(authority if secure else None) as (source, destination):
            for size in (1, 20_000, 300_000):
                octets = random.Random(size).randbytes(size)
                _, got = await asyncio.gather(source.send(octets), received(destination, size))
                assert got == octets
            room = memoryview(bytearray(1000))
            receiving = asyncio.create_task(destination.receive(room))
            await asyncio.sleep(0.01)
            assert not receiving.done()
            await source.send(b"more")
            assert await receiving == 4
            assert bytes(room[:4]) == b"more"
            await source.send(b"and more")
            # Nobody waits, and what is there is found all the same.
            await until(lambda: destination.receive_waiting(room) == 8)
            source.close()
            assert await destination.receive(room) == 0

    run(told())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_end_that_lies_behind_octets_is_found(secure: bool, authority: Path) -> None:
    """Both have come before anybody looks, and the end is a reset."""

    async def told() -> None:
        async with connected(authority if secure else None) as (source, destination):
            room = memoryview(bytearray(1000))
            receiving = asyncio.create_task(destination.receive(room))
            await asyncio.sleep(0.01)
            # What it has not read makes the kernel reset the connection.
            await destination.send(b"nobody reads this")
            await asyncio.sleep(0.01)
            await source.send(b"the last")
            source.close()
            assert await receiving == 8
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(destination.receive(room), 5) == 0

    run(told())
