"""What stays of a neighbor that is away."""

from __future__ import annotations

from vpnctl.lab.vplspe.memory import Memory

SERVER, SECOND = "10.0.0.100", "10.0.0.101"


def memory(stays: float = 60.0) -> Memory[str, int]:
    found: Memory[str, int] = Memory(stays)
    for neighbor in (SERVER, SECOND):
        for number, key in enumerate(("a1", "a2", "b1")):
            found.announced(neighbor, key, number)
    return found


def test_without_a_time_to_stay_routes_go_with_their_session() -> None:
    found = memory(0.0)
    found.lost(SERVER, 100.0)
    assert set(found.heard) == {SECOND}
    assert found.kept(SERVER) == 0


def test_they_stay_until_their_time_is_over() -> None:
    found = memory()
    found.lost(SERVER, 100.0)
    assert (found.kept(SERVER), found.kept(SECOND)) == (3, 0)
    assert not found.sweep(159.9)
    assert len(found.heard[SERVER]) == 3
    assert found.sweep(160.0)
    assert not found.heard[SERVER]
    assert len(found.heard[SECOND]) == 3
    assert not found.sweep(1000.0)


def test_what_is_not_announced_anew_goes_at_the_end_of_rib_of_its_family() -> None:
    found = memory()
    found.lost(SERVER, 100.0)
    found.announced(SERVER, "a1", 9)
    found.complete(SERVER, lambda key: key.startswith("a"))
    assert found.heard[SERVER] == {"a1": 9, "b1": 2}
    assert found.kept(SERVER) == 1
    found.complete(SERVER, lambda key: key.startswith("b"))
    assert found.heard[SERVER] == {"a1": 9}
    assert not found.sweep(1000.0)


def test_a_second_loss_gives_no_more_time() -> None:
    found = memory()
    found.lost(SERVER, 100.0)
    found.announced(SERVER, "a1", 9)
    found.lost(SERVER, 150.0)
    assert found.kept(SERVER) == 3
    assert found.sweep(160.0)
    assert not found.heard[SERVER]


def test_a_neighbor_may_take_everything_along() -> None:
    found = memory()
    found.lost(SERVER, 100.0)
    found.forget(SERVER)
    assert set(found.heard) == {SECOND}
    assert not found.sweep(1000.0)
    found.withdrawn(SERVER, "a1")
    found.complete(SERVER, lambda _: True)
    found.lost(SERVER, 0.0)
    assert found.kept(SERVER) == 0
