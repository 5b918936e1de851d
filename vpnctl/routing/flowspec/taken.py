"""Flow routes of PEs that are trusted with them, as others may have them.

What a PE announces stays in the tables as it was heard, and goes nowhere.  Beside it, for each flow
route that `verdict.judge` lets through, stands a route of our making with that verdict and what
the flow asks for, and nothing else.  So these routes are a function of what is announced and of
the rules, like all others; they are brought in line whenever a flow route, a unicast route near
its destination, or a rule changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from vpnctl.flowspec.nlri import parts, version_of
from vpnctl.model import Family
from vpnctl.model.family import FLOW_VPN4, FLOW_VPN6
from vpnctl.routing.attributes import (
    AS_PATH,
    CLUSTER_LIST,
    LOCAL_PREF,
    MED,
    ORIGIN,
    ORIGINATOR_ID,
    Attributes,
)
from vpnctl.routing.changes import Move
from vpnctl.routing.flowspec.validation import destination_of
from vpnctl.routing.flowspec.verdict import UNICAST, FlowVerdict, Vrfs, judge, prefix_of, vpn_of
from vpnctl.routing.guard import Account
from vpnctl.routing.rewrite import Rules, RulesChange, Verdict
from vpnctl.routing.table import Path, Tables, TargetGroup, candidates

_FAMILIES = (FLOW_VPN4, FLOW_VPN6)
#: Attributes that pass; others could make a router do what the flow does not say.
_KEPT = frozenset((ORIGIN, AS_PATH, MED, LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST))


class Announced(NamedTuple):
    """What no other flow route of a PE has."""

    pe: str
    family: Family
    key: bytes


class TakenGroup(TargetGroup):
    """The group of one flow route that was taken from a PE; ``announced``: which."""

    __slots__ = ("announced",)

    def __init__(self, what: Announced, targets: frozenset[bytes], verdict: Verdict) -> None:
        # No PE has a name with parentheses.
        super().__init__(f"(a flow of {what.pe})", what.family, targets, verdict)
        self.announced = what
        self.identity = self.peer, f"{what.family} {what.key.hex()}", targets


class TakenPath(Path):
    """One flow route as others may have it; ``announced``: whose it is; ``vpn``: and in which."""

    __slots__ = ("announced", "vpn")

    def __init__(self, heard: Path, what: Announced, judged: FlowVerdict) -> None:
        verdict = Verdict(judged.sent, frozenset())
        group = TakenGroup(what, heard.heard.targets, verdict)
        attributes = _plain(heard.heard)
        super().__init__(
            group, heard.rib, heard.peer_address, b"", b"", attributes, Account(what.family)
        )
        self.announced = what
        self.vpn = judged.vpn
        self.nlris = {what.key: heard.nlris[what.key]}
        group.paths.add(self)

    @property
    def source(self) -> str:
        return self.announced.pe

    def is_like(self, other: TakenPath) -> bool:
        """Whether a peer that has the one needs not be told of the other."""
        return (self.group.allowed, self.attributes) == (other.group.allowed, other.attributes)


def _plain(heard: Attributes) -> Attributes:
    kept = tuple(octets for octets in heard.kept if octets[1] in _KEPT)
    return heard._replace(kept=kept, discarded=())


class Taken:
    """The flow routes of trusted PEs in the tables.  ``paths``: those that somebody may have."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.paths: dict[Announced, TakenPath] = {}
        self._trusted = _trusted(tables.rules)
        self._announced: set[Announced] = set()
        self._near: dict[int, _Near] = {}
        self._vrfs = Vrfs(tables, tables.rules)

    def verdict(self, path: Path, key: bytes) -> FlowVerdict:
        """What is to be said of a flow route as a PE announced it, were the PE trusted or not."""
        # What `follow` does not look after may be out of date.
        vrfs = self._vrfs if self._trusted else Vrfs(self._tables, self._tables.rules)
        return judge(vrfs, path, key)

    def trusts(self, pe: str) -> bool:
        """Whether the flow routes of a PE are looked at at all."""
        return pe in self._trusted

    # -- what is announced changes --

    def follow(self) -> None:
        """Bring these routes in line with the touched ones, before anybody is told of them."""
        if not self._trusted:
            return
        changed = set(self._touched_flows())
        for what in changed:
            before = len(self._announced)
            if self._heard(what) is None:
                self._announced.discard(what)
            else:
                self._announced.add(what)
            if len(self._announced) != before:
                self._near.pop(version_of(what.family), None)
        for family in _FAMILIES:
            version = version_of(family)
            touched = self._tables.ribs[UNICAST[version]].touched
            if touched:
                # Kept between changes, so that a PE which changes its flows has us look up little.
                self._vrfs = Vrfs(self._tables, self._tables.rules)
            if touched and self._announced:
                near = self._near.get(version)
                if near is None:
                    flows = (one for one in self._announced if one.family == family)
                    near = self._near[version] = _Near(flows)
                for key in touched:
                    changed.update(near.to(*prefix_of(key)))
        for what in sorted(changed):
            self._settle(what)

    def _touched_flows(self) -> Iterator[Announced]:
        for family in _FAMILIES:
            rib = self._tables.ribs[family]
            for key, before in rib.touched.items():
                for path in (*candidates(before), *candidates(rib.entries.get(key))):
                    if path.peer in self._trusted:
                        yield Announced(path.peer, family, key)

    def _settle(self, what: Announced) -> None:
        had, has = self.paths.get(what), self._wanted(what, self._vrfs)
        if had is None and has is None:
            return
        if had is not None and has is not None and had.is_like(has):
            return
        rib = self._tables.ribs[what.family]
        rib.touched.setdefault(what.key, rib.entries.get(what.key))
        self._replace(what, has)

    def _heard(self, what: Announced) -> Path | None:
        """The path with which a PE announces a flow route now."""
        entry = self._tables.ribs[what.family].entries.get(what.key)
        return next((path for path in candidates(entry) if path.peer == what.pe), None)

    def _wanted(self, what: Announced, vrfs: Vrfs) -> TakenPath | None:
        heard = self._heard(what)
        if heard is None or heard.group.stale:
            return None
        judged = judge(vrfs, heard, what.key)
        if not judged.sent:
            return None
        path = TakenPath(heard, what, judged)
        path.group.verdict = self._tables.audience.of(path.group.allowed, stale=False)
        return path

    def _replace(self, what: Announced, path: TakenPath | None) -> None:
        rib, groups = self._tables.ribs[what.family], self._tables.groups
        former = self.paths.pop(what, None)
        if former is not None:
            rib.remove(what.key, former)
            del groups[former.group.identity]
        if path is not None:
            rib.add(what.key, path)
            groups[path.group.identity] = path.group
            self.paths[what] = path

    # -- rules change --

    def planned(self, change: RulesChange) -> dict[Announced, TakenPath | None]:
        """Those of these routes that a change of the rules makes others, and what they become."""
        trusted = _trusted(change.rules)
        if not self._trusted and not trusted:
            return {}
        vrfs = Vrfs(self._tables, change.rules)
        vpns = self._vpns(change)
        found: dict[Announced, TakenPath | None] = {}
        for what in sorted(self._announced_by(self._trusted | trusted)):
            if vpns is not None and vpns.isdisjoint(self._vpns_of(what, change.rules)):
                continue
            had = self.paths.get(what)
            has = self._wanted(what, vrfs) if what.pe in trusted else None
            if had is None and has is None:
                continue
            if had is None or has is None or not had.is_like(has):
                found[what] = has
        return found

    def _vpns(self, change: RulesChange) -> frozenset[str] | None:
        """The VPNs in which a change may treat flows or unicast routes otherwise; None for all."""
        before, after = self._tables.rules.ruleset, change.rules.ruleset
        if before.network is not after.network:
            return None
        changed = [
            vpns[name] for vpns in (before.vpns, after.vpns) for name in change.vpns if name in vpns
        ]
        return frozenset(change.vpns).union(*(vpn.extranets for vpn in changed))

    def _vpns_of(self, what: Announced, rules: Rules) -> set[str]:
        """The VPNs for which a flow route speaks now, and under other rules."""
        heard = self._heard(what)
        if heard is None:
            return set()
        return {vpn_of(one, heard, what.key) for one in (self._tables.rules, rules)}

    def moves(self, planned: Mapping[Announced, TakenPath | None]) -> tuple[Move, ...]:
        """What peers are to be told of that."""
        found = []
        for what, path in planned.items():
            former = self.paths.get(what)
            before = {} if former is None else former.group.verdict.sent
            after = {} if path is None else path.group.verdict.sent
            for peer in before.keys() | after.keys():
                old = None if former is None or peer not in before else (former, before[peer])
                new = None if path is None or peer not in after else (path, after[peer])
                if old and new and old[1] == new[1] and old[0].attributes == new[0].attributes:
                    continue
                found.append(Move(peer, what.family, old, new, (what.key,)))
        return tuple(sorted(found, key=_as_told))

    def apply(self, rules: Rules, planned: Mapping[Announced, TakenPath | None]) -> None:
        """Take the rules that `planned` was asked about, which are in the tables now."""
        self._trusted = _trusted(rules)
        self._announced = set(self._announced_by(self._trusted))
        self._near.clear()
        self._vrfs = Vrfs(self._tables, rules)
        for what, path in planned.items():
            self._replace(what, path)

    def _announced_by(self, pes: frozenset[str]) -> Iterator[Announced]:
        if not pes:
            return
        for family in _FAMILIES:
            for key, entry in self._tables.ribs[family].entries.items():
                for path in candidates(entry):
                    if path.peer in pes:
                        yield Announced(path.peer, family, key)


class _Near:
    """Flow routes by their destinations."""

    def __init__(self, flows: Iterable[Announced]) -> None:
        self._exact: dict[tuple[int, int], set[Announced]] = {}
        self._above: dict[tuple[int, int], set[Announced]] = {}
        for what in flows:
            destination = destination_of(parts(what.family, what.key)[1])
            if destination is None:
                continue
            bits, value = destination.bits, destination.value
            self._exact.setdefault((bits, value), set()).add(what)
            for length in range(bits + 1):
                self._above.setdefault((length, value >> (bits - length)), set()).add(what)
        self._lengths = sorted({bits for bits, _ in self._exact})

    def to(self, bits: int, value: int) -> Iterator[Announced]:
        """Those whose destination a prefix covers, or is a part of."""
        yield from self._above.get((bits, value), ())
        for length in self._lengths:
            if length >= bits:
                return
            yield from self._exact.get((length, value >> (bits - length)), ())


def _trusted(rules: Rules) -> frozenset[str]:
    return frozenset(name for name, pe in rules.ruleset.network.pes.items() if pe.flow_routes)


def _as_told(move: Move) -> tuple[str, Family, bool, tuple[bytes, ...], bool, tuple[bytes, ...]]:
    targets = () if move.new is None else move.new[1]
    return move.peer, move.family, move.new is None, targets, move.old is not None, move.keys
