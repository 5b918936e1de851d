"""Sidecars killed while a real guest moves: it runs on where it was, and the other one says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.guest_image import kernel
from tests.support.qemu import PATIENCE, Guest, Shape, start_guest
from tests.support.sidecars import Program, program

pytestmark = pytest.mark.daemon


@dataclass
class Scene:
    """A guest that is moving, some of its memory already at the destination's QEMU."""

    source: Guest
    destination: Guest
    at_source: Program
    at_destination: Program

    async def ran_on(self) -> None:
        """The guest is whole at the source, and the destination's QEMU has gone."""
        assert await self.source.migrated() == "failed"
        assert (await self.source.execute("query-status"))["status"] == "running"
        assert await self.source.verify() > 0
        async with asyncio.timeout(PATIENCE):
            assert await self.destination.process.wait() == 1
        assert "load of migration failed" in self.destination.log.read_text()


async def begun(source: Program) -> None:
    """Return when some of the guest's memory is on its way."""
    assert source.process.stdout is not None
    async for line in source.process.stdout:
        if json.loads(line)["guest"] > 4 << 20:
            return


@asynccontextmanager
async def moving(directory: Path, image: Path) -> AsyncIterator[Scene]:
    entry, incoming = directory / "out", directory / "in"
    plain = ("--plain", "--resume", 3)
    guest = Shape()
    async with (
        start_guest(directory, kernel(), image, guest, name="a") as source,
        start_guest(
            directory, kernel(), image, guest, name="b", incoming=f"unix:{incoming}"
        ) as destination,
    ):
        for one in (source, destination):
            await one.set_capabilities({"return-path": True})
        await source.line("ready")
        async with program(
            "destination", "--qemu", incoming, "--listen", "127.0.0.1:0", *plain
        ) as at_destination:
            where = (await at_destination.line(r"listening on (\S+)"))[1]
            async with program(
                *("source", "--qemu", entry, "--connect", where, *plain),
                *("--limit", "10M", "-o", "json"),
            ) as at_source:
                await at_source.line("ready")
                await source.execute("migrate", uri=f"unix:{entry}")
                await begun(at_source)
                yield Scene(source, destination, at_source, at_destination)


def test_a_guest_whose_own_sidecar_is_killed_runs_on(image: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with moving(tmp_path, image) as scene:
            scene.at_source.process.kill()
            await scene.ran_on()
            code, _ = await scene.at_destination.ended()
            assert code == 12
            assert "cut and not made again within 3 s" in scene.at_destination.said
            assert "the guest runs on at the source" in scene.at_destination.said
            assert "Traceback" not in scene.at_destination.said

    asyncio.run(story())


def test_a_guest_whose_other_sidecar_is_killed_runs_on(image: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with moving(tmp_path, image) as scene:
            scene.at_destination.process.kill()
            await scene.ran_on()
            code, _ = await scene.at_source.ended()
            assert code == 12
            assert "cut and not made again within 3 s" in scene.at_source.said
            assert "Connection refused" in scene.at_source.said
            assert "the guest runs on at the source" in scene.at_source.said
            assert "Traceback" not in scene.at_source.said

    asyncio.run(story())
