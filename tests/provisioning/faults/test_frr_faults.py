"""Faults at a real FRR, in each phase, beside another router: both have the change, or neither.

FRR has no confirmed commit of its own; what stands in for it is an agent at the router, whose
answers are lost here, refused, or never come, and which is killed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.provisioning.faults.hurry import hurry
from tests.provisioning.transaction.routers import (
    AFTER,
    MemoryDriver,
    MemoryJournal,
    Router,
    change,
)
from tests.support import daemons
from tests.support.loopback import free_port, loopback_address
from tests.support.namespaces import namespaces, within
from vpnctl.errors import ConnectError, LockedError, ProvisioningError
from vpnctl.model import EVPN, Frr, Listen, Pe, Timeouts
from vpnctl.provisioning.driver import CommitState, Driver
from vpnctl.provisioning.drivers import frr as frr_driver
from vpnctl.provisioning.drivers import open_driver
from vpnctl.provisioning.drivers.frr_channel import Local, open_pipes
from vpnctl.provisioning.journal import Phase, RouterChange
from vpnctl.provisioning.rendered import Rendered
from vpnctl.provisioning.transaction import Patience, Transaction

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

ASN = 65001
NEIGHBOR = "neighbor 10.9.9.9 remote-as 65000"
OWNED = (f"router bgp {ASN} / {NEIGHBOR}",)
OURS = Rendered("pe1", "frr-evpn", "frr", f"router bgp {ASN}\n {NEIGHBOR}\n", OWNED, ())
NOTHING = Rendered("pe1", "frr-evpn", "frr", "", (), OWNED)
PERSIST = "vpnctl-0123456789abcdef"
PATIENCE = Patience(lock=(0.1, 0.3, 1.0), settle=(0.1, 0.5, 1.0, 2.0), window_s=120)
#: How long a client waits for an answer that does not come.
SILENCE_S = 6


@dataclass(frozen=True)
class Case:
    """What becomes of a request: it is lost before or after it is done, or refused."""

    phase: str
    fault: str

    def __str__(self) -> str:
        return f"{self.phase} {self.fault}"


CASES = [
    Case("lock", "killed"),
    Case("load", "killed"),
    Case("load", "refused"),
    Case("check", "refused"),
    Case("check", "silent"),
    Case("commit", "killed"),
    Case("commit", "killed after"),
    Case("commit", "silent after"),
    Case("commit", "refused"),
    Case("verify", "killed"),
    Case("confirm", "killed"),
    Case("confirm", "killed after"),
    Case("confirm", "silent after"),
    Case("cancel", "killed"),
    Case("cancel", "killed after"),
]


class Faulty:
    """The pipes of an agent that meets its case's fault once."""

    def __init__(self, pipes: Local, plan: Plan) -> None:
        self._pipes = pipes
        self._plan = plan
        self._instead: bytes | None = None
        self._silent = False

    async def write(self, octets: bytes) -> None:
        fault = self._plan.met(json.loads(octets)["do"])
        if fault == "refused":
            self._instead = b'{"refused": "not this time"}\n'
            return
        if fault in ("", "killed after", "silent after"):
            await self._pipes.write(octets)
        if fault.endswith("after"):
            await self._pipes.readline()
        if fault.startswith("killed"):
            self._pipes._process.kill()
        self._silent = fault.startswith("silent")

    async def readline(self) -> bytes:
        if self._silent:
            await asyncio.Event().wait()
        if self._instead is not None:
            instead, self._instead = self._instead, None
            return instead
        return await self._pipes.readline()

    async def close(self) -> None:
        await self._pipes.close()


class Plan:
    """Where the fault is, and whether it was met."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._committed = False
        self.is_met = False

    def met(self, request: str) -> str:
        """The fault that a request meets, if any."""
        phase = {"running": "verify" if self._committed else "load"}.get(request, request)
        self._committed |= request == "commit"
        if self.is_met or phase != self._case.phase:
            return ""
        self.is_met = True
        return self._case.fault


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[daemons.Frr]:
    if not Path("/usr/lib/frr/frr-reload.py").exists():
        pytest.skip("not installed: frr-pythontools")
    address = loopback_address()
    with daemons.frr(
        tmp_path_factory.mktemp("frr"),
        address=address,
        port=free_port(address),
        asn=ASN,
        router_id="10.255.0.3",
        peers=(),
    ) as found:
        yield found


def pe_of(router: daemons.Frr, **access: str) -> Pe:
    timeouts = Timeouts(connect=20, rpc=60, commit=60)
    login = Frr(vty_socket=str(router.directory), timeouts=timeouts, **access)
    return Pe(
        name="pe1", address=IPv4Address("127.0.0.1"), asn=ASN, platform="frr-evpn",
        families=frozenset({EVPN}), listen=Listen(IPv4Address("127.0.0.1")), port="",
        vlans=(1, 4094), frr=login,
    )  # fmt: skip


def has_ours(router: daemons.Frr) -> bool:
    return NEIGHBOR in router.vtysh("show running-config")


@asynccontextmanager
async def session(pe: Pe) -> AsyncIterator[Driver]:
    driver = open_driver(pe)
    try:
        await driver.connect()
        yield driver
    finally:
        await driver.close()


async def nothing_is_left(pe: Pe) -> bool:
    """Whether a new session gets the lock, and finds no commit that waits."""
    async with session(pe) as driver:
        try:
            await driver.lock()
        except LockedError:
            return False
        return await driver.pending(PERSIST) is CommitState.NONE


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_at_frr_leaves_both_routers_with_it_or_none(
    case: Case, router: daemons.Frr, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(case)

    async def opened(pe: Pe) -> Faulty:
        pipes = await open_pipes(pe)
        assert isinstance(pipes, Local)
        return Faulty(pipes, plan)

    def driver_of(one: RouterChange) -> Driver:
        if one.router != "pe1":
            return MemoryDriver(other)
        driver = open_driver(pe)
        if case.fault.startswith("silent") and not plan.is_met:
            hurry(driver, case.phase, SILENCE_S)
        return driver

    # What an earlier case has left in force is taken away now, and the other way round.
    before = has_ours(router)
    change_here = (
        RouterChange("pe1", NOTHING, OURS) if before else RouterChange("pe1", OURS, NOTHING)
    )
    pe, other, journal = pe_of(router), Router("pe2"), MemoryJournal()
    if case.phase == "cancel":
        other.faults = {"commit": ["refuse"]}
    with monkeypatch.context() as patched:
        patched.setattr(frr_driver, "open_pipes", opened)
        transaction = Transaction(
            [change_here, change("pe2")],
            driver_of,
            journal,
            persist=PERSIST,
            patience=PATIENCE,
        )
        try:
            await transaction.prepare()
            await transaction.commit()
            await transaction.verify()
            transaction.decided()
            await transaction.confirm()
        except ProvisioningError:
            done = False
        else:
            done = True
    assert plan.is_met
    assert transaction.in_doubt == {}
    assert done is (case.phase == "confirm")  # from the decision on the way is forward
    assert journal.phases[-1] is (Phase.DONE if done else Phase.UNDONE)
    assert has_ours(router) is (before is not done)
    assert (other.running == AFTER) is done
    assert other.clean
    assert await nothing_is_left(pe)


def network_of(process: str) -> int:
    return Path(f"/proc/{process}/ns/net").stat().st_ino


def test_frr_in_a_namespace_of_this_machine_is_configured_there(router: daemons.Frr) -> None:
    with namespaces(1) as (name,):

        async def there() -> tuple[int, str]:
            async with session(pe_of(router, netns=name)) as driver:
                assert isinstance(driver, frr_driver.FrrDriver)
                pipes = driver._pipes
                assert isinstance(pipes, Local)
                return network_of(str(pipes._process.pid)), await driver.configuration()

        network, configuration = asyncio.run(there())
        assert network == within(name, lambda: network_of("thread-self"))
        assert network != network_of("self")
        assert f"router bgp {ASN}" in configuration

    async def gone() -> None:
        async with session(pe_of(router, netns=name)):
            pass

    with pytest.raises(ConnectError, match="pe1"):
        asyncio.run(gone())
