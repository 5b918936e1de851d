"""Every machine type and capability: the stream passes, or is refused for what it is.

The guests are not booted: what differs is around the pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.sidecar.stream.monitor import reasons_against
from tests.support.guest_image import MissingError, build_image, kernel
from tests.support.qemu import Shape, find_newer_qemu, find_qemu, recording, start_guest
from vpnctl.errors import StreamRefusedError
from vpnctl.sidecar.stream.events import Pages
from vpnctl.sidecar.stream.parser import Phase, StreamParser
from vpnctl.sidecar.stream.writer import octets_of

pytestmark = pytest.mark.daemon

#: Beginnings of the names of machine types that have a version; the others are aliases or Xen's.
FAMILIES = ("pc-i440fx-", "pc-q35-", "microvm")


class Laboratory:
    """Guests that are never booted, one after the other."""

    def __init__(self, binary: str, image: Path, directory: Path) -> None:
        self._start = partial(start_guest, directory, kernel(), image, binary=binary, paused=True)
        self._directory = directory

    def ask(self, command: str) -> Any:
        """What QEMU answers."""

        async def story() -> Any:
            async with self._start(Shape()) as guest:
                return await guest.execute(command)

        return asyncio.run(story())

    def migrate(self, machine: str = "q35", *capabilities: str) -> tuple[list[str], bytes]:
        """Names of what stands against a migration, and what QEMU sends all the same."""
        out = self._directory / "stream"

        async def story() -> list[str]:
            async with (
                self._start(Shape(machine=machine)) as guest,
                recording(self._directory / "out", out) as received,
            ):
                await guest.set_capabilities(dict.fromkeys(capabilities, True))
                reasons = await reasons_against(guest)
                await guest.execute("migrate", uri=f"unix:{self._directory}/out")
                assert await guest.migrated() == "completed"
                await received
            return reasons

        return asyncio.run(story()), out.read_bytes()


@pytest.fixture(params=[find_qemu, find_newer_qemu])
def laboratory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Laboratory:
    find: Callable[[], str] = request.param
    directory = tmp_path_factory.mktemp("laboratory")
    try:
        return Laboratory(find(), build_image(directory), directory)
    except MissingError as missing:
        pytest.skip(str(missing))


def check_that_it_passes(octets: bytes) -> None:
    parser = StreamParser()
    events = parser.feed(octets)
    parser.finish()
    assert parser.phase is Phase.DEVICES
    assert b"".join(map(octets_of, events)) == octets
    pages = sum(len(event.headers) for event in events if isinstance(event, Pages))
    assert pages == sum(parser.blocks.values()) // 4096


def test_every_machine_type_passes_or_is_refused(laboratory: Laboratory) -> None:
    names = sorted(each["name"] for each in laboratory.ask("query-machines"))
    passed = 0
    for machine in (name for name in names if name.startswith(FAMILIES)):
        reasons, octets = laboratory.migrate(machine)
        if machine in reasons:
            with pytest.raises(StreamRefusedError, match=r"machine|footer|section"):
                StreamParser().feed(octets)
        else:
            check_that_it_passes(octets)
            passed += 1
    assert passed > 3


@pytest.mark.parametrize("capability", ["x-ignore-shared", "dirty-bitmaps", "block", "compress"])
def test_capabilities_are_refused_beforehand_and_in_the_stream(
    laboratory: Laboratory, capability: str
) -> None:
    known = {each["capability"] for each in laboratory.ask("query-migrate-capabilities")}
    if capability not in known:
        pytest.skip(f"this QEMU has no capability {capability}")
    reasons, octets = laboratory.migrate("q35", capability)
    assert capability in reasons
    with pytest.raises(StreamRefusedError, match=capability):
        StreamParser().feed(octets)


@pytest.mark.parametrize("capability", ["validate-uuid", "zero-blocks", "auto-converge"])
def test_capabilities_that_change_nothing_pass(laboratory: Laboratory, capability: str) -> None:
    reasons, octets = laboratory.migrate("q35", capability)
    assert capability not in reasons
    check_that_it_passes(octets)
