"""A disk over a bad link: real NBD on both sides, writes in any order, connections cut."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sidecar.wan.ends import tls, until
from tests.support.relay import Relay, relayed
from vpnctl.errors import MigrationError
from vpnctl.migration.disk.nbd import Client, Command, Request
from vpnctl.migration.disk.pace import Pace
from vpnctl.migration.disk.receiver import Receiver
from vpnctl.migration.disk.sender import Sender
from vpnctl.sidecar.elimination import SiteCache
from vpnctl.sidecar.wan.address import Address

pytestmark = pytest.mark.daemon

MIB = 1 << 20
SIZE = 8 * MIB


@dataclass
class Export:
    """A disk that QEMU exports at the socket ``path``."""

    path: Path
    process: asyncio.subprocess.Process


@asynccontextmanager
async def exported(directory: Path, content: bytes) -> AsyncIterator[Export]:
    """While the block runs."""
    if shutil.which("qemu-nbd") is None:
        pytest.skip("qemu-utils is not installed")
    disk, path = directory / "disk", directory / "export"
    disk.write_bytes(content)
    process = await asyncio.create_subprocess_exec(
        "qemu-nbd", "-t", "-k", str(path), "-x", "disk0", "-f", "raw", str(disk),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await until(path.exists)
        yield Export(path, process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def joined(
    directory: Path,
    export: Export,
    authority: Path,
    *,
    blank: bool,
    name: str = "cloud1.test",
    caches: tuple[SiteCache | None, SiteCache | None] = (None, None),
) -> AsyncIterator[tuple[Sender, Client, Relay]]:
    """A sender that QEMU would write to, and the link in between."""
    near_cache, far_cache = caches
    receiver = Receiver(
        "m1",
        export.path,
        frozenset({0}),
        frozenset({0} if blank else ()),
        tls(authority, "cloud2.test", "cloud1.test"),
        far_cache,
    )
    where = await receiver.open(Address("127.0.0.1", 0))
    async with relayed(where) as relay:
        own = tls(authority, name, "cloud2.test")
        sender = Sender(relay.address, own, "m1", 0, Pace(None), near_cache, resume_s=2.0)
        try:
            async with sender.serving(directory / "near") as size:
                assert size == SIZE
                near = await Client.connect(directory / "near", "disk0")
                yield sender, near, relay
                near.close()
        finally:
            await receiver.close()


async def write_all(near: Client, content: bytes) -> None:
    """As QEMU's mirror does it."""
    await near.ask(Request(Command.ZERO, 0, len(content)))
    for at in range(0, len(content), MIB):
        await near.ask(Request(Command.WRITE, at, MIB, content[at : at + MIB]))
    await near.ask(Request(Command.FLUSH, 0, 0))


def test_a_disk_arrives_whatever_is_cut(tmp_path: Path, authority: Path) -> None:
    content = random.Random(1).randbytes(SIZE)

    async def story() -> None:
        async with (
            exported(tmp_path, bytes(SIZE)) as export,
            joined(tmp_path, export, authority, blank=True) as (sender, near, relay),
        ):
            relay.cut_after(sorted(random.Random(2).sample(range(10_000, SIZE), 10)))
            await write_all(near, content)
            assert sender.traffic.cuts >= 5
        assert (tmp_path / "disk").read_bytes() == content

    asyncio.run(story())


def test_only_what_changed_goes_to_an_old_copy(tmp_path: Path, authority: Path) -> None:
    old = random.Random(1).randbytes(SIZE)
    new = old[:MIB] + b"changed!" * 512 + old[MIB + 4096 :]

    async def story() -> None:
        async with (
            exported(tmp_path, old) as export,
            joined(tmp_path, export, authority, blank=False) as (sender, near, _),
        ):
            await write_all(near, new)
            assert sender.traffic.wire < SIZE * 0.05
        assert (tmp_path / "disk").read_bytes() == new

    asyncio.run(story())


def test_a_write_is_answered_at_once_and_a_flush_when_it_is_there(
    tmp_path: Path, authority: Path
) -> None:
    octets = b"x" * 4096

    async def story() -> None:
        async with (
            exported(tmp_path, bytes(SIZE)) as export,
            joined(tmp_path, export, authority, blank=False) as (sender, near, _),
        ):
            # Nothing was written: there is nothing to wait for.
            export.process.send_signal(signal.SIGSTOP)
            try:
                await near.ask(Request(Command.FLUSH, 0, 0))
                await near.ask(Request(Command.WRITE, 8192, len(octets), octets))
                assert sender.silent_s() > 0
                flush = asyncio.create_task(near.ask(Request(Command.FLUSH, 0, 0)))
                await asyncio.wait((flush,), timeout=0.2)
                assert not flush.done()
            finally:
                export.process.send_signal(signal.SIGCONT)
            await flush
            assert sender.silent_s() == 0
            assert (tmp_path / "disk").read_bytes()[8192 : 8192 + len(octets)] == octets

    asyncio.run(story())


def test_what_is_lost_behind_a_write_is_told_at_the_flush(tmp_path: Path, authority: Path) -> None:
    async def story() -> None:
        async with (
            exported(tmp_path, bytes(SIZE)) as export,
            joined(tmp_path, export, authority, blank=False) as (_, near, relay),
        ):
            relay.cut_after([1])
            export.process.kill()
            await near.ask(Request(Command.WRITE, 0, 4096, b"x" * 4096))
            with pytest.raises(MigrationError):
                await near.ask(Request(Command.FLUSH, 0, 0))

    asyncio.run(story())


def test_what_went_for_another_machine_is_in_the_sites_cache(
    tmp_path: Path, authority: Path
) -> None:
    """Also when the other site has lost some of it since."""
    content = random.Random(1).randbytes(SIZE)
    directories = tmp_path / "c1", tmp_path / "c2"

    async def story(*, damaged: bool = False) -> int:
        caches = SiteCache(directories[0], 64 * MIB), SiteCache(directories[1], 64 * MIB)
        async with (
            exported(tmp_path, bytes(SIZE)) as export,
            joined(tmp_path, export, authority, blank=True, caches=caches) as (sender, near, _),
        ):
            if damaged:
                for segment in directories[1].glob("*.segment"):
                    with segment.open("r+b") as file:
                        file.write(b"damaged")
            await write_all(near, content)
        assert (tmp_path / "disk").read_bytes() == content
        return sender.traffic.wire

    assert asyncio.run(story()) > SIZE * 0.9
    assert asyncio.run(story()) < SIZE * 0.05
    assert asyncio.run(story(damaged=True)) > SIZE * 0.9


def test_nobody_else_may_write(tmp_path: Path, authority: Path) -> None:
    async def story() -> None:
        async with exported(tmp_path, bytes(SIZE)) as export:
            with pytest.raises(MigrationError):
                async with joined(tmp_path, export, authority, blank=True, name="cloud2.test"):
                    pass
        assert (tmp_path / "disk").read_bytes() == bytes(SIZE)

    asyncio.run(story())
