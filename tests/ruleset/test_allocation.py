"""Numbers are chosen once, by a rule, and never given to two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vpnctl.model import Allocation, Place
from vpnctl.model.tags import tags_text, two_tags
from vpnctl.ruleset.allocation import Need, Pool, Register, allocate
from vpnctl.ruleset.claims import Claim, Claims

A = Pool("a", "a", 1, 6)
B = Pool("b", "b", 3, 8)
WIDE = Pool("wide", "wide", 1, 1000)
VE = Pool("ve", "ve", 1, 100, dense=True)


def need(owner: str, *pools: Pool) -> Need:
    return Need(owner, pools, Place("f", 1), "sites[0]", "nothing is left", "widen the pool")


def claims(*numbers: tuple[str, int]) -> Claims:
    taken = Claims()
    taken.add(Claim(space, number, "X", "", Place("f", 1), "", "", "") for space, number in numbers)
    return taken


def numbers(register: Register, pool: Pool) -> dict[str, int]:
    return {a.owner: a.number for a in register.allocations() if a.pool == pool.name}


def test_the_lowest_number_that_nobody_ever_had_is_taken() -> None:
    register = Register([Allocation("a", "X", 1), Allocation("a", "Y", 2, released=True)])
    assert allocate(register, [need("Z", A), need("W", A)], claims(("a", 4))) == []
    assert numbers(register, A) == {"X": 1, "Y": 2, "Z": 3, "W": 5}


def test_released_numbers_are_the_last_resort_and_then_it_is_a_mistake() -> None:
    register = Register([Allocation("a", "X", n, released=n == 2) for n in (2,)])
    needs = [need(f"N{index}", A) for index in range(7)]
    (mistake,) = allocate(register, needs, claims())
    assert numbers(register, A) == {
        "N0": 1, "N1": 3, "N2": 4, "N3": 5, "N4": 6, "N5": 2,
    }  # fmt: skip
    assert (mistake.message, mistake.hint) == ("nothing is left", "widen the pool")


def test_a_dense_number_is_reused_before_the_range_grows_but_not_in_the_same_change() -> None:
    register = Register([Allocation("ve", f"N{n}", n) for n in range(1, 17)])
    register.release("ve", "N5")
    allocate(register, [need("Z", VE)], claims())
    # All 16 are in use or just released: the old route may still be out there.
    assert numbers(register, VE)["Z"] == 17

    later = Register([Allocation("ve", f"N{n}", n, released=n in (5, 9)) for n in range(1, 17)])
    allocate(later, [need("Z", VE), need("Y", VE), need("X", VE)], claims())
    found = numbers(later, VE)
    assert [found[owner] for owner in "ZYX"] == [5, 9, 17]


def test_a_released_dense_number_rests_while_the_range_has_room() -> None:
    register = Register([Allocation("ve", "A", 1), Allocation("ve", "B", 2, released=True)])
    allocate(register, [need("C", VE), need("B", VE)], claims(("ve", 3)))
    assert numbers(register, VE) == {"A": 1, "B": 2, "C": 4}


def test_vlans_with_two_tags_follow_when_the_single_ones_are_used_up() -> None:
    one = Pool("vlan/one", "vlan/one", 100, 101, outer=(4001, 4002))
    other = Pool("vlan/other", "vlan/other", 101, 109, outer=(4002, 4003))
    register = Register()
    assert allocate(register, [need("X", one, other), need("Y", one, other)], claims()) == []
    found = numbers(register, one)
    assert [tags_text(found[owner]) for owner in "XY"] == ["101", "4002/1"]
    # Kept, and kept apart from single tags.
    before = register.allocations()
    assert allocate(register, [need("Y", one, other)], claims()) == []
    assert register.allocations() == before


def test_every_vlan_of_a_port_is_given_out_once() -> None:
    port = Pool("vlan/pe", "vlan/pe", 1, 10, outer=(4001, 4001))
    register = Register()
    found = allocate(register, [need(f"N{n}", port) for n in range(10 + 4094 + 1)], claims())
    assert len(found) == 1
    assert set(numbers(register, port).values()) == {
        *range(1, 11), *(two_tags(4001, inner) for inner in range(1, 4095)),
    }  # fmt: skip


def test_one_number_is_free_in_every_pool_or_not_taken() -> None:
    register = Register([Allocation("a", "X", 3), Allocation("b", "Y", 4)])
    assert allocate(register, [need("Z", A, B)], claims(("b", 5))) == []
    assert numbers(register, A)["Z"] == numbers(register, B)["Z"] == 6
    assert len(allocate(register, [need("W", A, B)], claims(("b", 5)))) == 1


def test_a_number_is_kept_when_another_pool_joins_if_it_is_free_there() -> None:
    register = Register([Allocation("a", "X", 5), Allocation("a", "Y", 6)])
    allocate(register, [need("X", A, B)], claims())
    assert numbers(register, B) == {"X": 5}
    allocate(register, [need("Y", A, B)], claims(("b", 6)))
    assert numbers(register, A) == {"X": 5, "Y": 3}


def test_a_copy_does_not_change_the_original() -> None:
    register = Register([Allocation("a", "X", 1)])
    before = register.allocations()
    copy = register.copy()
    copy.release("a", "X")
    allocate(copy, [need("Z", A)], claims())
    register.set("b", "X", 3)
    assert copy.allocations() == {Allocation("a", "X", 1, released=True), Allocation("a", "Z", 2)}
    assert register.allocations() == before | {Allocation("b", "X", 3)}


def test_of_two_active_holders_of_one_number_one_moves() -> None:
    register = Register([Allocation("a", "Y", 1), Allocation("a", "X", 1)])
    allocate(register, [need("X", A), need("Y", A)], claims())
    assert numbers(register, A) == {"X": 1, "Y": 2}


OWNERS = st.sampled_from([f"N{index}" for index in range(8)])
POOLS = st.sampled_from([(A,), (B,), (A, B), (WIDE,), (B, WIDE)])


@given(
    st.sets(
        st.builds(
            Allocation,
            pool=st.sampled_from(["a", "b", "wide"]),
            owner=OWNERS,
            number=st.integers(1, 9),
            released=st.booleans(),
        ),
        max_size=20,
    ),
    st.lists(st.tuples(OWNERS, POOLS), max_size=10, unique_by=lambda one: one[0]),
    st.sets(st.tuples(st.sampled_from(["a", "b", "wide"]), st.integers(1, 9)), max_size=6),
)
def test_whatever_was_there_no_number_is_given_to_two(
    before: set[Allocation],
    wanted: list[tuple[str, tuple[Pool, ...]]],
    explicit: set[tuple[str, int]],
) -> None:
    register = Register(before)
    needs = [need(owner, *pools) for owner, pools in wanted]
    kept = {(pool.name, one.owner) for one in needs for pool in one.pools}
    register.release_all_but(kept)
    failures = len(allocate(register, needs, claims(*explicit)))
    after = register.allocations()
    assert len({(a.pool, a.number) for a in after}) == len(after)
    assert len({(a.pool, a.owner) for a in after}) == len(after)
    satisfied = 0
    for one in needs:
        given_numbers = {
            a.number
            for a in after
            for pool in one.pools
            if (a.pool, a.owner, a.released) == (pool.name, one.owner, False)
        }
        fits = len(given_numbers) == 1 and all(
            pool.first <= number <= pool.last and (pool.name, number) not in explicit
            for pool in one.pools
            for number in given_numbers
        )
        satisfied += fits
    assert satisfied >= len(needs) - failures
    # The same question has the same answer, and what was chosen stays.
    again = Register(after)
    allocate(again, needs, claims(*explicit))
    if not failures:
        assert again.allocations() == after
