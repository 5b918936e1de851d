"""QEMU is asked before its guest is touched."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.sidecar.stream.test_refusals import FINE
from vpnctl.errors import StreamRefusedError, UsageError
from vpnctl.sidecar.run.monitor import monitored
from vpnctl.sidecar.run.settings import SourceSettings
from vpnctl.sidecar.run.source import SourceSidecar
from vpnctl.sidecar.stream.refusals import QUERIES
from vpnctl.sidecar.wan.address import Address

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}}, "capabilities": []}}
ACTIVE = {"status": "active", "ram": {"remaining": 123_456_789}}


@asynccontextmanager
async def qemu(path: Path, answers: Mapping[str, Any], migrate: Any = None) -> AsyncIterator[None]:
    """A monitor at ``path`` that answers `QUERIES`; other commands are unknown to it."""

    def answer(command: str, arguments: object) -> dict[str, Any]:
        if command == "qmp_capabilities":
            return {"return": {}}
        if command == "query-migrate" and migrate is not None:
            return {"return": migrate}
        for query in QUERIES:
            same = (query.command, dict(query.arguments)) == (command, arguments or {})
            if same and query.name in answers:
                return {"return": answers[query.name]}
        return {"error": {"class": "CommandNotFound", "desc": f"{command} has not been found"}}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(GREETING).encode() + b"\n")
        while octets := await reader.read(65536):
            # The library puts nothing between two commands, and waits for each answer.
            asked = json.loads(octets)
            said = answer(asked["execute"], asked.get("arguments"))
            echoed = {key: value for key, value in asked.items() if key == "id"}
            writer.write(json.dumps(said | echoed).encode() + b"\n")
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield


async def ask(path: Path) -> int | None:
    async with monitored(path) as monitor:
        await monitor.refuse()
        return await monitor.remaining()


def asked(path: Path, answers: Mapping[str, Any] = FINE, migrate: Any = None) -> int | None:
    """What is left, as a monitor with these answers says; raises what it is refused for."""

    async def story() -> int | None:
        async with qemu(path, answers, migrate):
            return await ask(path)

    return asyncio.run(story())


def test_a_qemu_that_ends_meanwhile_does_not_hide_how_its_migration_ended(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(GREETING).encode() + b"\n")
        assert b"qmp_capabilities" in await reader.read(65536)
        writer.write(b'{"return": {}}\n')
        assert b"query-migrate" in await reader.read(65536)
        writer.close()

    async def story() -> int | None:
        async with (
            await asyncio.start_unix_server(serve, tmp_path / "qmp"),
            monitored(tmp_path / "qmp") as monitor,
        ):
            return await monitor.remaining()

    assert asyncio.run(story()) is None


@pytest.mark.parametrize(
    ("migrate", "remaining"),
    [(ACTIVE, 123_456_789), ({}, None), ({"status": "completed"}, None), (None, None)],
)
def test_a_guest_that_may_go_is_not_refused(
    tmp_path: Path, migrate: Any, remaining: int | None
) -> None:
    assert asked(tmp_path / "qmp", migrate=migrate) == remaining


def test_every_reason_is_told_with_its_remedy(tmp_path: Path) -> None:
    on = [{"capability": name, "state": True} for name in ("multifd", "xbzrle")]
    with pytest.raises(StreamRefusedError) as error:
        asked(tmp_path / "qmp", FINE | {"capabilities": on})
    for name in ("multifd", "xbzrle", "return-path"):
        assert f"{name}: " in error.value.message
        assert f"migrate-set-capabilities: {name}" in error.value.hint


def test_a_monitor_that_lacks_a_command_is_told(tmp_path: Path) -> None:
    known = {name: answer for name, answer in FINE.items() if name != "memory"}
    with pytest.raises(UsageError, match=r"did not answer query-memory-size-summary: .*not been"):
        asked(tmp_path / "qmp", known)


def test_no_monitor_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no QEMU monitor answers at"):
        asyncio.run(ask(tmp_path / "none"))


def test_a_source_asks_before_anything_else(tmp_path: Path) -> None:
    async def story() -> None:
        on = [{"capability": "postcopy-ram", "state": True}]
        async with qemu(tmp_path / "qmp", FINE | {"capabilities": on}):
            nobody = Address("127.0.0.1", 1)
            settings = SourceSettings(tmp_path / "out", nobody, None, "m1", qmp=tmp_path / "qmp")
            with pytest.raises(StreamRefusedError, match="postcopy-ram"):
                await SourceSidecar(settings).run()

    asyncio.run(story())
    assert not (tmp_path / "out").exists()
