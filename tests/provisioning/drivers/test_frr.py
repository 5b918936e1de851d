"""A change to one FRR router, step by step, on a real bgpd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.support import daemons
from tests.support.loopback import free_port, loopback_address
from vpnctl.errors import LockedError, RejectedError
from vpnctl.model import EVPN, Frr, Listen, Pe
from vpnctl.provisioning.driver import CommitState, Driver
from vpnctl.provisioning.drivers import open_driver
from vpnctl.provisioning.drivers.frr import difference
from vpnctl.provisioning.rendered import Rendered

PERSIST = "vpnctl-0123456789abcdef"
ASN = 65001
CONTENT = f"""\
router bgp {ASN}
 neighbor 10.9.9.9 remote-as 65000
 neighbor 10.9.9.9 description vpnctl
"""
OWNED = (
    f"router bgp {ASN} / neighbor 10.9.9.9 remote-as 65000",
    f"router bgp {ASN} / neighbor 10.9.9.9 description vpnctl",
)
OURS = Rendered("pe1", "frr-evpn", "frr", CONTENT, OWNED, ())
NOTHING = Rendered("pe1", "frr-evpn", "frr", "", (), OWNED)


@dataclass
class Bench:
    """A router, and what is done to it."""

    router: daemons.Frr

    @property
    def pe(self) -> Pe:
        return Pe(
            name="pe1",
            address=IPv4Address("127.0.0.1"),
            asn=ASN,
            platform="frr-evpn",
            families=frozenset({EVPN}),
            listen=Listen(IPv4Address("127.0.0.1")),
            port="eth1",
            vlans=(1, 4094),
            frr=Frr(vty_socket=str(self.router.directory)),
        )

    def run(self, story: Callable[[Driver], Coroutine[Any, Any, Any]]) -> Any:
        async def play() -> Any:
            driver = open_driver(self.pe)
            try:
                await driver.connect()
                return await story(driver)
            finally:
                await driver.close()

        return asyncio.run(play())

    def running(self) -> str:
        return self.router.vtysh("show running-config")

    @property
    def has_ours(self) -> bool:
        return "10.9.9.9" in self.running()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    if not Path("/usr/lib/frr/frr-reload.py").exists():
        pytest.skip("not installed: frr-pythontools")
    address = loopback_address()
    with daemons.frr(
        tmp_path,
        address=address,
        port=free_port(address),
        asn=ASN,
        router_id="10.255.0.3",
        peers=(),
    ) as router:
        yield Bench(router)


async def prepare(driver: Driver) -> None:
    await driver.lock()
    await driver.load(OURS)


@pytest.mark.daemon
def test_a_change_is_shown_checked_committed_confirmed_and_taken_away(bench: Bench) -> None:
    before = bench.running()

    async def there(driver: Driver) -> str:
        await prepare(driver)
        shown = await driver.diff()
        await driver.check()
        await driver.commit_confirmed(PERSIST, 60)
        assert await driver.pending(PERSIST) is CommitState.PENDING
        await driver.verify()
        await driver.confirm(PERSIST)
        assert await driver.pending(PERSIST) is CommitState.NONE
        await driver.load(OURS)
        assert await driver.diff() == ""
        await driver.unlock()
        return shown

    async def gone(driver: Driver) -> None:
        await driver.lock()
        await driver.load(NOTHING)
        await driver.commit_confirmed(PERSIST, 60)
        await driver.verify()
        await driver.confirm(PERSIST)
        assert await driver.running(OWNED) == ""

    assert bench.run(there).splitlines()[:2] == [
        f" router bgp {ASN}",
        "+ neighbor 10.9.9.9 remote-as 65000",
    ]
    assert bench.has_ours
    bench.run(gone)
    assert bench.running() == before


@pytest.mark.daemon
def test_a_commit_outlives_its_session_and_is_cancelled_by_another(bench: Bench) -> None:
    before = bench.running()

    async def first(driver: Driver) -> None:
        await prepare(driver)
        await driver.commit_confirmed(PERSIST, 60)

    async def second(driver: Driver) -> None:
        assert await driver.pending(PERSIST) is CommitState.PENDING
        with pytest.raises(LockedError, match=f"pe1 .* {PERSIST}"):
            await driver.lock()
        await driver.cancel(PERSIST)
        await driver.lock()

    bench.run(first)
    assert bench.has_ours
    bench.run(second)
    assert bench.running() == before


@pytest.mark.daemon
def test_a_commit_that_nobody_confirms_is_rolled_back_by_the_router(bench: Bench) -> None:
    before = bench.running()

    async def story(driver: Driver) -> None:
        await prepare(driver)
        await driver.commit_confirmed(PERSIST, 1)

    bench.run(story)
    daemons.wait_until(lambda: bench.running() == before, "the router to roll back")

    async def late(driver: Driver) -> None:
        with pytest.raises(RejectedError, match=f"{PERSIST} waits"):
            await driver.confirm(PERSIST)

    bench.run(late)


@pytest.mark.daemon
def test_two_sessions_cannot_both_have_the_lock(bench: Bench) -> None:
    async def story(driver: Driver) -> None:
        await driver.lock()
        other = open_driver(bench.pe)
        await other.connect()
        with pytest.raises(LockedError, match=r"pe1 .* somebody else"):
            await other.lock()
        await driver.close()
        await until_locked(other)
        await other.close()

    bench.run(story)


async def until_locked(driver: Driver) -> None:
    """A session that ended takes its lock along."""
    while True:
        try:
            return await driver.lock()
        except LockedError:
            await asyncio.sleep(0)


@pytest.mark.daemon
def test_what_frr_does_not_understand_is_refused_in_its_words(bench: Bench) -> None:
    before = bench.running()
    nonsense = Rendered("pe1", "frr-evpn", "frr", f"router bgp {ASN}\n nonsense 1\n", (), ())

    async def story(driver: Driver) -> None:
        await driver.lock()
        await driver.load(nonsense)
        with pytest.raises(RejectedError, match="nonsense"):
            await driver.check()
        with pytest.raises(RejectedError, match="pe1"):
            await driver.commit_confirmed(PERSIST, 60)
        assert await driver.pending(PERSIST) is CommitState.NONE

    bench.run(story)
    assert bench.running() == before


@pytest.mark.daemon
def test_a_probe_tells_version_and_rights(bench: Bench) -> None:
    probe = bench.run(lambda driver: driver.probe())
    assert "FRR" in probe.version
    assert probe.rights
    assert probe.missing == ()


def test_a_difference_names_the_blocks_that_lines_are_in() -> None:
    before = "router bgp 1\n a\n address-family x\n  b\n exit-address-family\nexit\n"
    after = "router bgp 1\n a\n address-family x\n  c\n exit-address-family\nexit\n"
    assert list(difference(before, after)) == [
        " router bgp 1",
        "  address-family x",
        "-  b",
        "+  c",
    ]
    assert list(difference(before, before)) == []
