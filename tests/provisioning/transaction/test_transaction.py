"""One change at several routers: all of them, none of them, or the one in doubt by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.provisioning.transaction.routers import (
    AFTER,
    BEFORE,
    MemoryDriver,
    MemoryJournal,
    Router,
    change,
)
from vpnctl.errors import (
    ConnectError,
    DirtyCandidateError,
    LockedError,
    OutcomeUnknownError,
    ProvisioningError,
    RejectedError,
    StoreError,
    UnverifiedError,
)
from vpnctl.provisioning.journal import AFTER_A_CRASH, FOLLOWING, Phase, RouterChange
from vpnctl.provisioning.participants import Witness
from vpnctl.provisioning.transaction import Patience, Transaction

pytestmark = pytest.mark.anyio

PATIENCE = Patience(lock=(0.1,) * 3, settle=(0.1,) * 3)


class Bed:
    """Three routers and a transaction over them."""

    def __init__(self, *names: str) -> None:
        self.routers = {name: Router(name) for name in names or ("pe1", "pe2", "pe3")}
        self.journal = MemoryJournal()
        self.slept: list[float] = []
        self.transaction = self.again(None)

    def again(
        self, phase: Phase | None, undecide: Callable[[str], Awaitable[None]] | None = None
    ) -> Transaction:
        """A transaction over the same routers, as after a restart in ``phase``."""

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        return Transaction(
            map(change, self.routers),
            lambda change: MemoryDriver(self.routers[change.router]),
            self.journal,
            persist="ours",
            phase=phase,
            undecide=undecide,
            patience=PATIENCE,
            sleep=sleep,
        )

    async def run(self) -> None:
        """All of a transaction, the decision included."""
        await self.transaction.prepare()
        await self.transaction.commit()
        await self.transaction.verify()
        self.transaction.decided()
        await self.transaction.confirm()

    def all_have(self, content: str) -> bool:
        """Whether every router has it for good, and nothing else of ours."""
        return all(
            router.running == content and router.pending is None and router.clean
            for router in self.routers.values()
        )


async def test_every_router_has_the_change_in_the_end() -> None:
    bed = Bed()
    await bed.run()
    assert bed.all_have(AFTER)
    assert bed.journal.phases == [Phase.PREPARE, Phase.COMMIT, Phase.DONE]
    assert [step.name for step in bed.transaction.steps if step.router == "pe2"] == [
        "connect", "lock", "load", "diff", "check", "commit", "verify", "confirm",
    ]  # fmt: skip


async def test_what_would_change_is_told_before_anything_does() -> None:
    bed = Bed()
    await bed.transaction.prepare()
    assert bed.transaction.diffs["pe1"] == "- before\n+ after"
    await bed.transaction.abort()
    assert bed.all_have(BEFORE)
    assert bed.journal.phases == [Phase.PREPARE, Phase.UNDONE]


async def test_a_router_that_has_it_already_commits_nothing() -> None:
    bed = Bed()
    bed.routers["pe2"].running = AFTER
    await bed.run()
    assert bed.all_have(AFTER)
    assert "commit" not in bed.routers["pe2"].calls


async def test_where_all_have_it_there_is_nothing_to_do() -> None:
    bed = Bed()
    for router in bed.routers.values():
        router.running = AFTER
    await bed.run()
    assert bed.journal.phases == [Phase.PREPARE, Phase.DONE]
    assert bed.transaction.finished


@pytest.mark.parametrize("call", ["connect", "lock", "load", "diff", "check"])
async def test_a_failure_while_preparing_changes_no_router(call: str) -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {call: ["refuse"] * 9}
    with pytest.raises(ProvisioningError, match=f"pe2: refused {call}; no router was changed"):
        await bed.run()
    assert bed.all_have(BEFORE)
    assert bed.journal.phases == [Phase.PREPARE, Phase.UNDONE]


async def test_a_lock_is_waited_for_but_not_for_ever() -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {"lock": ["refuse"] * 2}
    await bed.run()
    assert bed.all_have(AFTER)
    other = Bed()
    ada = object()
    other.routers["pe2"].holder = ada
    with pytest.raises(LockedError, match="locked by ada"):
        await other.run()
    assert other.slept == list(PATIENCE.lock)
    assert other.routers["pe2"].holder is ada


async def test_other_peoples_candidate_stays_as_it_is() -> None:
    bed = Bed()
    bed.routers["pe2"].foreign = True
    bed.routers["pe2"].candidate = "ada's"
    with pytest.raises(DirtyCandidateError):
        await bed.run()
    assert bed.routers["pe2"].candidate == "ada's"
    assert bed.routers["pe2"].running == BEFORE


async def test_one_that_refuses_to_commit_takes_the_others_back() -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {"commit": ["refuse"]}
    with pytest.raises(RejectedError, match="no router was changed"):
        await bed.run()
    assert bed.all_have(BEFORE)
    assert bed.journal.phases == [Phase.PREPARE, Phase.COMMIT, Phase.CANCEL, Phase.UNDONE]
    assert ("pe1", "cancel", "ok") in {
        (note.router, note.step, note.outcome) for note in bed.journal.notes
    }


@pytest.mark.parametrize("fault", ["late", "slow", "lost", "bug"])
@pytest.mark.parametrize("tells", [True, False])
async def test_no_answer_to_a_commit_is_not_taken_for_a_no(fault: str, tells: bool) -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {"commit": [fault]}
    bed.routers["pe2"].tells = tells
    with pytest.raises(ConnectError) as told:
        await bed.run()
    # It was in doubt for a moment; it is not any more, and nothing says that it is.
    assert told.value.message.endswith("asked again over a new session: no router was changed")
    assert "may have" not in told.value.message
    assert not bed.transaction.in_doubt
    assert bed.all_have(BEFORE)


async def test_one_that_says_it_has_committed_and_has_not_takes_the_others_back() -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {"commit": ["lie"]}
    with pytest.raises(UnverifiedError, match="pe2: not in force; no router was changed"):
        await bed.run()
    assert bed.all_have(BEFORE)
    assert bed.journal.phases == [Phase.PREPARE, Phase.COMMIT, Phase.CANCEL, Phase.UNDONE]


@pytest.mark.parametrize("fault", ["late", "slow", "lost", "refuse", "gone", "bug"])
async def test_what_cannot_be_read_back_is_not_kept(fault: str) -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {"verify": [fault]}
    with pytest.raises(ProvisioningError, match="pe2"):
        await bed.run()
    bed.routers["pe2"].come_back()
    if not bed.transaction.finished:
        assert set(bed.transaction.in_doubt) == {"pe2"}
        await bed.transaction.resume()
    assert bed.all_have(BEFORE)


async def test_what_has_to_be_seen_beside_the_configuration_decides() -> None:
    bed = Bed()
    seen: list[str] = []

    async def sees() -> None:
        assert all(router.running == AFTER for router in bed.routers.values())
        seen.append("pe1")

    async def misses() -> None:
        raise UnverifiedError("pe2: no route came", router="pe2")

    await bed.transaction.prepare()
    await bed.transaction.commit()
    with pytest.raises(UnverifiedError, match="pe2: no route came; no router was changed"):
        await bed.transaction.verify(
            {"pe1": Witness("route received", sees), "pe2": Witness("route received", misses)}
        )
    assert seen == ["pe1"]
    assert bed.all_have(BEFORE)
    assert ("pe2", "route received", "pe2: no route came") in {
        (note.router, note.step, note.outcome) for note in bed.journal.notes
    }


async def test_nothing_more_is_waited_for_where_the_configuration_is_not_there() -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {"commit": ["lie"]}

    async def never() -> None:
        raise AssertionError("nobody asks")

    await bed.transaction.prepare()
    await bed.transaction.commit()
    with pytest.raises(UnverifiedError, match="pe2: not in force"):
        await bed.transaction.verify({"pe1": Witness("route received", never)})


@pytest.mark.parametrize("fault", ["late", "slow", "lost", "refuse", "bug"])
async def test_no_answer_to_a_confirm_is_asked_for_again(fault: str) -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {"confirm": [fault]}
    await bed.run()
    assert bed.all_have(AFTER)
    assert bed.journal.phases[-1] is Phase.DONE


async def test_a_router_whose_timer_ran_out_gets_the_change_once_more() -> None:
    bed = Bed()
    await bed.transaction.prepare()
    await bed.transaction.commit()
    bed.routers["pe2"].timer()
    bed.transaction.decided()
    await bed.transaction.confirm()
    assert bed.all_have(AFTER)


async def test_one_lost_for_good_while_confirming_brings_the_others_back() -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {"confirm": ["gone"]}
    with pytest.raises(ProvisioningError, match=r"in doubt, and asked again.*: pe2"):
        await bed.run()
    assert set(bed.transaction.in_doubt) == {"pe2"}
    assert isinstance(bed.transaction.in_doubt["pe2"], ConnectError)
    assert bed.routers["pe1"].running == bed.routers["pe3"].running == BEFORE
    assert bed.journal.phases[-1] is Phase.COMPENSATE
    bed.routers["pe2"].come_back()
    await bed.transaction.resume()
    assert not bed.transaction.in_doubt
    assert bed.all_have(BEFORE)
    assert bed.journal.phases[-1] is Phase.UNDONE


@pytest.mark.parametrize("answers", [True, False])
async def test_a_revision_goes_before_the_journal_says_that_it_is_gone(answers: bool) -> None:
    """Or else a controller that is killed in between would leave a policy that no router has."""
    bed = Bed()
    told: list[tuple[str, Phase]] = []

    async def undecide(reason: str) -> None:
        told.append((reason, bed.journal.phases[-1]))
        if not answers and len(told) == 1:
            raise StoreError("the disk is full")

    bed.transaction = bed.again(None, undecide)
    bed.routers["pe2"].faults = {"confirm": ["gone"]}
    with pytest.raises(ProvisioningError):
        await bed.run()
    ((reason, phase),) = told
    assert reason.startswith("pe2: lost at connect")
    assert phase is Phase.COMPENSATE
    bed.routers["pe2"].come_back()
    await bed.transaction.resume()
    assert [phase for _, phase in told] == [Phase.COMPENSATE] * 2
    assert bed.journal.phases[-1] is Phase.UNDONE


async def test_one_lost_for_good_while_committing_is_named() -> None:
    bed = Bed()
    bed.routers["pe2"].faults = {"commit": ["gone"]}
    with pytest.raises(OutcomeUnknownError, match=r"in doubt, and asked again.*: pe2"):
        await bed.run()
    assert bed.routers["pe1"].running == BEFORE
    bed.routers["pe2"].come_back()
    await bed.transaction.resume()
    assert bed.all_have(BEFORE)


async def test_what_ran_before_comes_back_even_if_it_was_not_as_we_thought() -> None:
    bed = Bed()
    bed.routers["pe2"].running = "edited by hand"
    bed.routers["pe2"].faults = {"commit": ["lost"]}
    with pytest.raises(ConnectError):
        await bed.run()
    assert bed.routers["pe2"].running == "edited by hand"


async def test_all_troubles_are_told_at_once() -> None:
    bed = Bed()
    bed.routers["pe1"].faults = {"check": ["refuse"]}
    bed.routers["pe3"].faults = {"connect": ["refuse"]}
    with pytest.raises(ProvisioningError, match=r"pe1: refused check; pe3: refused connect"):
        await bed.run()


# The journal


async def test_without_a_journal_nothing_is_begun() -> None:
    bed = Bed()
    bed.journal.fails = {Phase.PREPARE}
    with pytest.raises(StoreError):
        await bed.transaction.prepare()
    assert not any(router.calls for router in bed.routers.values())


async def test_without_a_journal_nothing_is_committed() -> None:
    bed = Bed()
    bed.journal.fails = {Phase.COMMIT}
    await bed.transaction.prepare()
    with pytest.raises(StoreError):
        await bed.transaction.commit()
    await bed.transaction.abort()
    assert bed.all_have(BEFORE)
    assert "commit" not in bed.routers["pe1"].calls


@pytest.mark.parametrize("phase", [Phase.CANCEL, Phase.UNDONE])
async def test_undoing_does_not_wait_for_the_journal(phase: Phase) -> None:
    bed = Bed()
    bed.journal.fails = {phase}
    bed.routers["pe2"].faults = {"commit": ["refuse"]}
    with pytest.raises(RejectedError):
        await bed.run()
    assert bed.all_have(BEFORE)
    assert not bed.transaction.finished
    bed.journal.fails.clear()
    await bed.transaction.resume()
    assert bed.all_have(BEFORE)
    assert bed.transaction.finished


async def test_a_confirmed_change_stays_though_the_journal_does_not_take_it() -> None:
    bed = Bed()
    bed.journal.fails = {Phase.DONE}
    await bed.run()
    assert bed.all_have(AFTER)
    bed.journal.fails.clear()
    await bed.transaction.resume()
    assert bed.all_have(AFTER)
    assert bed.transaction.finished


def test_the_journal_keeps_what_a_restart_needs() -> None:
    assert RouterChange.from_document(change("pe1").document()) == change("pe1")


def test_a_restart_knows_the_way_from_every_phase_that_is_not_the_end() -> None:
    ends = {phase for phase, following in FOLLOWING.items() if not following}
    assert ends == {Phase.DONE, Phase.UNDONE}
    assert AFTER_A_CRASH.keys() == set(Phase) - ends
