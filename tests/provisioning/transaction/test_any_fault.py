"""Whatever goes wrong wherever, even the controller's death: all or none, or named in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.provisioning.transaction.routers import (
    AFTER,
    BEFORE,
    MemoryDriver,
    MemoryJournal,
    Router,
    change,
)
from vpnctl.errors import ProvisioningError
from vpnctl.provisioning.journal import Note, Phase
from vpnctl.provisioning.transaction import Patience, Transaction

CALLS = (
    "connect", "lock", "load", "diff", "check", "commit", "verify", "confirm", "cancel",
    "pending", "discard", "unlock",
)  # fmt: skip
FAULTS = ("", "refuse", "lost", "late", "slow", "gone", "lie", "bug")
PATIENCE = Patience(lock=(0.0,) * 2, settle=(0.0,) * 2)

#: Per router: what happens at each call, and what somebody else has done there.
troubles = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(CALLS), st.lists(st.sampled_from(FAULTS), max_size=4), max_size=3
        ),
        st.booleans(),
        st.sampled_from(["before", "before", "before", "after", "by hand", "locked", "dirty"]),
    ),
    min_size=1,
    max_size=5,
)


class Killed(BaseException):
    """The controller's process is gone."""


class Mortal(MemoryJournal):
    """A journal whose controller is killed right after, or right before, a phase is written."""

    def __init__(self, last: Phase | None, *, written: bool) -> None:
        super().__init__()
        self.last, self.written = last, written

    async def enter(self, phase: Phase, notes: Iterable[Note]) -> None:
        if phase is self.last and not self.written:
            raise Killed
        await super().enter(phase, notes)
        if phase is self.last:
            raise Killed


def routers_of(troubled: list[tuple[dict[str, list[str]], bool, str]]) -> dict[str, Router]:
    routers = {}
    for number, (faults, tells, state) in enumerate(troubled):
        router = Router(f"pe{number}", tells=tells)
        router.faults = {call: list(those) for call, those in faults.items()}
        router.running = {"after": AFTER, "by hand": "by hand"}.get(state, BEFORE)
        router.foreign = state == "dirty"
        router.candidate = "ada's" if state == "dirty" else None
        router.holder = "ada" if state == "locked" else None
        routers[router.name] = router
    return routers


def transaction(
    routers: dict[str, Router], journal: MemoryJournal, phase: Phase | None = None
) -> Transaction:
    async def at_once(seconds: float) -> None:
        assert seconds == 0

    return Transaction(
        map(change, routers),
        lambda change: MemoryDriver(routers[change.router]),
        journal,
        persist="ours",
        phase=phase,
        patience=PATIENCE,
        sleep=at_once,
    )


async def carried_out(doing: Transaction, journal: MemoryJournal) -> bool:
    """Whether it says that the routers have the change."""
    try:
        await doing.prepare()
        await doing.commit()
        await doing.verify()
        doing.decided()
        if doing.phase is Phase.DECIDED:
            await journal.enter(Phase.DECIDED, ())  # as the revision's commit does
        await doing.confirm()
    except ProvisioningError:
        return False
    return True


def look(routers: dict[str, Router], shall: dict[str, str]) -> None:
    """Every router has what it shall have, for good, and nothing else is left there."""
    for router in routers.values():
        assert router.running == shall[router.name]
        assert router.pending is None
        assert router.sessions == 0
        assert router.holder in (None, "ada")
        assert router.candidate == ("ada's" if router.foreign else None)


def outcome(at_first: dict[str, str], *, all_have: bool, compensated: bool) -> dict[str, str]:
    """What each router has in the end."""
    if all_have:
        return dict.fromkeys(at_first, AFTER)
    # Routers that had the change from the start drop out; the others get what was meant to be
    # there before, which an edit by hand is not.
    back = {"by hand": BEFORE} if compensated else {}
    return {name: back.get(content, content) for name, content in at_first.items()}


@settings(max_examples=400, deadline=None)
@given(troubles)
@example([({"commit": ["slow"]}, False, "before"), ({"commit": ["refuse"]}, True, "before")])
@example([({"confirm": ["gone"]}, False, "before"), ({}, True, "before")])
def test_all_or_none_or_named_in_doubt(
    troubled: list[tuple[dict[str, list[str]], bool, str]],
) -> None:
    routers = routers_of(troubled)
    at_first = {name: router.running for name, router in routers.items()}
    journal = MemoryJournal()
    doing = transaction(routers, journal)

    async def story() -> None:
        all_have = await carried_out(doing, journal)
        certain = {name: each for name, each in routers.items() if name not in doing.in_doubt}
        compensated = Phase.COMPENSATE in journal.phases
        shall = outcome(at_first, all_have=all_have, compensated=compensated)
        look(certain, shall)
        assert not (all_have and doing.in_doubt)
        if doing.in_doubt:
            assert not doing.finished
            for router in routers.values():
                router.come_back()
                if router.foreign or router.holder == "ada":
                    router.foreign, router.candidate, router.holder = False, None, None
            await doing.resume()
            assert not doing.in_doubt
            look(routers, shall)
        assert doing.finished
        assert journal.phases[-1] is doing.phase

    asyncio.run(story())


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 4),
    st.sampled_from([Phase.PREPARE, Phase.COMMIT, Phase.DECIDED, Phase.DONE, Phase.CANCEL,
                     Phase.COMPENSATE, Phase.UNDONE]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "commit", "confirm"]),
)  # fmt: skip
def test_a_controller_killed_in_any_phase_ends_clean(
    count: int, phase: Phase, written: bool, tells: bool, timers_ran_out: bool, fault: str
) -> None:
    routers = {f"pe{number}": Router(f"pe{number}", tells=tells) for number in range(count)}
    routers["pe0"].faults = {fault: ["gone"]} if fault else {}
    journal = Mortal(phase, written=written)
    doing = transaction(routers, journal)

    async def story() -> None:
        try:
            await carried_out(doing, journal)
        except Killed:
            pass
        for router in routers.values():
            router.come_back()
            router.sessions, router.candidate, router.holder = 0, None, None
            if timers_ran_out:
                router.timer()
        if not journal.phases or journal.phases[-1] in (Phase.DONE, Phase.UNDONE):
            return
        kept = MemoryJournal()
        again = transaction(routers, kept, journal.phases[-1])
        await again.resume()
        assert again.finished
        decided = journal.phases[-1] is Phase.DECIDED
        look(routers, dict.fromkeys(routers, AFTER if decided else BEFORE))

    asyncio.run(story())
