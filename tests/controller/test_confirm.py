"""A change that has to be confirmed: kept, undone by hand, or undone by itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.controller.stage import AT_FIRST, E1, EXTENDED, Stage, until
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import ControllerError, StoreError, UsageError

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

#: Seconds in which nobody confirms anything in these tests.
LONG_S = 3600.0


class Clock:
    """A wall clock that a test can put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


async def states(stage: Stage) -> list[tuple[int, str, str]]:
    return [(r.number, r.kind, r.state) for r in await stage.running.history()]


async def test_confirmed_it_stays(running: Stage) -> None:
    stage = running
    applied = await stage.extend(confirm_s=LONG_S)
    assert applied.revision.state == "unconfirmed"
    status = await stage.running.status()
    assert (status.unconfirmed, status.confirm_by) == (2, applied.revision.confirm_by)
    revision = await stage.running.confirm(author="ada")
    assert (revision.number, revision.state) == (2, "confirmed")
    assert (await stage.running.status()).unconfirmed is None
    with pytest.raises(UsageError, match="nothing to confirm"):
        await stage.running.confirm(author="ada")
    await stage.restart()
    assert stage.held() == EXTENDED


async def test_unconfirmed_it_is_undone_by_itself(running: Stage) -> None:
    stage = running
    events = stage.running.events()
    heard = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    await stage.extend(confirm_s=0.05)
    said = [await heard]
    while said[-1].subject != "3":
        said.append(await anext(events))
    assert said[-1].message == "roll back to revision 1"
    await until(lambda: stage.files()["e1.yaml"] == E1, "the file as it was")
    await stage.settled()
    assert stage.held() == AT_FIRST
    assert (await stage.running.status()).unconfirmed is None
    assert await states(stage) == [
        (3, "auto-rollback", "applied"),
        (2, "extend", "reverted"),
        (1, "start", "applied"),
    ]
    assert (await stage.running.history())[0].author == "vpnctl"
    # Nobody brings the undone change back by a rollback that names nothing.
    with pytest.raises(UsageError, match="revision 2, the one before, was undone"):
        await stage.rollback()
    # And the next change is free again.
    await stage.extend()


async def test_undone_by_hand_nothing_falls_back_later(running: Stage) -> None:
    stage = running
    await stage.extend(confirm_s=LONG_S)
    await stage.rollback()
    assert stage.running._confirmation._waiting is None
    assert (await stage.running.status()).unconfirmed is None
    await stage.settled()
    assert stage.held() == AT_FIRST
    assert await states(stage) == [
        (3, "rollback", "applied"),
        (2, "extend", "reverted"),
        (1, "start", "applied"),
    ]


async def test_a_second_change_has_to_wait_for_the_confirmation(running: Stage) -> None:
    stage = running
    await stage.extend(confirm_s=LONG_S)
    for request in (PlanRequest("apply"), PlanRequest("retract", "E1", "cloud2")):
        with pytest.raises(ControllerError, match="revision 2 is not confirmed") as refused:
            await stage.change(request)
        assert "vpnctl confirm" in refused.value.hint
    # To look is allowed.
    assert (await stage.running.plan(PlanRequest("apply"))).base == 2
    assert (await stage.running.status()).revision == 2


async def test_a_restart_in_between_does_not_forget_it(running: Stage) -> None:
    stage = running
    clock = Clock()
    await stage.extend(confirm_s=LONG_S)
    controller = await stage.restart(now=clock)
    assert (await controller.status()).unconfirmed == 2
    assert stage.held() == EXTENDED
    with pytest.raises(ControllerError, match="not confirmed"):
        await stage.apply()
    await controller.confirm(author="ada")
    assert (2, "extend", "confirmed") in await states(stage)


async def test_it_is_undone_after_a_restart_too(running: Stage) -> None:
    stage = running
    await stage.extend(confirm_s=LONG_S)
    clock = Clock()
    clock.ahead = timedelta(seconds=LONG_S - 0.5)
    await stage.restart(now=clock)
    await until(lambda: stage.running._applied.number == 3, "the fall-back")
    await stage.running.history()
    await until(lambda: stage.files()["e1.yaml"] == E1, "the file as it was")
    await stage.settled()
    assert stage.held() == AT_FIRST


async def test_down_past_the_deadline_no_peer_sees_it_again(running: Stage) -> None:
    stage = running
    await stage.extend(confirm_s=LONG_S)
    await stage.stop()
    clock = Clock()
    clock.ahead = timedelta(seconds=LONG_S + 1)
    controller = await stage.restart(now=clock)
    assert stage.held() == AT_FIRST
    assert not any("65000:100" in told for told in stage.pes["pe-c"].held.values())
    assert stage.files()["e1.yaml"] == E1
    assert await states(stage) == [
        (3, "auto-rollback", "applied"),
        (2, "extend", "reverted"),
        (1, "start", "applied"),
    ]
    assert controller._store.pending() == ()


async def test_the_fall_back_is_tried_until_the_store_takes_it(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = running
    monkeypatch.setattr("vpnctl.controller.confirmation._RETRY_S", 0.01)
    store = stage.running._store
    commit, refusals = store.commit, iter(range(3))

    def refuse_a_while(**more: object) -> object:
        if more["kind"] == "auto-rollback" and next(refusals, None) is not None:
            raise StoreError("its disk is full")
        return commit(**more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "commit", refuse_a_while)
    await stage.extend(confirm_s=0.05)
    await until(lambda: stage.running._applied.number == 3, "the fall-back")
    assert next(refusals, None) is None
    await stage.settled()
    assert stage.held() == AT_FIRST
