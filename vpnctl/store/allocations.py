"""The current allocations in memory, and what a wanted set would change of them.

A commit hands over the whole set.  Comparing it as a set, and not at all when it is the very one
of the commit before, keeps the cost of thousands of unchanged ones below that of writing one row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vpnctl.errors import StoreError
from vpnctl.model import Allocation


class AllocationDifference(NamedTuple):
    """Rows to delete, then rows to insert; a changed allocation stands in both.

    ``wanted`` is everything that is there afterwards.
    """

    removed: list[Allocation]
    added: list[Allocation]
    wanted: frozenset[Allocation]


class AllocationBook:
    """Every current allocation, unique by (pool, owner) and by (pool, number)."""

    def __init__(self, allocations: Iterable[Allocation] = ()) -> None:
        self._all: frozenset[Allocation] = frozenset()
        self._by_owner: dict[tuple[str, str], Allocation] = {}
        self._by_number: dict[tuple[str, int], Allocation] = {}
        self._ordered: tuple[Allocation, ...] | None = None
        everything = frozenset(allocations)
        self.apply(AllocationDifference([], list(everything), everything))

    def allocations(self) -> tuple[Allocation, ...]:
        """All of them, by pool and number."""
        if self._ordered is None:
            by_number = self._by_number
            self._ordered = tuple(by_number[key] for key in sorted(by_number))
        return self._ordered

    def difference(self, wanted: Iterable[Allocation]) -> AllocationDifference:
        """What has to be removed and added so that exactly ``wanted`` is there.

        Raises `StoreError` where ``wanted`` gives an owner two numbers of a pool, or a number of
        a pool to two owners.
        """
        every = frozenset(wanted)  # the same object when it is one
        if every is self._all:
            return AllocationDifference([], [], every)
        removed = sorted(self._all - every)
        gone = {(allocation.pool, allocation.owner) for allocation in removed}
        added: dict[tuple[str, str], Allocation] = {}
        for allocation in sorted(every - self._all):
            owner = (allocation.pool, allocation.owner)
            other = added.get(owner)
            if other is None and owner not in gone:
                other = self._by_owner.get(owner)
            if other is not None:
                raise self._twice(allocation, other)
            added[owner] = allocation
        self._refuse_shared_numbers(removed, added.values())
        return AllocationDifference(removed, list(added.values()), every)

    def apply(self, difference: AllocationDifference) -> None:
        """Carry out a difference that the database has taken."""
        for allocation in difference.removed:
            del self._by_owner[allocation.pool, allocation.owner]
            del self._by_number[allocation.pool, allocation.number]
        for allocation in difference.added:
            self._by_owner[allocation.pool, allocation.owner] = allocation
            self._by_number[allocation.pool, allocation.number] = allocation
        self._all = difference.wanted
        if difference.removed or difference.added:
            self._ordered = None

    def _refuse_shared_numbers(
        self, removed: list[Allocation], added: Iterable[Allocation]
    ) -> None:
        freed = {(allocation.pool, allocation.number) for allocation in removed}
        taken: dict[tuple[str, int], Allocation] = {}
        for allocation in added:
            number = (allocation.pool, allocation.number)
            holder = taken.get(number)
            if holder is None and number not in freed:
                holder = self._by_number.get(number)
            if holder is not None:
                raise StoreError(
                    f"{allocation.number} of pool {allocation.pool} is given to both "
                    f"{holder.owner} and {allocation.owner}; nothing was stored",
                    hint="set another number for one of them in the policy",
                )
            taken[number] = allocation

    @staticmethod
    def _twice(one: Allocation, other: Allocation) -> StoreError:
        return StoreError(
            f"{one.owner} is given both {other.number} and {one.number} of pool {one.pool}; "
            "nothing was stored",
            hint="an owner has at most one number of a pool: leave one of them out",
        )
