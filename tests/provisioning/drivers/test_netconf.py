"""A change to one router, step by step, by each of the drivers over NETCONF."""

from __future__ import annotations

from dataclasses import replace

import ncclient.transport.session
import pytest

from tests.provisioning.drivers.conftest import PATIENT, Bench
from vpnctl.errors import (
    ConnectError,
    DirtyCandidateError,
    LockedError,
    OutcomeUnknownError,
    RejectedError,
    UnverifiedError,
)
from vpnctl.lab.junos.faults import FULL_DISK, drop, hang, pretend, refuse, slow
from vpnctl.model import Timeouts
from vpnctl.provisioning.driver import CommitState, Driver

PERSIST = "vpnctl-0123456789abcdef"
#: For a router that falls silent, and for one that does so at the commit and answers before.
IMPATIENT = Timeouts(connect=20, rpc=0.3, commit=0.3)
IMPATIENT_AT_COMMIT = replace(PATIENT, commit=0.2)


async def prepare(driver: Driver, bench: Bench) -> None:
    await driver.lock()
    await driver.load(bench.kind.rendered())


def test_a_change_is_shown_checked_committed_and_confirmed(bench: Bench) -> None:
    async def story(driver: Driver) -> str:
        await prepare(driver, bench)
        shown = await driver.diff()
        await driver.check()
        await driver.commit_confirmed(PERSIST, 60)
        await driver.confirm(PERSIST)
        await driver.unlock()
        return shown

    shown = bench.run(story)
    assert "target:65000:100" in shown
    assert all(line.startswith(("+", "[edit")) for line in shown.splitlines())
    assert "routing-instances E1 vrf-target target:65000:100" in bench.new
    assert bench.router.left_behind == []


def test_what_is_there_already_makes_no_difference(bench: Bench) -> None:
    async def story(driver: Driver) -> tuple[str, str]:
        await prepare(driver, bench)
        await driver.commit_confirmed(PERSIST, 60)
        await driver.confirm(PERSIST)
        await driver.load(bench.kind.rendered())
        there = await driver.diff()
        await driver.load(bench.kind.rendered(vlan="700"))
        return there, await driver.diff()

    there, other = bench.run(story)
    assert there == ""
    assert "700" in other
    assert bench.router.left_behind == []


def test_what_is_not_ours_any_more_goes_and_may_be_gone(bench: Bench) -> None:
    async def story(driver: Driver) -> str:
        await prepare(driver, bench)
        await driver.commit_confirmed(PERSIST, 60)
        await driver.confirm(PERSIST)
        await driver.load(bench.kind.nothing())
        await driver.commit_confirmed(PERSIST, 60)
        await driver.confirm(PERSIST)
        await driver.load(bench.kind.nothing())
        return await driver.diff()

    assert bench.run(story) == ""
    assert bench.new == set()
    assert bench.router.left_behind == []


def test_running_is_what_we_own_and_nothing_else(bench: Bench) -> None:
    async def story(driver: Driver) -> tuple[str, str]:
        before = await driver.running(bench.kind.owned)
        await prepare(driver, bench)
        await driver.commit_confirmed(PERSIST, 60)
        return before, await driver.running(bench.kind.owned)

    before, after = bench.run(story)
    assert before == ""
    assert "site-identifier 1" in after
    assert "flexible-vlan-tagging" not in after


def test_the_whole_configuration_is_that_of_everybody(bench: Bench) -> None:
    whole = bench.run(lambda driver: driver.configuration())
    assert "flexible-vlan-tagging" in whole
    assert "host-name" in whole


def test_cancelled_in_its_own_session(bench: Bench) -> None:
    async def story(driver: Driver) -> None:
        await prepare(driver, bench)
        await driver.commit_confirmed(PERSIST, 60)
        await driver.cancel(PERSIST)
        await driver.unlock()

    bench.run(story)
    assert bench.new == set()
    assert bench.router.left_behind == []


def test_a_commit_outlives_its_session_and_is_found_by_the_next(bench: Bench) -> None:
    async def first(driver: Driver) -> None:
        await prepare(driver, bench)
        await driver.commit_confirmed(PERSIST, 60)

    async def ask(driver: Driver) -> CommitState:
        return await driver.pending(PERSIST)

    bench.run(first)
    assert bench.router.left_behind == ["an unconfirmed commit"]
    assert bench.run(ask) is CommitState.PENDING
    bench.run(lambda driver: driver.cancel(PERSIST))
    assert bench.run(ask) is CommitState.NONE
    assert bench.new == set()
    bench.run(first)
    bench.run(lambda driver: driver.confirm(PERSIST))
    assert bench.run(ask) is CommitState.NONE
    assert bench.new
    assert bench.router.left_behind == []


def test_with_nothing_pending_there_is_nothing_to_cancel_and_nothing_to_confirm(
    bench: Bench,
) -> None:
    bench.run(lambda driver: driver.cancel(PERSIST))
    with pytest.raises(RejectedError, match="pe1"):
        bench.run(lambda driver: driver.confirm(PERSIST))
    assert bench.router.left_behind == []


def test_a_window_that_ended_is_not_confirmed(bench: Bench) -> None:
    """The router has rolled back meanwhile; a commit now would confirm nothing."""

    async def story(driver: Driver) -> None:
        await prepare(driver, bench)
        await driver.commit_confirmed(PERSIST, 60)
        bench.router.ask(lambda router: router._roll_back("time is up"))
        await driver.confirm(PERSIST)

    with pytest.raises(RejectedError, match="pe1"):
        bench.run(story)
    assert bench.new == set()
    assert bench.router.left_behind == []


def test_two_sessions_cannot_both_have_the_lock(bench: Bench) -> None:
    async def story(driver: Driver) -> None:
        await driver.lock()
        other = bench.driver()
        await other.connect()
        try:
            with pytest.raises(LockedError, match=r"pe1 .* somebody else"):
                await other.lock()
        finally:
            await other.close()

    bench.run(story)
    assert bench.router.left_behind == []


def test_changes_of_somebody_else_are_left_as_they_are(bench: Bench) -> None:
    bench.router.dirty("set interfaces ge-0/0/1 mtu 9000")
    with pytest.raises(DirtyCandidateError, match="pe1"):
        bench.run(lambda driver: prepare(driver, bench))
    assert bench.router.candidate - bench.before == {"interfaces ge-0/0/1 mtu 9000"}
    assert bench.new == set()
    assert bench.router.left_behind == ["changes in the candidate"]


def test_without_a_lock_changes_of_somebody_else_are_seen_too(bench: Bench) -> None:
    bench.router.dirty("set interfaces ge-0/0/1 mtu 9000")
    with pytest.raises(DirtyCandidateError, match=r"mtu.*9000"):
        bench.run(lambda driver: driver.load(bench.kind.rendered()))
    assert bench.router.candidate - bench.before == {"interfaces ge-0/0/1 mtu 9000"}


@pytest.mark.parametrize(
    ("vlan", "words"),
    [("5000", "is not within"), ("nought", "nought")],
)
def test_a_load_that_is_refused_leaves_nothing(bench: Bench, vlan: str, words: str) -> None:
    async def story(driver: Driver) -> None:
        await driver.lock()
        with pytest.raises(RejectedError, match=f"pe1 refuses `load`.*{words}"):
            await driver.load(bench.kind.rendered(vlan=vlan))
        assert await driver.diff() == ""

    bench.run(story)
    assert bench.router.left_behind == []


def test_a_check_that_fails_has_the_routers_words(bench: Bench) -> None:
    bench.router.configure("set routing-instances OTHER instance-type virtual-switch")
    bench.router.configure("set routing-instances OTHER route-distinguisher 10.0.0.1:100")

    async def story(driver: Driver) -> None:
        await prepare(driver, bench)
        with pytest.raises(RejectedError, match=r"commit check.*route-distinguisher 10.0.0.1:100"):
            await driver.check()
        await driver.discard()
        assert await driver.diff() == ""
        await driver.unlock()

    bench.run(story)
    assert bench.router.left_behind == []


def test_a_full_disk_stops_the_commit(bench: Bench) -> None:
    bench.router.fault("commit", refuse(FULL_DISK))

    async def story(driver: Driver) -> None:
        await prepare(driver, bench)
        with pytest.raises(RejectedError, match="No space left on device"):
            await driver.commit_confirmed(PERSIST, 60)

    bench.run(story)
    assert bench.new == set()
    assert bench.router.left_behind == []


def test_a_commit_that_is_answered_and_not_done_is_found_out(bench: Bench) -> None:
    bench.router.fault("commit", pretend())

    async def story(driver: Driver) -> None:
        await prepare(driver, bench)
        await driver.commit_confirmed(PERSIST, 60)
        with pytest.raises(UnverifiedError, match=r"pe1 says that it has .* instance E1 "):
            await driver.verify()
        await driver.cancel(PERSIST)

    bench.run(story)
    assert bench.new == set()
    assert bench.router.left_behind == []


def test_what_was_committed_is_read_back_and_not_confirmed_by_that(bench: Bench) -> None:
    async def story(driver: Driver) -> None:
        await prepare(driver, bench)
        await driver.commit_confirmed(PERSIST, 60)
        await driver.verify()
        bench.router.ask(lambda router: router._roll_back("time is up"))
        with pytest.raises(UnverifiedError, match="missing: "):
            await driver.verify()

    bench.run(story)
    assert bench.new == set()


@pytest.mark.parametrize("fault", [slow(2.0), hang(), hang(done=True), drop(), drop(done=True)])
def test_a_commit_without_an_answer_has_an_unknown_outcome(bench: Bench, fault: object) -> None:
    """Whoever asks afterwards is told what the router did."""
    bench.router.fault("commit", fault)  # type: ignore[arg-type]  # of the parameters above

    async def story(driver: Driver) -> None:
        await prepare(driver, bench)
        with pytest.raises(OutcomeUnknownError, match="pe1"):
            await driver.commit_confirmed(PERSIST, 60)
        with pytest.raises(ConnectError, match="is over"):
            await driver.diff()

    bench.run(story, timeouts=IMPATIENT_AT_COMMIT)
    done = getattr(fault, "done", False) or getattr(fault, "seconds", 0) > 0

    async def settle(driver: Driver) -> CommitState:
        while True:
            try:
                await driver.lock()
            except LockedError:
                state = await driver.pending(PERSIST)
                if state is CommitState.PENDING:
                    return state
                continue
            await driver.unlock()
            return await driver.pending(PERSIST)

    state = bench.run(settle)
    assert (state is CommitState.PENDING) == done
    assert bool(bench.new) == done
    bench.run(lambda driver: driver.cancel(PERSIST))
    assert bench.new == set()
    assert bench.router.left_behind == []


@pytest.mark.parametrize("phase", ["lock", "load", "diff", "check"])
@pytest.mark.parametrize("fault", [hang(), drop()])
def test_a_router_that_falls_silent_is_no_riddle_before_the_commit(
    bench: Bench, phase: str, fault: object
) -> None:
    # The standard has no request for a comparison: both configurations are read.
    met = "read" if phase == "diff" and bench.kind.standard else phase
    bench.router.fault(met, fault)  # type: ignore[arg-type]  # of the parameters above

    async def story(driver: Driver) -> None:
        await prepare(driver, bench)
        await driver.diff()
        await driver.check()

    with pytest.raises(ConnectError, match="pe1"):
        bench.run(story, timeouts=IMPATIENT)
    assert bench.new == set()
    assert bench.router.left_behind == []


def test_closing_in_the_middle_leaves_nothing(bench: Bench) -> None:
    bench.run(lambda driver: prepare(driver, bench))
    assert bench.router.left_behind == []


def test_a_probe_tells_key_version_and_rights(bench: Bench) -> None:
    probe = bench.run(lambda driver: driver.probe())
    assert probe.host_key == bench.router.keys.fingerprint
    assert probe.rights
    assert probe.missing == ()
    assert probe.version
    assert any("candidate" in one for one in probe.capabilities)
    assert bench.router.left_behind == []


def test_no_request_waits_for_the_clients_clock(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ncclient looks for what is to be sent once in a tick; here nothing waits for that."""
    monkeypatch.setattr(ncclient.transport.session, "TICK", 3600)
    bench.run(lambda driver: prepare(driver, bench))
