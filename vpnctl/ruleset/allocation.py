"""Numbers that the policy leaves out: chosen once, kept from then on.

The choice is a function of the policy and of what was chosen before: in the order of the files,
each need takes

1. the number that its owner had, even if released meanwhile;
2. else the lowest that nobody ever had;
3. else, when there is none, the lowest released one.

Numbers of a *dense* pool, VE-IDs, are looked for where they cost nothing first: in the range that
the routers of a VPN take part in already (a power of two, `site_range`).  There a released one is
taken when none is left that nobody had, instead of a higher one.  But never in the change that
released it: when the next one comes, the routes that had it are withdrawn everywhere.

A number that the policy gives explicitly is never chosen, and whoever had it moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, filterfalse
from typing import NamedTuple

from vpnctl.model import Allocation, Place, site_range
from vpnctl.model.allocation import ADOPTED
from vpnctl.model.tags import two_tags
from vpnctl.ruleset.claims import Claims
from vpnctl.ruleset.values import MAX_VLAN
from vpnctl.yamltree.mistake import Mistake

_OCTETS = 8


class Pool(NamedTuple):
    """Numbers ``first``..``last`` of the pool ``name``.

    With ``outer`` it is one of VLANs (`vpnctl.model.tags`): when these are used up, those inside
    the outer tags ``outer[0]``..``outer[1]`` follow.  ``space``: where explicit numbers of the
    same kind are claimed; there a number is an integer, or where ``prefix`` is not empty these
    octets followed by the number.  ``dense``: high numbers cost more than low ones.
    """

    name: str
    space: str
    first: int
    last: int
    prefix: bytes = b""
    outer: tuple[int, int] | None = None
    dense: bool = False

    @property
    def ranges(self) -> tuple[range, ...]:
        """Every number of the pool, in the order in which they are given out."""
        first, last = self.outer or (1, 0)
        return (
            range(self.first, self.last + 1),
            *(
                range(two_tags(tag, 1), two_tags(tag, MAX_VLAN) + 1)
                for tag in range(first, last + 1)
            ),
        )

    def has(self, number: int) -> bool:
        """Whether the number is one of the pool's."""
        if self.outer is None:
            return self.first <= number <= self.last
        return any(number in numbers for numbers in self.ranges)

    def value(self, number: int) -> int | bytes:
        """``number`` as it is claimed."""
        if not self.prefix:
            return number
        return self.octets(number)

    def octets(self, number: int) -> bytes:
        """The route target or distinguisher of that number, 8 octets."""
        return self.prefix + number.to_bytes(_OCTETS - len(self.prefix), "big")


class Need(NamedTuple):
    """``owner`` needs one number that is free in every one of ``pools``.

    ``place`` and ``path`` are what to point at, and ``what`` and ``hint`` what to say, when there
    is none.
    """

    owner: str
    pools: tuple[Pool, ...]
    place: Place
    path: str
    what: str
    hint: str


@dataclass(slots=True)
class _Book:
    """One pool: the holder of every number, released ones included, and the reverse."""

    holders: dict[int, str]
    owners: dict[str, Allocation]

    def copy(self) -> _Book:
        return _Book(self.holders.copy(), self.owners.copy())


_EMPTY = _Book({}, {})


class Register:
    """Every allocation.  Copies are cheap: a pool is copied when written to."""

    def __init__(self, allocations: Iterable[Allocation] = ()) -> None:
        self._books: dict[str, _Book] = {}
        self._own: set[str] = set()
        self._all: frozenset[Allocation] = frozenset()
        self._added: dict[tuple[str, str], Allocation] = {}
        self._removed: set[Allocation] = set()
        #: What was released since this one was made: pool and number.
        self._just_released: set[tuple[str, int]] = set()
        # Active before released: should two have one number, the active one keeps it.
        for allocation in sorted(
            allocations, key=lambda one: (one.released, one.pool, one.owner, one.number)
        ):
            book = self._writable(allocation.pool)
            if allocation.number not in book.holders and allocation.owner not in book.owners:
                book.holders[allocation.number] = allocation.owner
                book.owners[allocation.owner] = allocation
                self._added[allocation.pool, allocation.owner] = allocation

    def copy(self) -> Register:
        """One that may be changed without changing this one."""
        other = Register()
        other._all = self.allocations()
        other._books = self._books.copy()
        # Both share the books from now on.
        self._own = set()
        return other

    def allocations(self) -> frozenset[Allocation]:
        """Every allocation; the same object as long as nothing changes."""
        if self._removed:
            self._all -= self._removed
            self._removed = set()
        if self._added:
            self._all |= frozenset(self._added.values())
            self._added = {}
        return self._all

    def number(self, pool: str, owner: str) -> int | None:
        """The number that the owner has or had."""
        allocation = self._books.get(pool, _EMPTY).owners.get(owner)
        return None if allocation is None else allocation.number

    def holders(self, pool: str) -> Mapping[int, str]:
        """Who has or had which number, as things stand now."""
        return self._books.get(pool, _EMPTY).holders

    def holder(self, pool: str, number: int) -> str | None:
        """Who has or had the number."""
        return self._books.get(pool, _EMPTY).holders.get(number)

    def released(self, pool: str, owner: str) -> bool:
        """Whether the owner gave its number back."""
        allocation = self._books.get(pool, _EMPTY).owners.get(owner)
        return allocation is not None and allocation.released

    def resting(self, pool: str) -> list[int]:
        """Released numbers in order, but for those that were released since this one was made."""
        return sorted(
            number
            for number, owner in self.holders(pool).items()
            if self.released(pool, owner) and (pool, number) not in self._just_released
        )

    def set(self, pool: str, owner: str, number: int) -> None:
        """The owner has the number now; its former one and a former holder are forgotten."""
        allocation = Allocation(pool, owner, number)
        book = self._writable(pool)
        former = book.owners.get(owner)
        if former == allocation:
            return
        if former is not None:
            self._forget(former)
        displaced = book.holders.get(number)
        if displaced is not None:
            self._forget(book.owners[displaced])
        self._enter(allocation)

    def release(self, pool: str, owner: str) -> None:
        """The owner needs its number no more, but keeps the first claim to it."""
        former = self._books.get(pool, _EMPTY).owners.get(owner)
        if former is not None and not former.released:
            self._writable(pool)
            self._forget(former)
            self._enter(replace(former, released=True))
            self._just_released.add((pool, former.number))

    def release_all_but(self, needed: Iterable[tuple[str, str]]) -> None:
        """Release every (pool, owner) that is not needed, but what routers use themselves."""
        keep = set(needed)
        for pool, book in list(self._books.items()):
            for owner in list(book.owners):
                if (pool, owner) not in keep and not owner.startswith(ADOPTED):
                    self.release(pool, owner)

    def _enter(self, allocation: Allocation) -> None:
        book = self._books[allocation.pool]
        book.holders[allocation.number] = allocation.owner
        book.owners[allocation.owner] = allocation
        self._added[allocation.pool, allocation.owner] = allocation

    def _forget(self, allocation: Allocation) -> None:
        book = self._books[allocation.pool]
        del book.owners[allocation.owner]
        del book.holders[allocation.number]
        if self._added.pop((allocation.pool, allocation.owner), None) is None:
            self._removed.add(allocation)

    def _writable(self, pool: str) -> _Book:
        if pool not in self._own:
            self._books[pool] = self._books.get(pool, _EMPTY).copy()
            self._own.add(pool)
        return self._books[pool]


def allocate(register: Register, needs: Iterable[Need], claims: Claims) -> list[Mistake]:
    """Give every need its number in ``register``; mistakes are the pools that are exhausted."""
    pending = [need for need in needs if not _keep(register, need, claims)]
    searches: dict[tuple[Pool, ...], _Search] = {}
    mistakes = []
    for need in pending:
        search = searches.get(need.pools)
        if search is None:
            search = searches[need.pools] = _Search(register, need.pools, claims)
        number = search.choose(need.owner)
        if number is None:
            mistakes.append(Mistake(need.place, need.path, need.what, need.hint))
            continue
        for pool in need.pools:
            register.set(pool.name, need.owner, number)
    return mistakes


def _keep(register: Register, need: Need, claims: Claims) -> bool:
    """Whether the owner may keep the number it has (or had, and then it has it again)."""
    numbers = {register.number(pool.name, need.owner) for pool in need.pools}
    number = numbers.pop()
    if number is None or numbers:
        return False
    for pool in need.pools:
        if not pool.has(number):
            return False
        if pool.value(number) in claims.space(pool.space):
            return False
    for pool in need.pools:
        if register.released(pool.name, need.owner):
            register.set(pool.name, need.owner, number)
    return True


def _common(pools: tuple[Pool, ...]) -> list[range]:
    """The numbers that all of the pools have."""
    common = list(pools[0].ranges)
    for pool in pools[1:]:
        common = [
            range(max(one.start, other.start), min(one.stop, other.stop))
            for one in common
            for other in pool.ranges
        ]
    return common


class _Search:
    """Looks for numbers that are free in all of some pools, never twice at the same ones."""

    def __init__(self, register: Register, pools: tuple[Pool, ...], claims: Claims) -> None:
        self._register = register
        self._pools = pools
        self._claimed = [claims.space(pool.space) for pool in pools]
        common = _common(pools)
        numbers: Iterable[int] = chain.from_iterable(common)
        for pool in pools:
            # Skips what is taken at the speed of C; _free has the last word.
            numbers = filterfalse(register.holders(pool.name).__contains__, numbers)
        self._unused = iter(numbers)
        self._released = chain.from_iterable(common)
        self._next: int | None = None
        self._resting: Iterator[int] = iter(())
        self._active = 0
        if pools[0].dense:
            (pool,) = pools
            resting = register.resting(pool.name)
            self._resting = iter(resting)
            self._active = len(register.holders(pool.name)) - len(resting)
            self._active += len(claims.space(pool.space))

    def choose(self, owner: str) -> int | None:
        """The number for ``owner``, who then has it; `None` when there is none left."""
        for former in sorted(
            number
            for pool in self._pools
            if (number := self._register.number(pool.name, owner)) is not None
        ):
            if all(pool.has(former) for pool in self._pools) and self._free(
                former, owner, reuse=False
            ):
                return former
        number = self._lowest_unused(owner)
        if self._pools[0].dense:
            self._active += 1
            if number is None or number > site_range(self._active):
                for low in self._resting:
                    if self._free(low, owner, reuse=True):
                        return low
        if number is not None:
            self._next = None
            return number
        for number in self._released:
            if self._free(number, owner, reuse=True):
                return number
        return None

    def _lowest_unused(self, owner: str) -> int | None:
        """The lowest number that nobody ever had; the same again until it is given out."""
        if self._next is None:
            self._next = next(
                (number for number in self._unused if self._free(number, owner, reuse=False)), None
            )
        return self._next

    def _free(self, number: int, owner: str, *, reuse: bool) -> bool:
        for pool, claimed in zip(self._pools, self._claimed, strict=True):
            if pool.value(number) in claimed:
                return False
            holder = self._register.holder(pool.name, number)
            if holder is None or holder == owner:
                continue
            if not (reuse and self._register.released(pool.name, holder)):
                return False
        return True
