"""The journal: unfinished work is found again."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, select

from tests.store.commits import commit
from vpnctl.errors import NotFoundError, StaleError, StoreError
from vpnctl.store import OperationState, Store
from vpnctl.store.schema import JOURNAL

PAYLOAD = {"files": ["e1.yaml"], "note": "größer\x00", "nested": {"n": [1, None, 1.5]}}


def test_an_operation_begun_with_a_revision_is_pending_until_finished(url: str) -> None:
    with Store.open(url) as store:
        revision = commit(store, None, kind="extend", journal=PAYLOAD)
        assert revision.operation is not None
        assert store.revision(1) == revision
    with Store.open(url) as store:
        (operation,) = store.pending()
        assert (operation.id, operation.kind, operation.revision) == (
            revision.operation,
            "extend",
            1,
        )
        assert operation.payload == PAYLOAD
        assert operation.state is OperationState.BEGUN
        assert operation.begun_at == revision.at
        store.journal_finish(operation.id)
        assert store.pending() == ()
        assert commit(store, 1).operation is None


def test_an_operation_can_begin_and_be_aborted_without_a_revision(store: Store) -> None:
    first, second = store.journal_begin("render", {}), store.journal_begin("render", {"n": 2})
    assert [operation.id for operation in store.pending()] == [first, second]
    assert store.pending()[0].revision is None
    store.journal_abort(first)
    assert [operation.id for operation in store.pending()] == [second]


def test_a_refused_commit_begins_nothing(store: Store) -> None:
    commit(store, None)
    with pytest.raises(StaleError):
        commit(store, None, journal=PAYLOAD)
    with pytest.raises(NotFoundError):
        commit(store, 1, journal=PAYLOAD, reverts=[9])
    assert store.pending() == ()


def test_an_end_is_final_and_may_be_said_twice(store: Store) -> None:
    operation = store.journal_begin("render", {})
    store.journal_finish(operation)
    store.journal_finish(operation)
    with pytest.raises(StoreError, match="is done and cannot become aborted"):
        store.journal_abort(operation)
    with pytest.raises(NotFoundError, match="no operation 999"):
        store.journal_finish(999)


def test_an_operation_of_several_phases_tells_how_far_it_came(url: str) -> None:
    with Store.open(url) as store:
        operation = store.journal_begin("provision", {"large": "x"}, "prepare")
        store.journal_enter(operation, "commit", [("pe1", "check", "ok"), ("pe2", "check", "ok")])
    with Store.open(url) as store:
        commit(store, None, decides=operation)
        store.journal_enter(operation, "done", [("pe1", "confirm", "ok")], ends=OperationState.DONE)
        assert [
            (entry.phase, entry.place, entry.step, entry.outcome)
            for entry in store.journal_log(operation)
        ] == [
            ("prepare", "", "", ""),
            ("prepare", "pe1", "check", "ok"),
            ("prepare", "pe2", "check", "ok"),
            ("commit", "", "", ""),
            ("decided", "", "", "1"),
            ("decided", "pe1", "confirm", "ok"),
            ("done", "", "", ""),
        ]
        assert store.pending() == ()
        assert payload_of(url, operation) == {}


def payload_of(url: str, operation: int) -> object:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        payload = connection.scalar(select(JOURNAL.c.payload).where(JOURNAL.c.id == operation))
    engine.dispose()
    return payload


def test_a_revision_that_is_refused_decides_nothing(store: Store) -> None:
    operation = store.journal_begin("provision", {}, "prepare")
    commit(store, None)
    with pytest.raises(StaleError):
        commit(store, None, decides=operation)
    assert [entry.phase for entry in store.journal_log(operation)] == ["prepare"]
