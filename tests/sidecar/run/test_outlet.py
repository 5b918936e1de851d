"""What the destination's QEMU is given, at once or as it takes it."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from vpnctl.sidecar.run.outlet import Outlet


def ends() -> tuple[Outlet, socket.socket]:
    """An outlet, and its QEMU."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return Outlet(ours), theirs


def parts(*sizes: int) -> list[memoryview]:
    return [memoryview(random.Random(size).randbytes(size)) for size in sizes]


def test_what_qemu_has_room_for_goes_at_once() -> None:
    outlet, qemu = ends()
    found = parts(1, 5000, 300)
    assert outlet.write_at_once(found) == []
    assert outlet.octets == 5301
    assert outlet.given.is_set()
    assert qemu.recv(10_000) == b"".join(found)


def test_the_rest_goes_as_qemu_takes_it() -> None:
    async def told() -> None:
        outlet, qemu = ends()
        found = parts(1000, 3_000_000, 2000)
        rest = outlet.write_at_once(found)
        assert 1000 < outlet.octets < 3_000_000
        assert outlet.octets + sum(map(len, rest)) == 3_003_000
        before = outlet.octets
        # There is no more room.
        assert b"".join(outlet.write_at_once(rest)) == b"".join(rest)
        assert outlet.octets == before
        reader, _ = await asyncio.open_connection(sock=qemu)
        _, got = await asyncio.gather(outlet.write(rest), reader.readexactly(3_003_000))
        assert got == b"".join(found)
        assert outlet.octets == 3_003_000

    asyncio.run(told())


def test_a_qemu_that_has_closed_is_found_by_who_waits() -> None:
    outlet, qemu = ends()
    qemu.close()
    found = parts(100)
    assert outlet.write_at_once(found) == found
    assert not outlet.given.is_set()
    with pytest.raises(ConnectionError):
        asyncio.run(outlet.write(found))
