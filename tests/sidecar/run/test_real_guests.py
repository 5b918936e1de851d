"""Guests move between two QEMUs through two sidecars, and find every page as they left it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sidecar.wan.ends import tls, until
from tests.support.guest_image import kernel
from tests.support.qemu import Guest, Shape, start_guest
from tests.support.relay import Relay, relayed
from vpnctl.errors import SidecarError, VpnctlError
from vpnctl.sidecar.elimination import Options
from vpnctl.sidecar.run.destination import DestinationSidecar
from vpnctl.sidecar.run.progress import Phase
from vpnctl.sidecar.run.settings import DestinationSettings, SourceSettings
from vpnctl.sidecar.run.source import SourceSidecar
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.limits import Limits

pytestmark = pytest.mark.daemon

LIMITS = Limits(resume_s=20.0, keepalive_s=5.0)
SMALL = {"cache_size": 64 << 20, "window_log": 24}
STAGES = {
    "all": Options(site=False, **SMALL),
    "zstd": Options.zstd_long(),
    "none": Options.pass_through(),
}


@dataclass
class Stage:
    """Two guests' QEMUs, the first one running, and a sidecar beside each, with a link between."""

    source: Guest
    destination: Guest
    at_source: SourceSidecar
    at_destination: DestinationSidecar
    relay: Relay
    sending: asyncio.Task[None]
    taking: asyncio.Task[None]

    async def moving(self, octets: int) -> None:
        """Return when so much of the guest's stream has reached the destination's QEMU."""
        await until(
            lambda: (
                self.at_destination.progress().guest >= octets
                or self.sending.done()
                or self.taking.done()
            )
        )

    async def both_ended(self) -> list[BaseException | None]:
        return await asyncio.gather(self.sending, self.taking, return_exceptions=True)


@asynccontextmanager
async def staged(
    directory: Path,
    image: Path,
    authority: Path,
    *,
    options: Options = STAGES["all"],
    rate: int | None = None,
    adaptive: bool = False,
    limits: Limits = LIMITS,
) -> AsyncIterator[Stage]:
    entry, incoming = directory / "out", directory / "in"
    shape = Shape()
    at_destination = DestinationSidecar(
        DestinationSettings(
            incoming,
            Address("127.0.0.1", 0),
            tls(authority, "cloud2.test", "cloud1.test"),
            limits=limits,
        ),
        notice=print,
    )
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    ready = asyncio.Event()
    async with (
        start_guest(directory, kernel(), image, shape, name="a") as source,
        start_guest(
            directory, kernel(), image, shape, name="b", incoming=f"unix:{incoming}"
        ) as destination,
    ):
        for guest in (source, destination):
            await guest.set_capabilities({"return-path": True})
        await source.line("ready")
        taking = asyncio.create_task(at_destination.run(listening.set_result))
        async with relayed(await listening) as relay:
            at_source = SourceSidecar(
                SourceSettings(
                    entry,
                    relay.address,
                    tls(authority, "cloud1.test", "cloud2.test"),
                    "web1",
                    options=options,
                    limits=limits,
                    rate=rate,
                    adaptive=adaptive,
                )
            )
            sending = asyncio.create_task(at_source.run(ready.set))
            await ready.wait()
            await source.execute("migrate", uri=f"unix:{entry}")
            try:
                yield Stage(source, destination, at_source, at_destination, relay, sending, taking)
            finally:
                for task in (sending, taking):
                    task.cancel()
                await asyncio.gather(sending, taking, return_exceptions=True)


@pytest.mark.parametrize(
    ("stages", "adaptive"), [*((name, False) for name in STAGES), ("all", True)]
)
def test_a_busy_guest_moves_over_tls(
    stages: str, adaptive: bool, image: Path, authority: Path, tmp_path: Path
) -> None:
    async def story() -> None:
        async with staged(
            tmp_path, image, authority, options=STAGES[stages], adaptive=adaptive
        ) as stage:
            assert await stage.source.migrated() == "completed"
            assert await stage.both_ended() == [None, None]
            assert await stage.destination.verify() > 0
            sent, got = stage.at_source.progress(), stage.at_destination.progress()
            assert sent.phase is got.phase is Phase.DONE
            assert sent.guest == got.guest > 40 << 20
            assert sent.cuts == 0
            if stages == "none":
                assert sent.wire > sent.guest
            elif not adaptive:
                assert sent.wire < sent.guest / 2

    asyncio.run(story())


def test_a_slow_link_is_worth_every_effort(image: Path, authority: Path, tmp_path: Path) -> None:
    """What adapts to the link must not save effort where the link is what takes the time."""

    async def story() -> None:
        async with staged(tmp_path, image, authority, adaptive=True) as stage:
            stage.relay.rate = 12_500_000
            assert await stage.source.migrated() == "completed"
            assert await stage.both_ended() == [None, None]
            assert await stage.destination.verify() > 0
            sent = stage.at_source.progress()
            assert sent.guest > 40 << 20
            assert sent.wire < sent.guest / 2
            # Nothing but what ends a piece went out as it was.
            assert sent.stages["compress"].hits > 0.9 * sent.stages["compress"].tried

    asyncio.run(story())


def test_a_guest_survives_a_link_that_is_cut_again_and_again(
    image: Path, authority: Path, tmp_path: Path
) -> None:
    async def story() -> None:
        async with staged(tmp_path, image, authority, rate=200_000_000) as stage:
            stage.relay.cut_after(sorted(random.Random(1).sample(range(20_000, 6_000_000), 25)))
            assert await stage.source.migrated() == "completed"
            assert await stage.both_ended() == [None, None]
            assert await stage.destination.verify() > 0
            assert stage.at_source.progress().cuts >= 20

    asyncio.run(story())


def test_a_guest_whose_link_is_gone_too_long_runs_on_at_the_source(
    image: Path, authority: Path, tmp_path: Path
) -> None:
    limits = Limits(resume_s=0.5, keepalive_s=0.3)

    async def story() -> None:
        async with staged(tmp_path, image, authority, rate=20_000_000, limits=limits) as stage:
            await stage.moving(5 << 20)
            stage.relay.shut()
            for ended in await stage.both_ended():
                assert isinstance(ended, SidecarError)
                assert "cut and not made again" in ended.message
            assert await stage.source.migrated() == "failed"
            assert await stage.source.verify() > 0

    asyncio.run(story())


def test_a_guest_whose_destination_is_killed_runs_on_and_can_move_again(
    image: Path, authority: Path, tmp_path: Path
) -> None:
    async def story() -> None:
        async with staged(tmp_path, image, authority, rate=50_000_000) as stage:
            await stage.moving(5 << 20)
            stage.destination.process.kill()
            at_source, at_destination = await stage.both_ended()
            assert isinstance(at_source, VpnctlError)
            assert isinstance(at_destination, VpnctlError)
            assert "destination closed its socket before the guest was loaded" in at_source.message
            assert await stage.source.migrated() == "failed"
            assert await stage.source.verify() > 0

    asyncio.run(story())


def test_a_migration_cancelled_at_the_source_ends_both_sidecars(
    image: Path, authority: Path, tmp_path: Path
) -> None:
    async def story() -> None:
        async with staged(tmp_path, image, authority, rate=50_000_000) as stage:
            await stage.moving(5 << 20)
            await stage.source.execute("migrate_cancel")
            at_source, at_destination = await stage.both_ended()
            assert "source ended the migration before the guest was loaded" in str(at_source)
            assert isinstance(at_destination, SidecarError)
            assert await stage.source.verify() > 0

    asyncio.run(story())
