"""What fails around a change: the store, the disk, a peer that does not read, our own defects."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.controller.stage import AT_FIRST, E1, EXTENDED, Stage, until
from tests.routing import wire
from tests.support.postgres import PostgresServer
from vpnctl import policyfiles
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import StoreError
from vpnctl.store import Revision

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]


async def unchanged(stage: Stage) -> None:
    """Nobody was told anything, and nothing is applied but the first policy."""
    await stage.settled()
    assert stage.held() == AT_FIRST
    status = await stage.running.status()
    assert (status.revision, status.policies_differ) == (1, False)
    assert stage.files()["e1.yaml"] == E1


async def test_a_full_disk_before_the_commit(running: Stage) -> None:
    stage = running
    told = {name: len(pe.raw.updates) for name, pe in stage.pes.items()}
    store = stage.running._store
    with store._database.transaction() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    stage.write("e9.yaml", "vpn: E9\nservice: l3vpn\nsites: [e1-hq]\n" + "# long\n" * 20_000)
    with pytest.raises(StoreError, match="full") as refused:
        await stage.apply()
    assert "free some space" in refused.value.hint
    stage.path("e9.yaml").unlink()
    await unchanged(stage)
    assert {name: len(pe.raw.updates) for name, pe in stage.pes.items()} == told
    with store._database.transaction() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    await stage.extend()
    await stage.settled()
    assert stage.held() == EXTENDED


async def test_a_commit_that_was_taken_though_the_connection_broke(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = running
    store = stage.running._store
    commit = store.commit

    def cut_off(**more: object) -> Revision:
        commit(**more)  # type: ignore[arg-type]
        raise StoreError("the connection to the server was lost")

    monkeypatch.setattr(store, "commit", cut_off)
    applied = await stage.extend()
    assert applied.revision.number == 2
    await stage.settled()
    assert stage.held() == EXTENDED


async def test_a_commit_of_which_nothing_is_known_is_settled_by_the_next_request(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = running
    store = stage.running._store
    commit, latest = store.commit, store.latest

    def cut_off(**more: object) -> Revision:
        commit(**more)  # type: ignore[arg-type]
        raise StoreError("the connection to the server was lost")

    def unreachable() -> None:
        raise StoreError("the server cannot be reached")

    monkeypatch.setattr(store, "commit", cut_off)
    monkeypatch.setattr(store, "latest", unreachable)
    with pytest.raises(StoreError, match="connection to the server was lost"):
        await stage.extend()
    await stage.settled()
    assert stage.held() == AT_FIRST
    (problem,) = (await stage.running.status()).problems
    assert "whether it has the last change" in problem
    with pytest.raises(StoreError, match="cannot be reached"):
        await stage.apply()

    monkeypatch.setattr(store, "commit", commit)
    monkeypatch.setattr(store, "latest", latest)
    plan = await stage.running.plan(PlanRequest("apply"))
    assert (plan.base, plan.empty) == (2, True)
    await stage.settled()
    assert stage.held() == EXTENDED
    assert "- cloud2" in stage.files()["e1.yaml"]
    assert (await stage.running.status()).problems == ()
    await stage.retract()
    await stage.settled()
    assert stage.held() == AT_FIRST


async def test_a_policy_file_that_cannot_be_written_is_written_later(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = running
    replace = policyfiles.replace
    monkeypatch.setattr(policyfiles, "replace", _full)
    await stage.extend()
    await stage.settled()
    assert stage.held() == EXTENDED
    assert stage.files()["e1.yaml"] == E1
    status = await stage.running.status()
    assert status.policies_differ
    (problem,) = status.problems
    assert "e1.yaml" in problem
    assert "No space left" in problem

    monkeypatch.setattr(policyfiles, "replace", replace)
    # What is on disk is not what the operator wants, so it must not be planned as if it were.
    plan = await stage.running.plan(PlanRequest("apply"))
    assert plan.empty
    assert "- cloud2" in stage.files()["e1.yaml"]
    assert (await stage.running.status()).problems == ()
    assert stage.running._store.pending() == ()


async def test_files_that_a_crash_kept_off_the_disk_are_completed_at_the_start(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = running
    with monkeypatch.context() as patched:
        patched.setattr(policyfiles, "replace", _full)
        await stage.extend()
        await stage.extend("E2", "cloud1")
    await stage.restart()
    assert "- cloud2" in stage.files()["e1.yaml"]
    assert "cloud1" in stage.files()["e2.yaml"]
    assert not (await stage.running.status()).policies_differ
    assert stage.running._store.pending() == ()


async def test_what_the_operator_wrote_meanwhile_is_not_overwritten_at_the_start(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = running
    with monkeypatch.context() as patched:
        patched.setattr(policyfiles, "replace", _full)
        await stage.extend()
    await stage.stop()
    stage.write("e1.yaml", E1 + "# mine\n")
    await stage.restart()
    assert stage.files()["e1.yaml"] == E1 + "# mine\n"
    assert stage.running._store.pending() == ()


def _full(path: Path, _text: str) -> None:
    raise OSError(28, "No space left on device", str(path))


async def test_a_slow_peer_is_named_and_the_others_are_done(running: Stage) -> None:
    stage = running
    slow = await stage.connect("pe-c", receive_buffer=4096)
    prefixes = [f"10.{high}.{low}" for high in range(20, 30) for low in range(250)]

    # Attributes of their own, long ones: more than all sockets between us take.
    def announce_all() -> None:
        for number, each in enumerate(prefixes):
            communities = wire.attribute(0xC0, 8, number.to_bytes(4, "big") * 900)
            stage.pes["pe-a"].announce(11, (each,), "65000:1101", more=communities)

    # In a thread: the controller, which reads them, lives in this one.
    await asyncio.to_thread(announce_all)
    await stage.settled()
    slow.raw.pause()

    extended = await stage.extend(wait_s=0.3)
    assert not extended.complete
    assert extended.waiting == ("pe-c",)
    # A change for the others does not wait for the slow one.
    text = stage.files()["e1.yaml"]
    imports = "{export: 65000:1102, import: 65000:1777}"
    stage.write("e1.yaml", text.replace("65000:1102", imports))
    assert (await stage.apply()).complete
    await until(
        lambda: set(stage.pes["pe-b"].held.values()) == {("65000:1777",)}, "the others' routes"
    )
    # What changes for the slow one meanwhile waits as routes, not as octets.
    retracted = await stage.retract(wait_s=0.3)
    assert retracted.waiting == ("pe-c",)
    assert 0 < (await stage.peer("pe-c")).backlog <= len(prefixes) + 3

    slow.raw.resume()
    await stage.settled()
    assert slow.held == AT_FIRST["pe-c"]


async def test_a_defect_of_the_engine_costs_one_session_only(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = running
    engine = stage.running._engine
    updates = type(engine).updates
    broken = engine.by_peer["pe-b"].opened.number

    def defective(self: object, session: int, messages: bytes) -> None:
        if session == broken:
            raise ZeroDivisionError("a defect")
        updates(self, session, messages)  # type: ignore[arg-type]

    monkeypatch.setattr(type(engine), "updates", defective)
    events = stage.running.events()
    heard = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    stage.pes["pe-b"].announce(21, ("10.2.7",), "65000:1102")
    event = await heard
    assert (event.kind, event.subject) == ("error", "pe-b")
    assert "a defect" in event.message
    assert await asyncio.to_thread(stage.pes["pe-b"].raw.wait_closed) == (6, 4)
    await stage.connect("pe-b")
    await stage.settled()
    assert stage.held() == AT_FIRST


async def test_the_session_process_is_killed_during_a_change(running: Stage) -> None:
    stage = running
    process = stage.running._peers._speaker.process_id
    assert process is not None
    os.kill(process, signal.SIGKILL)
    applied = await stage.extend(wait_s=0.5)
    assert applied.revision.number == 2
    for name in list(stage.pes):
        await until(lambda: stage.running._peers._speaker.process_id is not None, "a new process")
        while True:
            try:
                await stage.connect(name)
                break
            except (OSError, AssertionError):
                await asyncio.sleep(0.05)
    await stage.settled()
    assert stage.held() == EXTENDED


async def test_stopping_during_a_change_completes_it(running: Stage) -> None:
    stage = running
    store = stage.running._store
    commit, begun, loop = store.commit, asyncio.Event(), asyncio.get_running_loop()

    def tell(**more: object) -> Revision:
        loop.call_soon_threadsafe(begun.set)
        return commit(**more)  # type: ignore[arg-type]

    store.commit = tell  # type: ignore[method-assign]
    changing = asyncio.ensure_future(stage.extend())
    await begun.wait()
    await stage.stop()
    assert (await changing).revision.number == 2
    await stage.restart()
    assert stage.held() == EXTENDED
    assert "- cloud2" in stage.files()["e1.yaml"]


# PostgreSQL


async def test_postgresql_keeps_the_same_promises(
    stage: Stage, postgres_server: PostgresServer
) -> None:
    stage.store_url = postgres_server.create_database()
    await stage.start()
    await stage.connect_all()
    await stage.extend()
    await stage.settled()
    assert stage.held() == EXTENDED
    postgres_server.stop()
    try:
        with pytest.raises(StoreError):
            await stage.retract()
        assert (await stage.running.status()).revision == 2
        assert stage.held() == EXTENDED
    finally:
        postgres_server.start()
    await stage.retract()
    await stage.settled()
    assert stage.held() == AT_FIRST
    await stage.restart()
    assert stage.held() == AT_FIRST
    assert [r.number for r in await stage.running.history()] == [3, 2, 1]
