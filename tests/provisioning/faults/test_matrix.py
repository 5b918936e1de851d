"""Every fault in every phase, at one router and at five: all have the change, none has, or a name.

The routers are Junos-like ones over SSH, the drivers are those that real routers get.  A case is
one transaction; what it must end in follows from where its fault is, and is written down here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from tests.provisioning.faults.hurry import hurry
from tests.provisioning.transaction.routers import MemoryJournal
from tests.support.junos import Fleet, Keys, Running, fleet, make_keys
from vpnctl.errors import DirtyCandidateError, LockedError, ProvisioningError
from vpnctl.lab.junos.faults import FULL_DISK, Fault, drop, hang, pretend, refuse, slow
from vpnctl.lab.junos.router import Router
from vpnctl.model import Listen, Netconf, Pe, Timeouts
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.drivers import open_driver
from vpnctl.provisioning.journal import Phase, RouterChange
from vpnctl.provisioning.rendered import Rendered
from vpnctl.provisioning.transaction import Patience, Transaction

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

OWNED = "/configuration/policy-options/community[name='vpnctl-E1']"
AFTER = """\
<configuration><policy-options><community replace="replace"><name>vpnctl-E1</name>
<members>target:65000:100</members></community></policy-options></configuration>"""
STANDARD_NAMESPACE = "http://yang.juniper.net/junos/conf/root"
HAS_IT = "policy-options community vpnctl-E1 members target:65000:100"

#: How long a client of these tests waits for what it shall not get, and for all else.
RPC_S, PATIENT_S = 1.5, 20
PATIENCE = Patience(lock=(0.2, 0.6), settle=(0.2, 0.6, 1.2, 2.0), window_s=60)
#: Cases that run at the same time, as most of what they do is waiting.
AT_ONCE = 8

PHASES = (
    "connect", "lock", "load", "diff", "check", "commit", "verify", "confirm", "unlock", "cancel",
    "discard",
)  # fmt: skip
FAULTS: dict[str, Callable[[], Fault]] = {
    "slow": lambda: slow(0.2),
    "late": lambda: slow(RPC_S * 2),
    "hang": hang,
    "hang after": lambda: hang(done=True),
    "drop": drop,
    "drop after": lambda: drop(done=True),
    "refuse": lambda: refuse("the router refuses"),
    "full disk": lambda: refuse(FULL_DISK),
    "pretend": pretend,
}
#: Faults that a client only notices as it does not wait for ever.
NEVER_ANSWERED = ("late", "hang", "hang after")
#: What else goes wrong at the same router while the first fault is dealt with.
AND_THEN: dict[str, tuple[str, Callable[[], list[Fault]]]] = {
    "": ("", list),
    "then cancel refused": ("cancel", lambda: [refuse("busy")]),
    "then a lost session": ("connect", lambda: [slow(0), drop()]),
    "then gone for good": ("connect", lambda: [slow(0), refuse("gone", times=0)]),
}
#: Those that are enough where the rest is as with Junos.
ONCE_OR_FOR_GOOD = ("", "then gone for good")
#: What is only asked of a router when another one fails: that one refuses the latter.
ONLY_WHEN_ANOTHER_FAILS = {"cancel": "commit", "discard": "check"}


@dataclass(frozen=True)
class Case:
    phase: str
    fault: str
    count: int
    then: str = ""

    def __str__(self) -> str:
        return f"{self.phase} {self.fault} at 1 of {self.count} {self.then}".rstrip()


CASES = [
    Case(phase, fault, count, then)
    for phase in PHASES
    for fault in FAULTS
    for count in (1, 5)
    for then in (AND_THEN if phase in ("commit", "confirm") else ("",))
    if count == 5 or phase not in ONLY_WHEN_ANOTHER_FAILS
    if phase != "connect" or fault in ("drop", "refuse")
    if fault != "pretend" or phase == "commit"
    if not (then == "then gone for good" and fault == "slow")
]


def junos(router: str, *, has_it: bool) -> Rendered:
    """For Junos, by PyEZ."""
    if has_it:
        return Rendered(router, "junos-mx", "junos-xml", AFTER, (OWNED,), ())
    return Rendered(router, "junos-mx", "junos-xml", "<configuration/>", (), (OWNED,))


def standard(router: str, *, has_it: bool) -> Rendered:
    """For a router that keeps to RFC 6241, by ncclient."""
    tree = AFTER.replace('replace="replace"', 'nc:operation="replace"')
    tree = tree.replace("<configuration>", f'<configuration xmlns="{STANDARD_NAMESPACE}">')
    base = "urn:ietf:params:xml:ns:netconf:base:1.0"
    content = f'<config xmlns="{base}" xmlns:nc="{base}">{tree if has_it else ""}</config>'
    owned = (f"/{{{STANDARD_NAMESPACE}}}{OWNED[1:]}",)
    lists = (owned, ()) if has_it else ((), owned)
    return Rendered(router, "acme", "netconf-xml", content, *lists)


class Scene:
    """The routers of one case, and the transaction over them."""

    def __init__(
        self, case: Case, routers: dict[str, Running], rendered: Callable[..., Rendered] = junos
    ) -> None:
        self.case = case
        self.routers = routers
        self.faulty = list(routers.values())[len(routers) // 2]
        self.journal = MemoryJournal()
        # A driver looks for differences first when it loads.
        met = "load" if case.phase == "diff" else case.phase
        self.hurried = met if case.fault in NEVER_ANSWERED else ""
        self.transaction = Transaction(
            [
                RouterChange(name, rendered(name, has_it=True), rendered(name, has_it=False))
                for name in routers
            ],
            self.driver,
            self.journal,
            persist=f"vpnctl-{abs(hash(case)):016x}",
            patience=PATIENCE,
        )

    def driver(self, change: RouterChange) -> Driver:
        """A session; only the first with the faulty router is in a hurry, at the fault."""
        driver = open_driver(self.pe(change.router), change.after.format)
        if self.hurried and self.routers[change.router] is self.faulty:
            hurry(driver, self.hurried, RPC_S)
            self.hurried = ""
        return driver

    def pe(self, name: str) -> Pe:
        router = self.routers[name]
        login = Netconf(
            "vpnctl",
            str(router.keys.client),
            ip_address("127.0.0.1"),
            router.port,
            router.keys.fingerprint,
            Timeouts(connect=PATIENT_S, rpc=PATIENT_S, commit=PATIENT_S),
        )
        address = ip_address("10.0.0.1")
        return Pe(
            name, address, 65000, "any", frozenset(), Listen(address), "", (1, 2),
            netconf=login,
        )  # fmt: skip

    async def play(self) -> bool:
        """Whether the transaction says that the routers have the change."""
        phase, faults = AND_THEN[self.case.then]
        if phase:
            self.faulty.fault(phase, *faults())
        another = ONLY_WHEN_ANOTHER_FAILS.get(self.case.phase)
        if another is not None:
            list(self.routers.values())[-1].fault(another, refuse("not this time"))
        self.faulty.fault(self.case.phase, FAULTS[self.case.fault]())
        try:
            await self.transaction.prepare()
            await self.transaction.commit()
            await self.transaction.verify()
            self.transaction.decided()
            await self.transaction.confirm()
        except ProvisioningError:
            return False
        return True

    async def judge(self, done: bool) -> list[str]:
        """What is wrong in the end."""
        wrong = []
        if not self.faulty.ask(lambda router: router.faults.met):
            wrong.append("the fault was never met")
        doubt = set(self.transaction.in_doubt)
        if doubt - {self.faulty.router.name}:
            wrong.append(f"in doubt: {doubt}")
        for name, router in self.routers.items():
            if name in doubt:
                continue
            if (HAS_IT in router.running) is not done:
                wrong.append(f"{name} has {'not ' if done else ''}the change")
            # A session that hangs is the router's own.
            left = [one for one in await settled(router) if not one.startswith("session")]
            wrong += [f"{name}: {one}" for one in left]
        if doubt and "gone" not in self.case.then:
            wrong.append(f"in doubt, though it answers: {doubt}")
        if done and doubt:
            wrong.append("done, and in doubt")
        last = self.journal.phases[-1]
        if not doubt and last not in (Phase.DONE, Phase.UNDONE):
            wrong.append(f"the journal ends with {last}")
        if done is not (last is Phase.DONE):
            wrong.append(f"the journal says {last}")
        return [f"{self.case}: {one}" for one in wrong]


async def settled(router: Running) -> list[str]:
    """What is left at a router, once it has noticed that its clients have gone."""
    for _ in range(200):
        left = router.left_behind
        if not left:
            break
        await asyncio.sleep(0.02)
    return left


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def routers(keys: Keys) -> Iterator[Fleet]:
    with fleet(keys) as found:
        yield found


def test_the_matrix_is_as_large_as_it_shall_be() -> None:
    assert len(CASES) >= 200
    assert {case.count for case in CASES} == {1, 5}


async def test_what_somebody_else_has_typed_stays_and_nothing_of_ours_is_done(
    routers: Fleet,
) -> None:
    for count in (1, 5):
        names = [f"pe-{count}-{each}" for each in range(count)]
        scene = Scene(
            Case("load", "dirty", count), {name: routers.start(Router(name)) for name in names}
        )
        scene.faulty.dirty("set system host-name ada")
        with pytest.raises(ProvisioningError) as refused:
            await scene.transaction.prepare()
        assert isinstance(refused.value, (DirtyCandidateError, LockedError))
        assert "system host-name ada" in scene.faulty.candidate
        assert "system host-name ada" not in scene.faulty.running
        assert not any(HAS_IT in router.running for router in scene.routers.values())


@pytest.mark.parametrize("phase", PHASES)
async def test_every_fault_in_a_phase(phase: str, routers: Fleet) -> None:
    cases = [case for case in CASES if case.phase == phase]
    assert await wrong_in(cases, routers, junos) == []


@pytest.mark.parametrize("phase", ["commit", "verify", "confirm", "cancel"])
async def test_the_same_where_a_commit_has_a_name_by_the_standard(
    phase: str, routers: Fleet
) -> None:
    cases = [case for case in CASES if case.phase == phase and case.then in ONCE_OR_FOR_GOOD]
    assert await wrong_in(cases, routers, standard) == []


async def wrong_in(
    cases: list[Case], routers: Fleet, rendered: Callable[..., Rendered]
) -> list[str]:
    """What is wrong after each of these cases."""
    gate = asyncio.Semaphore(AT_ONCE)
    by_standard = rendered is standard

    async def one(number: int, case: Case) -> list[str]:
        async with gate:
            scene = Scene(
                case,
                {
                    f"pe-{number}-{each}": routers.start(
                        Router(f"pe-{number}-{each}"), standard=by_standard
                    )
                    for each in range(case.count)
                },
                rendered,
            )
            return await scene.judge(await scene.play())

    found = await asyncio.gather(*(one(number, case) for number, case in enumerate(cases)))
    return [wrong for case in found for wrong in case]
