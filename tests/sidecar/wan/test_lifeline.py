"""A transfer over real connections on loopback: cut, silent, slow, and lying."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sidecar.wan import ends
from tests.sidecar.wan.ends import MAX_PAYLOAD, QUICK, Destination, tls, until
from tests.support.relay import Relay, relayed
from vpnctl.errors import SidecarError, SidecarProtocolError
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.lifeline import Lifeline
from vpnctl.sidecar.wan.limits import Limits
from vpnctl.sidecar.wan.messages import End, Outcome, Payload, Return, Verdict
from vpnctl.sidecar.wan.tls import Tls

#: Nothing here takes so long; without a bound a defect would hang the tests.
PATIENCE_S = 60.0


def story(told: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function to its end."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await told()

    asyncio.run(bounded())


@pytest.fixture(scope="module", params=["plain", "tls"])
def security(request: pytest.FixtureRequest, authority: Path) -> tuple[Tls | None, Tls | None]:
    """The source's and the destination's certificates, or none."""
    if request.param == "plain":
        return None, None
    return (
        tls(authority, "cloud1.test", "cloud2.test"),
        tls(authority, "cloud2.test", "cloud1.test"),
    )


async def deliver(source: Lifeline, octets: bytes, piece: int = 100_000) -> None:
    """All of ``octets`` as payloads, and the end."""
    for begin in range(0, len(octets), piece):
        await source.send(Payload(octets[begin : begin + piece]))
    await source.send(End())


async def collect(destination: Lifeline) -> bytes:
    """What `deliver` sent; the destination then tells its verdict and stays for the goodbye."""
    parts = []
    while isinstance(message := await destination.receive(), Payload):
        parts.append(bytes(message.octets))
    assert message == End()
    await destination.send(Verdict(Outcome.LOADED))
    destination.stay()
    return b"".join(parts)


async def transfer(source: Lifeline, destination: Lifeline, octets: bytes) -> bytes:
    """``octets`` from one end to the other, and everything said that is to be said."""

    async def send() -> None:
        async with source.kept():
            await deliver(source, octets)
            assert await source.receive() == Verdict(Outcome.LOADED)
            source.leave()

    async def take() -> bytes:
        async with destination.kept():
            return await collect(destination)

    _, got = await asyncio.gather(send(), take())
    return got


@asynccontextmanager
async def linked(
    security: tuple[Tls | None, Tls | None] = (None, None),
    *,
    limits: Limits = QUICK,
    rate: float | None = None,
) -> AsyncIterator[tuple[Lifeline, Destination, Relay]]:
    """A source, a destination, and the relay between them."""
    destination = Destination(security[1], limits=limits)
    where = await destination.listener.open()
    async with relayed(where) as relay:
        yield ends.source(relay.address, security[0], limits=limits, rate=rate), destination, relay


def test_octets_arrive(security: tuple[Tls | None, Tls | None]) -> None:
    async def told() -> None:
        octets = random.Random(1).randbytes(3_000_000)
        async with linked(security) as (source, destination, relay):
            assert await transfer(source, destination.lifeline, octets) == octets
            assert relay.connections == 1
            assert destination.notices == []

    story(told)


def test_octets_arrive_over_many_cuts(security: tuple[Tls | None, Tls | None]) -> None:
    async def told() -> None:
        chance = random.Random(2)
        octets = chance.randbytes(6_000_000)
        async with linked(security) as (source, destination, relay):
            relay.cut_after(sorted(chance.sample(range(20_000, 5_000_000), 40)))
            assert await transfer(source, destination.lifeline, octets) == octets
            assert relay.connections == 41
            assert source.traffic.cuts == 40
            assert source.transfer.resent > 0

    story(told)


def test_a_cut_of_some_length_is_survived() -> None:
    async def told() -> None:
        octets = random.Random(3).randbytes(4_000_000)
        async with linked() as (source, destination, relay):
            moving = asyncio.create_task(transfer(source, destination.lifeline, octets))
            await until(lambda: relay.forwarded >= 500_000)
            relay.shut()
            await until(lambda: not source.connected)
            relay.reopen()
            assert await moving == octets

    story(told)


def test_a_cut_longer_than_the_limit_ends_the_migration_at_both_ends() -> None:
    async def told() -> None:
        limits = Limits(connect_s=5.0, resume_s=0.3, keepalive_s=0.2)
        async with linked(limits=limits) as (source, destination, relay):
            moving = asyncio.create_task(transfer(source, destination.lifeline, bytes(50_000_000)))
            await until(lambda: relay.forwarded >= 500_000)
            relay.shut()
            with pytest.raises(SidecarError, match="cut and not made again"):
                await moving
            with pytest.raises(SidecarError, match="cut and not made again"):
                await destination.lifeline.receive()

    story(told)


def test_a_silent_link_is_noticed_and_replaced() -> None:
    async def told() -> None:
        octets = random.Random(4).randbytes(2_000_000)
        limits = replace(QUICK, keepalive_s=0.2)
        async with linked(limits=limits) as (source, destination, relay):
            moving = asyncio.create_task(transfer(source, destination.lifeline, octets))
            await until(lambda: relay.forwarded >= 100_000)
            relay.silence()
            await until(lambda: source.traffic.cuts > 0)
            relay.cut()
            relay.speak()
            assert await moving == octets

    story(told)


def test_a_link_with_nothing_to_send_is_kept() -> None:
    async def told() -> None:
        limits = Limits(keepalive_s=1.5)
        async with (
            linked(limits=limits) as (source, destination, _),
            source.kept(),
            destination.lifeline.kept(),
        ):
            await source.connect()
            before = destination.lifeline.traffic.received
            await until(lambda: destination.lifeline.traffic.received >= before + 4 * 17)
            assert source.traffic.cuts == destination.lifeline.traffic.cuts == 0
            await deliver(source, b"")
            await collect(destination.lifeline)
            assert await source.receive() == Verdict(Outcome.LOADED)
            source.leave()

    story(told)


def test_one_that_had_no_processor_for_long_does_not_call_its_peer_silent() -> None:
    async def told() -> None:
        limits = Limits(keepalive_s=0.2)
        destination = Destination(limits=limits)
        source = ends.source(await destination.listener.open(), limits=limits)
        async with source.kept(), destination.lifeline.kept():
            await source.connect()
            for number in range(3):
                # What either end says waits with the kernel, and all its patience runs out.
                await source.send(Payload(bytes([number])))
                await destination.lifeline.send(Return(bytes([number])))
                time.sleep(limits.silence_s + 0.1)  # noqa: ASYNC251 - nothing is to go on
                assert await destination.lifeline.receive() == Payload(bytes([number]))
                assert await source.receive() == Return(bytes([number]))
            assert source.traffic.cuts == destination.lifeline.traffic.cuts == 0
            await deliver(source, b"")
            await collect(destination.lifeline)
            await source.receive()
            source.leave()

    story(told)


def test_a_source_whose_peer_takes_nothing_has_to_wait() -> None:
    """What QEMU wrote may not pile up: it would believe that the guest has nearly moved."""

    async def told() -> None:
        async with (
            linked(limits=replace(QUICK, window=2_000_000)) as (source, destination, _),
            source.kept(),
            destination.lifeline.kept(),
        ):
            await source.connect()
            sending = asyncio.create_task(deliver(source, bytes(30_000_000)))
            held, before = source.transfer.queued, -1
            while held != before or not held:
                before = held
                await asyncio.sleep(0.5)
                held = source.transfer.queued
            # The window, and the peer's inbox.
            assert held < 8_000_000
            assert not sending.done()
            assert source.transfer.unsent < QUICK.queue + MAX_PAYLOAD
            assert source.traffic.cuts == 0
            assert await collect(destination.lifeline) == bytes(30_000_000)
            await source.receive()
            source.leave()

    story(told)


def test_the_limit_changes_while_octets_move() -> None:
    async def told() -> None:
        octets = bytes(3_000_000)
        async with linked(rate=50_000.0) as (source, destination, relay):
            moving = asyncio.create_task(transfer(source, destination.lifeline, octets))
            await until(lambda: relay.forwarded >= 50_000)
            assert not moving.done()
            assert source.transfer.sent < 1_000_000
            source.set_rate(None)
            assert await moving == octets
            assert source.rate is None

    story(told)


def test_what_the_link_takes_at_once_has_gone_when_it_was_queued() -> None:
    """Nobody has to be woken up for it; unless a limit makes it wait."""

    async def told() -> None:
        async with (
            linked() as (source, destination, _),
            source.kept(),
            destination.lifeline.kept(),
        ):
            await source.connect()
            for number in range(50):
                await asyncio.sleep(0.001)
                before = source.transfer.sent
                payloads = [Payload(bytes([number])), Payload(bytes(1000))]
                await source.send(*payloads)
                assert source.transfer.unsent == 0
                assert source.transfer.sent == before + 1001 + 2 * 5
                assert [await destination.lifeline.receive() for _ in payloads] == payloads
            source.set_rate(10_000.0)
            await source.send(Payload(bytes(1000)))
            assert source.transfer.unsent > 0
            assert await destination.lifeline.receive() == Payload(bytes(1000))
            await deliver(source, b"")
            await collect(destination.lifeline)
            await source.receive()
            source.leave()

    story(told)


def test_the_return_path_is_carried() -> None:
    async def told() -> None:
        async with (
            linked() as (source, destination, _),
            source.kept(),
            destination.lifeline.kept(),
        ):
            for number in range(100):
                await destination.lifeline.send(Return(bytes([number])))
                assert await source.receive() == Return(bytes([number]))
            await deliver(source, b"")
            await collect(destination.lifeline)
            await source.receive()
            source.leave()

    story(told)


def test_each_end_is_told_why_the_other_gave_up() -> None:
    async def told() -> None:
        async with linked() as (source, destination, _):

            async def send() -> None:
                async with source.kept():
                    await deliver(source, bytes(50_000_000))

            async def take() -> None:
                async with destination.lifeline.kept():
                    await destination.lifeline.receive()
                    raise SidecarError("the guest's disk is full")

            at_source, at_destination = await asyncio.gather(send(), take(), return_exceptions=True)
            assert str(at_destination) == "the guest's disk is full"
            assert str(at_source) == "the other site gave up: the guest's disk is full"

    story(told)


def test_one_that_is_stopped_tells_the_other() -> None:
    async def told() -> None:
        async with linked() as (source, destination, _):
            waiting = asyncio.create_task(_wait(destination.lifeline))
            sending = asyncio.create_task(_wait(source))
            await source.connect()
            sending.cancel()
            with pytest.raises(SidecarError, match="gave up: it was stopped by its operator"):
                await waiting
            with pytest.raises(asyncio.CancelledError):
                await sending

    story(told)


def test_a_peer_that_leaves_too_early_is_an_error() -> None:
    async def told() -> None:
        async with linked() as (source, destination, _):
            waiting = asyncio.create_task(_wait(destination.lifeline))
            async with source.kept():
                await source.connect()
                source.leave()
            with pytest.raises(SidecarProtocolError, match="left before the migration was done"):
                await waiting

    story(told)


@pytest.mark.parametrize("seed", range(10))
def test_a_link_that_changes_octets_ends_the_migration(seed: int) -> None:
    """Over plain TCP; TLS would not let them through."""

    async def told() -> None:
        chance = random.Random(seed)
        passed = 0
        where = chance.randrange(300, 1_000_000)

        def change(octets: bytes) -> bytes:
            nonlocal passed
            begin, passed = passed, passed + len(octets)
            if not begin <= where < passed:
                return octets
            changed = bytearray(octets)
            changed[where - begin] ^= 1 << chance.randrange(8)
            return bytes(changed)

        limits = Limits(resume_s=1.0, keepalive_s=0.2)
        async with linked(limits=limits) as (source, destination, relay):
            relay.change = change
            octets = chance.randbytes(2_000_000)
            ended = (
                await asyncio.gather(
                    transfer(source, destination.lifeline, octets), return_exceptions=True
                )
            )[0]
            if isinstance(ended, bytes):
                # A longer length is silence, a cut, and then the octets once more.
                assert ended == octets
                assert source.traffic.cuts
            else:
                assert isinstance(ended, SidecarError), ended

    story(told)


def test_a_source_that_was_started_again_is_another_one() -> None:
    async def told() -> None:
        destination = Destination()
        where = await destination.listener.open()
        async with destination.lifeline.kept():
            first = ends.source(where, name="a" * 16)
            again = ends.source(where, name="b" * 16)
            async with first.kept():
                await first.connect()
                with pytest.raises(SidecarError, match="started again and has lost"):
                    async with again.kept():
                        await again.connect()
                other = ends.source(where, migration="m2")
                with pytest.raises(SidecarError, match="busy with the migration 'm1'"):
                    async with other.kept():
                        await other.connect()
                assert len(destination.notices) == 2
                await deliver(first, b"the first one is not disturbed")
                assert await collect(destination.lifeline) == b"the first one is not disturbed"
                await first.receive()
                first.leave()

    story(told)


def test_a_destination_that_was_started_again_cannot_go_on() -> None:
    async def told() -> None:
        first = Destination()
        async with relayed(await first.listener.open()) as relay:
            source, again = ends.source(relay.address), Destination()
            tasks = [
                asyncio.create_task(_wait(one)) for one in (source, first.lifeline, again.lifeline)
            ]
            await source.connect()
            relay.target = await again.listener.open()
            relay.cut()
            with pytest.raises(SidecarError, match="started again and has lost"):
                await tasks[0]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    story(told)


def test_visitors_that_are_no_sidecar_are_turned_away() -> None:
    async def told() -> None:
        destination = Destination()
        where = await destination.listener.open()
        async with destination.lifeline.kept():
            for octets in (b"GET / HTTP/1.1\r\n\r\n", b"vpnside\x09", bytes(64), b"\xff" * 64):
                reader, writer = await asyncio.open_connection(where.host, where.port)
                writer.write(octets)
                assert b"vpnside" in await reader.read()
                writer.close()
            await until(lambda: len(destination.notices) == 4)
            source = ends.source(where)
            async with source.kept():
                await deliver(source, b"here")
                assert await collect(destination.lifeline) == b"here"
                await source.receive()
                source.leave()

    story(told)


def test_visitors_that_say_nothing_do_not_keep_the_source_out() -> None:
    async def told() -> None:
        destination = Destination()
        where = await destination.listener.open()
        async with destination.lifeline.kept():
            silent = [
                await asyncio.open_connection(where.host, where.port, local_addr=("127.0.0.2", 0))
                for _ in range(40)
            ]
            source = ends.source(where)
            async with source.kept():
                await deliver(source, b"here")
                assert await collect(destination.lifeline) == b"here"
                # Those who came first had to go.
                assert await silent[0][0].read() == b""
                await source.receive()
                source.leave()
        for _, writer in silent:
            writer.close()

    story(told)


def test_nobody_at_the_other_end_is_said_once_and_the_source_waits() -> None:
    async def told() -> None:
        destination, notices = Destination(), []
        where = await destination.listener.open()
        async with relayed(where) as relay:
            nobody = relay.address
        source = ends.source(nobody, notice=notices.append)
        async with source.kept():
            await until(lambda: bool(notices))
            async with destination.lifeline.kept():
                # Who listens there now is what a source waits for.
                source._meeting._peer = where  # type: ignore[attr-defined]
                await deliver(source, b"here")
                assert await collect(destination.lifeline) == b"here"
                await source.receive()
                source.leave()
        assert notices == [
            f"the other site is not there, trying again: {nobody}: Connection refused"
        ]

    story(told)


def test_nobody_at_the_other_end_is_said() -> None:
    async def told() -> None:
        source = ends.source(Address("127.0.0.1", 1), limits=Limits(connect_s=2.0, keepalive_s=0.2))
        with pytest.raises(SidecarError, match=r"within 2 s: 127\.0\.0\.1:1: Connection refused"):
            async with source.kept():
                await source.connect()

    story(told)


def test_a_port_that_is_taken_is_said() -> None:
    async def told() -> None:
        first = Destination()
        where = await first.listener.open()
        second = Destination()
        second.listener._address = where
        with pytest.raises(SidecarError, match="cannot be listened on"):
            await second.listener.open()
        await first.listener.close()

    story(told)


@pytest.mark.parametrize(
    ("ours", "expected", "theirs", "awaited", "said"),
    [
        ("cloud1.test", "cloud3.test", "cloud2.test", "cloud1.test", "not accepted: Hostname"),
        ("cloud1.test", "cloud2.test", "cloud2.test", "cloud3.test", "is for cloud1.test, not for"),
        ("foreign", "cloud2.test", "cloud2.test", "cloud1.test", "not accept the TLS handshake"),
    ],
)
def test_a_certificate_that_is_not_the_expected_one_is_refused(
    authority: Path, ours: str, expected: str, theirs: str, awaited: str, said: str
) -> None:
    async def told() -> None:
        destination = Destination(tls(authority, theirs, awaited))
        where = await destination.listener.open()
        source = ends.source(where, tls(authority, ours, expected))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_wait(destination.lifeline))
            with pytest.raises(SidecarError, match=said):
                async with source.kept():
                    await source.connect()
            await until(lambda: bool(destination.notices))
            waiting.cancel()

    story(told)


async def _wait(lifeline: Lifeline) -> None:
    async with lifeline.kept():
        await lifeline.failed()


def test_tls_and_plain_do_not_mix(authority: Path) -> None:
    async def told() -> None:
        destination = Destination(tls(authority, "cloud2.test", "cloud1.test"))
        where = await destination.listener.open()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_wait(destination.lifeline))
            plain = ends.source(where, limits=Limits(connect_s=0.5))
            with pytest.raises(SidecarError):
                async with plain.kept():
                    await plain.connect()
            await until(lambda: bool(destination.notices))
            assert "does not speak TLS" in destination.notices[0]
            waiting.cancel()

    story(told)


@pytest.mark.parametrize(("listen", "dial"), [("::", "127.0.0.1"), ("::", "::1"), ("::1", "::1")])
def test_either_family_of_addresses_reaches_a_listener(listen: str, dial: str) -> None:
    async def told() -> None:
        destination = Destination()
        destination.listener._address = Address(listen, 0)
        where = await destination.listener.open()
        source = ends.source(Address(dial, where.port))
        assert await transfer(source, destination.lifeline, b"here") == b"here"

    story(told)
