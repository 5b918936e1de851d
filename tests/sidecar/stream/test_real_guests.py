"""Guests migrate through parser and writer, and find every page as they left it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.sidecar.stream.monitor import reasons_against
from tests.support.guest_image import MissingError, kernel
from tests.support.qemu import (
    GuestError,
    Shape,
    find_newer_qemu,
    find_qemu,
    qemu_version,
    relaying,
    start_guest,
)
from vpnctl.sidecar.stream.events import Pages
from vpnctl.sidecar.stream.parser import Phase, StreamParser
from vpnctl.sidecar.stream.writer import octets_of

pytestmark = pytest.mark.daemon


@dataclass
class Passage:
    """Octets through parser and writer, as two sidecars would pass them on."""

    parser: StreamParser = field(default_factory=StreamParser)
    came: hashlib._Hash = field(default_factory=hashlib.sha256)
    went: hashlib._Hash = field(default_factory=hashlib.sha256)
    sent: dict[tuple[bytes, int], int] = field(default_factory=dict)

    def __call__(self, octets: bytes) -> bytes:
        self.came.update(octets)
        out = []
        for event in self.parser.feed(octets):
            out.append(octets_of(event))
            if isinstance(event, Pages):
                for address in event.addresses.tolist():
                    place = event.block, address
                    self.sent[place] = self.sent.get(place, 0) + 1
        onward = b"".join(out)
        self.went.update(onward)
        return onward


OLD = [(find_qemu, machine) for machine in ("q35", "pc", "pc-i440fx-5.2", "microvm")]
NEW = [(find_newer_qemu, machine) for machine in ("q35", "pc", "microvm")]


@pytest.mark.parametrize(("find", "machine"), OLD + NEW)
def test_a_busy_guest_passes_unharmed(
    find: Callable[[], str], machine: str, image: Path, tmp_path: Path
) -> None:
    try:
        binary = find()
    except MissingError as missing:
        pytest.skip(str(missing))
    shape = Shape(machine=machine)
    passage = Passage()

    async def story() -> None:
        incoming, entry = tmp_path / "in", tmp_path / "out"
        async with (
            start_guest(tmp_path, kernel(), image, shape, name="a", binary=binary) as source,
            start_guest(
                tmp_path, kernel(), image, shape,
                name="b", binary=binary, incoming=f"unix:{incoming}",
            ) as destination,
            relaying(entry, incoming, passage) as ended,
        ):  # fmt: skip
            await source.line("ready")
            for guest in (source, destination):
                await guest.set_capabilities({"return-path": True})
            assert await reasons_against(source) == []

            await source.execute("migrate", uri=f"unix:{entry}")
            assert await source.migrated() == "completed"
            await ended
            worked = await destination.verify()
            assert worked > 0

    asyncio.run(story())
    passage.parser.finish()
    assert passage.parser.phase is Phase.DEVICES
    assert passage.came.digest() == passage.went.digest()
    # All of the RAM was recognised, and pages that the guest changed meanwhile came again.
    assert len(passage.sent) == sum(passage.parser.blocks.values()) // 4096
    assert max(passage.sent.values()) > 1


def test_a_guest_notices_what_was_changed_on_the_way(image: Path, tmp_path: Path) -> None:
    def spoil(octets: bytes) -> bytes:
        """A letter of the prose that the agent fills pages with, and that nothing else has."""
        return octets.replace(b" customer ", b" cUstomer ")

    async def story() -> None:
        incoming, entry = tmp_path / "in", tmp_path / "out"
        start = partial(start_guest, tmp_path, kernel(), image, Shape())
        async with (
            start(name="a") as source,
            start(name="b", incoming=f"unix:{incoming}") as destination,
            relaying(entry, incoming, spoil) as ended,
        ):
            await source.line("ready")
            await source.execute("migrate", uri=f"unix:{entry}")
            assert await source.migrated() == "completed"
            await ended
            with pytest.raises(GuestError, match="corrupt page"):
                await destination.verify()

    try:
        find_qemu()
    except MissingError as missing:
        pytest.skip(str(missing))
    asyncio.run(story())


@pytest.mark.parametrize("find", [find_qemu, find_newer_qemu])
def test_qemu_itself_is_asked_what_stands_against_a_migration(
    find: Callable[[], str], image: Path, tmp_path: Path
) -> None:
    try:
        binary = find()
    except MissingError as missing:
        pytest.skip(str(missing))
    # A multiple of 256 KiB, under software emulation.
    shape = Shape(ram_kib=96 * 1024)

    async def story() -> list[str]:
        async with start_guest(
            tmp_path, kernel(), image, shape, binary=binary, paused=True
        ) as guest:
            await guest.set_capabilities({"multifd": True, "dirty-bitmaps": True})
            return await reasons_against(guest)

    trap = ["tcg-256k"] if qemu_version(binary) < (9, 0) else []
    assert asyncio.run(story()) == ["dirty-bitmaps", "multifd", "return-path", *trap]
