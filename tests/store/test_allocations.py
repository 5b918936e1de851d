"""Allocations: unique, released and taken up again, and written only where they changed."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, event

from tests.store.commits import commit, target
from vpnctl.errors import StoreError
from vpnctl.model import Allocation
from vpnctl.store import Store

HQ, CLOUD = target("E1/hq", 100), target("E1/cloud1", 101)


def test_the_current_set_is_what_the_last_commit_gave(url: str) -> None:
    other_pool = Allocation("ve-id/E1", "E1/hq", 100)
    with Store.open(url) as store:
        commit(store, None, allocations=[other_pool, CLOUD, HQ])
        assert store.allocations() == (HQ, CLOUD, other_pool)
        commit(store, 1, allocations=[HQ, other_pool])
        assert store.allocations() == (HQ, other_pool)
    with Store.open(url) as store:
        assert store.allocations() == (HQ, other_pool)


def test_a_released_number_stays_with_its_owner_until_it_returns(store: Store) -> None:
    released = target("E1/cloud1", 101, released=True)
    commit(store, None, allocations=[HQ, CLOUD])
    commit(store, 1, allocations=[HQ, released])
    assert store.allocations() == (HQ, released)
    with pytest.raises(StoreError, match="101 of pool route-target"):
        commit(store, 2, allocations=[HQ, released, target("E2/hq", 101)])
    commit(store, 2, allocations=[HQ, CLOUD])
    assert store.allocations() == (HQ, CLOUD)


def test_a_released_number_can_go_to_another_owner(store: Store) -> None:
    commit(store, None, allocations=[HQ, CLOUD])
    commit(store, 1, allocations=[HQ, target("E2/hq", 101)])
    assert store.allocations() == (HQ, target("E2/hq", 101))


def test_owners_can_exchange_their_numbers(store: Store) -> None:
    commit(store, None, allocations=[HQ, CLOUD])
    commit(store, 1, allocations=[target("E1/hq", 101), target("E1/cloud1", 100)])
    assert store.allocations() == (target("E1/cloud1", 100), target("E1/hq", 101))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([HQ, target("E2/hq", 100)], "100 of pool route-target is given to both E1/hq and E2/hq"),
        ([HQ, target("E1/hq", 102)], "E1/hq is given both 100 and 102 of pool route-target"),
        ([target("E3", 7), target("E3", 8)], "E3 is given both 7 and 8"),
        ([target("E3", 7), target("E4", 7)], "7 of pool route-target is given to both E3 and E4"),
    ],
)
def test_a_collision_is_refused_and_nothing_is_stored(
    store: Store, wanted: list[Allocation], said: str
) -> None:
    commit(store, None, allocations=[HQ])
    with pytest.raises(StoreError, match=said) as refused:
        commit(store, 1, {"e1.yaml": b"new"}, wanted)
    assert refused.value.hint
    assert store.allocations() == (HQ,)
    assert store.files(1) == {}
    assert commit(store, 1).number == 2


def test_a_number_may_have_64_bits_but_not_more(store: Store) -> None:
    largest = target("E1/hq", 2**63 - 1)
    commit(store, None, allocations=[largest])
    assert store.allocations() == (largest,)
    with pytest.raises(StoreError, match="could not store the revision"):
        commit(store, 1, allocations=[target("E1/hq", 2**63)])
    assert store.allocations() == (largest,)


@pytest.mark.parametrize("same_objects", [True, False])
def test_a_commit_touches_only_the_allocations_that_changed(
    store: Store, same_objects: bool
) -> None:
    commit(store, None, allocations=[target(f"E{n}/hq", n) for n in range(500)])
    held = list(store.allocations())
    if not same_objects:
        held = [target(f"E{n}/hq", n) for n in range(500)]
    held[7] = target("E7/hq", 9000)

    touched: list[tuple[str, object]] = []

    def note(_c: object, _cursor: object, sql: str, parameters: object, *_: object) -> None:
        if "allocations" in sql:
            touched.append((sql.split()[0], parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        commit(store, 1, {"e7.yaml": b"vpn: E7\n"}, held)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert [verb for verb, _ in touched] == ["DELETE", "INSERT"]
    assert "9000" in str(touched[1])
    assert "499" not in str(touched)
