"""Both sidecars, between QEMUs that are made up."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.sidecar.run.qemus import NOT_LOADED, PONG, Incoming, migrate, waiting
from tests.sidecar.stream.samples import SAMPLES, sample
from tests.sidecar.wan.ends import tls, until
from tests.support.relay import Relay, relayed
from vpnctl.errors import SidecarError, StreamRefusedError, UsageError
from vpnctl.sidecar.elimination import Options
from vpnctl.sidecar.run.destination import DestinationSidecar
from vpnctl.sidecar.run.progress import Phase
from vpnctl.sidecar.run.settings import DestinationSettings, SiteDirectory, SourceSettings
from vpnctl.sidecar.run.source import SourceSidecar
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.limits import Limits

PATIENCE_S = 60.0
MIB = 1 << 20
LOOPBACK = Address("127.0.0.1", 0)
LIMITS = Limits(connect_s=10.0, resume_s=10.0, keepalive_s=5.0)
SMALL = Options(site=False, cache_size=MIB, window_log=20)


def story(told: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await told()

    asyncio.run(bounded())


@dataclass
class Pair:
    """Two running sidecars and the link between them."""

    entry: Path
    source: SourceSidecar
    destination: DestinationSidecar
    relay: Relay
    sending: asyncio.Task[None]
    taking: asyncio.Task[None]

    async def ended(self) -> tuple[BaseException | None, BaseException | None]:
        """How the source's and the destination's ended."""
        one, other = await asyncio.gather(self.sending, self.taking, return_exceptions=True)
        return one, other


@asynccontextmanager
async def paired(
    directory: Path,
    *,
    options: Options = SMALL,
    source: dict[str, object] | None = None,
    destination: dict[str, object] | None = None,
) -> AsyncIterator[Pair]:
    """Sidecars over plain TCP whose source is ready for QEMU."""
    at_destination = DestinationSidecar(
        replace(
            DestinationSettings(directory / "in", LOOPBACK, None, LIMITS), **(destination or {})
        ),
        notice=print,
    )
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    taking = asyncio.create_task(at_destination.run(listening.set_result))
    async with relayed(await listening) as relay:
        chosen = {"tls": None, "limits": LIMITS, "adaptive": False} | (source or {})
        at_source = SourceSidecar(
            SourceSettings(
                directory / "out", relay.address, migration="m1", options=options, **chosen
            )
        )
        ready = asyncio.Event()
        sending = asyncio.create_task(at_source.run(ready.set))
        is_ready = asyncio.create_task(ready.wait())
        await asyncio.wait((is_ready, sending), return_when=asyncio.FIRST_COMPLETED)
        try:
            yield Pair(directory / "out", at_source, at_destination, relay, sending, taking)
        finally:
            for task in (sending, taking, is_ready):
                task.cancel()
            await asyncio.gather(sending, taking, is_ready, return_exceptions=True)


@pytest.mark.parametrize(
    "options", [SMALL, Options.zstd_long(), Options.pass_through()], ids=["all", "zstd", "none"]
)
def test_a_stream_and_its_return_path_are_carried(options: Options, tmp_path: Path) -> None:
    async def told() -> None:
        octets = sample(SAMPLES[-1])
        qemu = Incoming(len(octets))
        async with waiting(tmp_path / "in", qemu), paired(tmp_path, options=options) as pair:
            assert pair.source.progress().phase is Phase.WAITING
            back = await migrate(pair.entry, octets)
            assert await pair.ended() == (None, None)
            assert qemu.got == octets
            assert back == PONG + qemu.last_words
            done = pair.source.progress()
            assert done.phase is pair.destination.progress().phase is Phase.DONE
            assert done.guest == pair.destination.progress().guest == len(octets)
            assert "compress" in done.stages
            assert not pair.entry.exists()

    story(told)


def test_a_stream_goes_over_tls_with_a_site_cache(tmp_path: Path, authority: Path) -> None:
    octets = sample(SAMPLES[0])
    wire = []

    async def told() -> None:
        qemu = Incoming(len(octets))
        async with (
            waiting(tmp_path / "in", qemu),
            paired(
                tmp_path,
                options=replace(SMALL, site=True),
                source={
                    "tls": tls(authority, "cloud1.test", "cloud2.test"),
                    "site": SiteDirectory(tmp_path / "here", 64 * MIB),
                },
                destination={
                    "tls": tls(authority, "cloud2.test", "cloud1.test"),
                    "site": SiteDirectory(tmp_path / "there", 64 * MIB),
                },
            ) as pair,
        ):
            await migrate(pair.entry, octets)
            assert await pair.ended() == (None, None)
            assert qemu.got == octets
            wire.append(pair.source.progress().wire)

    for _ in range(2):
        story(told)
        (tmp_path / "in").unlink()
    assert wire[1] < wire[0] / 2


def test_a_stream_survives_cuts(tmp_path: Path) -> None:
    async def told() -> None:
        chance = random.Random(5)
        octets = chance.randbytes(20 * MIB)
        qemu = Incoming(len(octets))
        async with (
            waiting(tmp_path / "in", qemu),
            paired(tmp_path, options=Options.zstd_long()) as pair,
        ):
            pair.relay.cut_after(sorted(chance.sample(range(20_000, 15 * MIB), 30)))
            await migrate(pair.entry, octets)
            assert await pair.ended() == (None, None)
            assert qemu.got == octets
            assert pair.source.progress().cuts == 30

    story(told)


def test_what_trickles_does_not_wait_for_company(tmp_path: Path) -> None:
    """The last octets before a guest's pause must not stay in a codec."""

    async def told() -> None:
        octets = sample(SAMPLES[0])
        qemu = Incoming(len(octets))
        async with waiting(tmp_path / "in", qemu), paired(tmp_path) as pair:
            _, writer = await asyncio.open_unix_connection(pair.entry)
            for begin in range(0, len(octets), 50_000):
                writer.write(octets[begin : begin + 50_000])
                whole = min(begin + 50_000, len(octets)) - 8192
                await until(lambda whole=whole: pair.destination.progress().guest >= whole)  # type: ignore[misc]
            await qemu.ended.wait()
            writer.close()
            assert await pair.ended() == (None, None)

    story(told)


@pytest.mark.parametrize(
    ("last_words", "said"),
    [
        (NOT_LOADED, "destination closed its socket before the guest was loaded"),
        (b"", "destination closed its socket before the guest was loaded"),
    ],
)
def test_a_guest_that_was_not_loaded_is_an_error_at_both_ends(
    tmp_path: Path, last_words: bytes, said: str
) -> None:
    async def told() -> None:
        octets = sample(SAMPLES[0])
        qemu = Incoming(len(octets), last_words)
        async with waiting(tmp_path / "in", qemu), paired(tmp_path) as pair:
            await migrate(pair.entry, octets)
            at_source, at_destination = await pair.ended()
            assert said in str(at_source)
            assert isinstance(at_destination, SidecarError)
            assert pair.source.progress().phase is Phase.FAILED

    story(told)


def test_a_guest_without_return_path_leaves_it_open_what_became_of_it(tmp_path: Path) -> None:
    async def told() -> None:
        octets = sample(SAMPLES[0])
        qemu = Incoming(len(octets) + 1, b"")
        async with waiting(tmp_path / "in", qemu), paired(tmp_path) as pair:
            _, writer = await asyncio.open_unix_connection(pair.entry)
            writer.write(octets)
            await writer.drain()
            writer.close()
            for ended in await pair.ended():
                assert isinstance(ended, SidecarError)
                assert "ask both QEMUs with query-status before" in ended.hint

    story(told)


def test_a_killed_destination_ends_the_migration(tmp_path: Path) -> None:
    async def told() -> None:
        octets = random.Random(1).randbytes(30 * MIB)
        qemu = Incoming(len(octets))
        qemu.pause_at = MIB
        async with (
            waiting(tmp_path / "in", qemu),
            paired(tmp_path, options=Options.zstd_long()) as pair,
        ):
            migrating = asyncio.create_task(migrate(pair.entry, octets))
            await qemu.begun.wait()
            qemu.kill()
            assert await migrating == PONG
            at_source, at_destination = await pair.ended()
            assert "destination closed its socket before" in str(at_source)
            assert "closed its socket before" in str(at_destination)

    story(told)


@pytest.mark.parametrize(
    ("options", "octets"),
    [
        (Options.pass_through(), random.Random(1).randbytes(32 * MIB)),
        (Options.zstd_long(), bytes(64 * MIB)),
    ],
    ids=["octets that take room", "octets that take none on the way"],
)
def test_back_pressure_reaches_qemu(options: Options, octets: bytes, tmp_path: Path) -> None:
    """A QEMU whose octets are all taken at once believes that its guest has nearly moved."""

    async def told() -> None:
        limits = replace(LIMITS, window=2 * MIB)
        qemu = Incoming(len(octets))
        qemu.pause_at = 65536
        async with (
            waiting(tmp_path / "in", qemu),
            paired(tmp_path, options=options, source={"limits": limits}) as pair,
        ):
            migrating = asyncio.create_task(migrate(pair.entry, octets))
            taken = before = -1
            while taken != before or taken < MIB:
                before = taken
                await asyncio.sleep(0.5)
                taken = pair.source.progress().guest
            # The window, what either end works on, and the sockets of the two QEMUs.
            assert taken < 20 * MIB
            qemu.go_on.set()
            await migrating
            assert await pair.ended() == (None, None)
            assert qemu.got == octets

    story(told)


def test_what_is_no_migration_ends_it_at_both_ends(tmp_path: Path) -> None:
    async def told() -> None:
        qemu = Incoming(100)
        async with waiting(tmp_path / "in", qemu), paired(tmp_path) as pair:
            await migrate(pair.entry, b"GET / HTTP/1.1\r\n\r\n")
            at_source, at_destination = await pair.ended()
            assert isinstance(at_source, StreamRefusedError)
            assert str(at_destination) == f"the other site gave up: {at_source}"

    story(told)


def test_no_qemu_at_the_destination_is_told_before_the_guest_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def told() -> None:
        async with paired(tmp_path) as pair:
            at_source, at_destination = await pair.ended()
            assert "destination's QEMU cannot be reached" in str(at_source)
            assert "-incoming unix:" in at_destination.hint  # type: ignore[union-attr]
            assert not pair.entry.exists()

    story(told)
    assert f"no QEMU listens at {tmp_path / 'in'} yet" in capsys.readouterr().out


def test_a_destination_with_little_memory_refuses(tmp_path: Path) -> None:
    async def told() -> None:
        async with paired(tmp_path, destination={"memory": SMALL.memory - 1}) as pair:
            with pytest.raises(SidecarError, match="refused: the source's stages take"):
                await pair.sending
            assert not pair.taking.done()

    story(told)


def test_a_stopped_source_tells_the_destination(tmp_path: Path) -> None:
    async def told() -> None:
        qemu = Incoming(100)
        async with waiting(tmp_path / "in", qemu), paired(tmp_path) as pair:
            await until(lambda: pair.destination.progress().phase is Phase.MOVING)
            pair.sending.cancel()
            _, at_destination = await pair.ended()
            assert str(at_destination) == "the other site gave up: it was stopped by its operator"
            await qemu.ended.wait()

    story(told)


def test_a_socket_that_is_in_use_is_not_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "out"))
        sidecar = SourceSidecar(SourceSettings(tmp_path / "out", Address("::1", 9), None, "m1"))
        with pytest.raises(UsageError, match="Address already in use"):
            asyncio.run(sidecar.run())
        assert (tmp_path / "out").exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "cloud2.test", "0.0.0.0", "::"])
def test_memory_never_goes_anywhere_in_the_clear(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="without TLS"):
        SourceSettings(tmp_path / "out", Address(host, 1), None, "m1")
    with pytest.raises(UsageError, match="without TLS"):
        DestinationSettings(tmp_path / "in", Address(host, 1), None)


def test_a_link_that_fails_at_the_very_end_leaves_a_doubt_that_is_told(tmp_path: Path) -> None:
    """The destination's QEMU has loaded the guest; whether the source's knows is open."""

    async def told() -> None:
        octets = sample(SAMPLES[0])
        qemu = Incoming(len(octets))
        qemu.pause_at = 1
        limits = replace(LIMITS, resume_s=3.0)
        async with (
            waiting(tmp_path / "in", qemu),
            paired(tmp_path, source={"limits": limits}, destination={"limits": limits}) as pair,
        ):
            migrating = asyncio.create_task(migrate(pair.entry, octets))
            # All is at the destination's sidecar; its QEMU reads on once the link is gone.
            await until(
                lambda: (
                    pair.source.progress().guest == len(octets)
                    and pair.destination.progress().guest > len(octets) - 8192
                )
            )
            pair.relay.shut()
            qemu.go_on.set()
            at_source, at_destination = await pair.ended()
            assert "cut and not made again" in str(at_source)
            assert "has loaded the guest here, but the source may not know" in str(at_destination)
            assert "query-status" in at_destination.hint  # type: ignore[union-attr]
            await migrating

    story(told)
