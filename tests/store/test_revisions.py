"""Revisions: each on the one before it, with its files, its state and its timeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.store.commits import commit, target
from vpnctl.errors import NotFoundError, StaleError, StoreError
from vpnctl.store import RevisionKind, RevisionState, Step, Store

NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, UTC)


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.latest() is None
    assert store.history() == ()
    assert store.allocations() == ()
    assert store.pending() == ()
    assert store.unconfirmed() is None
    assert store.check() == ()


def test_a_revision_is_read_back_as_it_was_committed(url: str) -> None:
    in_tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    with Store.open(url, clock=lambda: in_tokyo) as store:
        first = commit(store, None, {"e1.yaml": b"vpn: E1\n"}, kind="start", summary="größer")
        second = commit(store, 1, confirm_by=in_tokyo + timedelta(minutes=5), author="bob")
        assert (first.number, first.parent, first.at) == (1, None, NOON)
        assert first.at.tzinfo is UTC
        assert (first.kind, first.state) == (RevisionKind.START, RevisionState.APPLIED)
        assert (second.number, second.parent, second.author) == (2, 1, "bob")
        assert second.confirm_by == NOON + timedelta(minutes=5)
        assert store.revision(1) == first
        assert store.latest() == store.revision(2) == second
    with Store.open(url) as store:
        assert store.history() == (second, first)


def test_history_is_paged_from_the_newest(store: Store) -> None:
    for base in (None, 1, 2, 3, 4):
        commit(store, base)
    assert [revision.number for revision in store.history(limit=2)] == [5, 4]
    assert [revision.number for revision in store.history(limit=2, before=4)] == [3, 2]
    assert store.history(before=1) == ()


@pytest.mark.parametrize("base", [None, 1, 3])
def test_a_commit_on_another_base_than_the_latest_is_stale(store: Store, base: int | None) -> None:
    commit(store, None, {"e1.yaml": b"1"})
    commit(store, 1, {"e1.yaml": b"2"})
    with pytest.raises(StaleError, match="revision 2 is applied") as refused:
        commit(store, base, {"e1.yaml": b"lost"}, [target("E1/hq", 100)])
    assert "vpnctl plan" in refused.value.hint
    assert store.files(2) == {"e1.yaml": b"2"}
    assert store.allocations() == ()
    assert commit(store, 2).number == 3


def test_the_first_commit_has_no_base(store: Store) -> None:
    with pytest.raises(StaleError, match="there is none yet"):
        commit(store, 1)


def test_files_are_those_of_the_revision_asked_for(store: Store) -> None:
    commit(store, None, {"network.yaml": b"n", "e1.yaml": b"one", "e2.yaml": b"same"})
    commit(store, 1, {"e1.yaml": b"two", "e2.yaml": b"same"})
    commit(store, 2, {"e1.yaml": None, "never.yaml": None, "e3.yaml": b""})
    commit(store, 3, {"e1.yaml": b"one"})

    assert store.files(1) == {"e1.yaml": b"one", "e2.yaml": b"same", "network.yaml": b"n"}
    assert store.files(2) == {"e1.yaml": b"two", "e2.yaml": b"same", "network.yaml": b"n"}
    assert store.files(3) == {"e2.yaml": b"same", "e3.yaml": b"", "network.yaml": b"n"}
    assert store.files(4) == store.files(3) | {"e1.yaml": b"one"}
    assert list(store.files(1)) == ["e1.yaml", "e2.yaml", "network.yaml"]

    assert store.changed_files(2) == {"e1.yaml": b"two"}
    assert store.changed_files(3) == {"e1.yaml": None, "e3.yaml": b""}
    assert store.changed_files(4) == {"e1.yaml": b"one"}


def test_any_octets_can_be_a_files_content(store: Store) -> None:
    content = bytes(range(256)) * 5000
    commit(store, None, {"e1.yaml": content, "copy.yaml": content})
    assert store.files(1) == {"copy.yaml": content, "e1.yaml": content}


def test_a_chain_of_rollbacks_names_what_each_restores(store: Store) -> None:
    commit(store, None, {"e1.yaml": b"one"}, [target("E1/hq", 100)])
    commit(store, 1, {"e1.yaml": b"two"}, [target("E1/hq", 100), target("E1/c1", 101)])
    back = commit(
        store,
        2,
        store.files(1),
        [target("E1/hq", 100), target("E1/c1", 101, released=True)],
        kind="rollback",
        restores=1,
        reverts=[2],
    )
    forth = commit(store, 3, store.files(2), kind="rollback", restores=2, reverts=[3])
    assert (back.restores, forth.restores) == (1, 2)
    assert store.files(3) == store.files(1)
    assert store.files(4) == store.files(2)
    assert [revision.state for revision in store.history()] == [
        "applied",
        "reverted",
        "reverted",
        "applied",
    ]


@pytest.mark.parametrize("more", [{"restores": 2}, {"restores": 0}, {"reverts": [7]}])
def test_a_commit_that_names_a_missing_revision_stores_nothing(
    store: Store, more: dict[str, Any]
) -> None:
    first = commit(store, None, {"e1.yaml": b"one"})
    with pytest.raises(NotFoundError):
        commit(store, 1, {"e1.yaml": b"two"}, kind="rollback", **more)
    assert store.latest() == first
    assert store.files(1) == {"e1.yaml": b"one"}


def test_an_unconfirmed_revision_is_found_until_it_is_confirmed(store: Store) -> None:
    commit(store, None, confirm_by=NOON)
    waiting = store.unconfirmed()
    assert waiting is not None
    assert (waiting.number, waiting.confirm_by) == (1, NOON)
    assert store.set_state(1, "confirmed").state is RevisionState.CONFIRMED
    assert store.unconfirmed() is None
    assert store.set_state(1, "confirmed") == store.revision(1)


def test_a_state_cannot_go_back(store: Store) -> None:
    commit(store, None, confirm_by=NOON)
    store.set_state(1, RevisionState.REVERTED)
    for state in ("applied", "unconfirmed", "confirmed"):
        with pytest.raises(StoreError, match=f"is reverted and cannot become {state}"):
            store.set_state(1, state)
    with pytest.raises(NotFoundError, match="no revision 2"):
        store.set_state(2, "confirmed")
    with pytest.raises(ValueError, match="finished"):
        store.set_state(1, "finished")


def test_every_question_about_a_missing_revision_is_not_found(store: Store) -> None:
    for ask in (store.revision, store.files, store.changed_files, store.timeline):
        with pytest.raises(NotFoundError, match="no revision 1"):
            ask(1)
    with pytest.raises(NotFoundError, match="no revision 1"):
        store.record_timeline(1, [])


def test_a_timeline_keeps_its_order_and_is_replaced_as_a_whole(store: Store) -> None:
    commit(store, None)
    assert store.timeline(1) == ()
    steps = (
        Step("policy checked", 0.0, 2.0625),
        Step("first UPDATE out", 2.1, 2.1, "pe-e1"),
        Step("allocated", 0.5, 0.1 + 0.2),
    )
    store.record_timeline(1, steps)
    assert store.timeline(1) == steps
    store.record_timeline(1, steps[:1])
    assert store.timeline(1) == steps[:1]


def test_a_time_without_a_zone_and_an_unknown_kind_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        commit(store, None, confirm_by=NOON.replace(tzinfo=None))
    with pytest.raises(ValueError, match="guess"):
        commit(store, None, kind="guess")
    assert store.latest() is None


def test_text_that_is_no_unicode_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="could not store the revision") as refused:
        commit(store, None, {"caf\udce9.yaml": b""})
    assert "UTF-8" in refused.value.hint
    assert commit(store, None).number == 1
