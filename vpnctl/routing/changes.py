"""What a change of the rules does to the routes, before anything is sent.

The same moves are shown by a plan and sent by an apply, so that what was previewed goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vpnctl.model import Family
from vpnctl.routing.audience import Audience
from vpnctl.routing.best_path import leading
from vpnctl.routing.nlri import distinguisher
from vpnctl.routing.rewrite import Rules, RulesChange, Verdict, rewrite
from vpnctl.routing.table import Entry, LocRib, Path, TargetGroup, candidates

#: (PE, family) -> the most paths to one destination, where the PE is told several (RFC 7911).
Plural = Mapping[tuple[str, Family], int]


@dataclass(frozen=True, slots=True)
class Shift:
    """Another verdict on the routes of one group; ``allowed``: by the rules alone."""

    group: TargetGroup
    allowed: Verdict
    verdict: Verdict


class Move(NamedTuple):
    """Routes that one peer gets, loses, or gets in another way.

    ``old`` and ``new``: the path and the targets it is sent with, None where the peer has, or
    gets, nothing.  All ``keys`` share them.
    """

    peer: str
    family: Family
    old: tuple[Path, tuple[bytes, ...]] | None
    new: tuple[Path, tuple[bytes, ...]] | None
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """Rules and verdicts at one moment: before or after a change.

    ``verdicts`` holds those that differ from what the groups themselves say; ``decided``: which
    paths go first, by whose the route distinguisher is, how many, and among which.
    """

    rules: Rules
    verdicts: Mapping[TargetGroup, Verdict]
    decided: dict[tuple[object, ...], list[Path]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def of(self, path: Path) -> Mapping[str, tuple[bytes, ...]]:
        """PE -> targets with which it may have the routes of a path."""
        return self.verdicts.get(path.group, path.group.verdict).sent

    def pick(self, peer: str, entry: Entry | None, family: Family, key: bytes) -> Path | None:
        """The path that a peer is to have for a key, if any."""
        visible = [path for path in candidates(entry) if peer in self.of(path)]
        if len(visible) < 2:
            return visible[0] if visible else None
        return self._leading(visible, family, key, 1)[0]

    def leading(
        self, peer: str, entry: Entry | None, family: Family, key: bytes, most: int
    ) -> list[Path]:
        """The paths that a peer is to have for a key: the best ones, at most so many."""
        visible = [path for path in candidates(entry) if peer in self.of(path)]
        if len(visible) <= most:
            return visible
        return self._leading(visible, family, key, most)

    def _leading(self, visible: list[Path], family: Family, key: bytes, most: int) -> list[Path]:
        """Decided once for all peers, and keys, of which the same is to be said."""
        owner = self.rules.owners.get(distinguisher(family, key))
        question = owner, most, *visible
        found = self.decided.get(question)
        if found is None:
            found = self.decided[question] = leading(visible, most, owner)
        return found


def shifts(
    change: RulesChange,
    groups_of: Callable[[bytes], Iterable[TargetGroup]],
    audience: Audience,
) -> tuple[Shift, ...]:
    """The groups of routes that a change of the rules treats otherwise."""
    affected = {group for target in change.targets for group in groups_of(target)}
    found = []
    for group in affected:
        verdict = rewrite(change.rules, group.peer, group.family, group.targets)
        if verdict != group.allowed:
            found.append(Shift(group, verdict, audience.of(verdict, stale=group.stale)))
    return tuple(found)


def audience_shifts(
    peer: str, groups: Iterable[TargetGroup], audience: Audience
) -> tuple[Shift, ...]:
    """The groups of routes that a PE takes now and did not, or the other way round."""
    found = []
    for group in groups:
        targets = group.allowed.sent.get(peer)
        if targets is None or not group.constrained:
            continue
        if audience.has(peer, targets, stale=group.stale) != (peer in group.verdict.sent):
            verdict = audience.of(group.allowed, stale=group.stale)
            found.append(Shift(group, group.allowed, verdict))
    return tuple(found)


def _plain_moves(shift: Shift, ribs: Mapping[Family, LocRib]) -> Iterator[Move]:
    """Moves of the routes that no other PE announces."""
    group = shift.group
    family = group.family
    contested = ribs[family].contested
    before, after = group.verdict.sent, shift.verdict.sent
    differing = [
        (peer, before.get(peer), after.get(peer))
        for peer in sorted(before.keys() | after.keys())
        if before.get(peer) != after.get(peer)
    ]
    routes = []
    for path in group.paths:
        if contested:
            keys = tuple(key for key in path.nlris if key not in contested)
        else:
            keys = tuple(path.nlris)
        if keys:
            routes.append((path, keys))
    for peer, old, new in differing:
        for path, keys in routes:
            yield Move(
                peer,
                family,
                None if old is None else (path, old),
                None if new is None else (path, new),
                keys,
            )


def _contested_moves(
    family: Family, key: bytes, entry: Entry, before: Sight, after: Sight, plural: Plural
) -> Iterator[Move]:
    """Moves of a route to which there are several paths: another one may be best now."""
    paths = candidates(entry)
    for peer in sorted({peer for path in paths for peer in (*before.of(path), *after.of(path))}):
        most = plural.get((peer, family))
        if most is not None:
            yield from _moves_of_paths(peer, family, key, entry, before, after, most)
            continue
        old_path = before.pick(peer, entry, family, key)
        new_path = after.pick(peer, entry, family, key)
        old = None if old_path is None else (old_path, before.of(old_path)[peer])
        new = None if new_path is None else (new_path, after.of(new_path)[peer])
        if old != new:
            yield Move(peer, family, old, new, (key,))


def _moves_of_paths(
    peer: str,
    family: Family,
    key: bytes,
    entry: Entry,
    before: Sight,
    after: Sight,
    most: int,
) -> Iterator[Move]:
    """The same for a peer that is told several paths, each of which is a route of its own."""
    had = before.leading(peer, entry, family, key, most)
    has = after.leading(peer, entry, family, key, most)
    for path in dict.fromkeys((*has, *had)):
        old = (path, before.of(path)[peer]) if path in had else None
        new = (path, after.of(path)[peer]) if path in has else None
        if old != new:
            yield Move(peer, family, old, new, (key,))


def moves(
    change: RulesChange,
    shifted: tuple[Shift, ...],
    rules: Rules,
    ribs: Mapping[Family, LocRib],
    plural: Plural,
) -> tuple[Move, ...]:
    """Every route that changes at any PE when the rules do, whether its session is up or not."""
    before = Sight(rules, {})
    after = Sight(change.rules, {shift.group: shift.verdict for shift in shifted})
    found: list[Move] = []
    touched: dict[Family, set[bytes]] = {}
    for shift in shifted:
        found += _plain_moves(shift, ribs)
        contested = ribs[shift.group.family].contested
        if contested:
            keys = touched.setdefault(shift.group.family, set())
            for path in shift.group.paths:
                keys.update(key for key in path.nlris if key in contested)
    for family, rib in ribs.items():
        keys = touched.setdefault(family, set())
        keys.update(
            key for key in rib.contested if distinguisher(family, key) in change.distinguishers
        )
        for key in sorted(keys):
            found += _contested_moves(family, key, rib.entries[key], before, after, plural)
    return tuple(found)
