"""What applying a policy would change: files, numbers, sessions, and every route at every peer.

Pure: the controller gathers the two policies and the engine's moves, `plan` puts them into words.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpnctl.model import Allocation, Network, Pe, RouteTarget
from vpnctl.routing.changes import Move
from vpnctl.routing.flowspec.originated import path_actions
from vpnctl.routing.nlri import to_text


@dataclass(frozen=True, slots=True)
class RouteChange:
    """One route that a plan changes at one peer.

    ``action``: ``+`` the peer gets a route it did not have, ``~`` it gets other targets or
    another path, ``-`` it loses the route.  ``source``: the PE that announced it or, of a flow
    route, the place of its access rule; ``old_actions`` and ``new_actions``: what a flow route
    does to a packet, in words.
    """

    peer: str
    family: str
    action: str
    nlri: str
    source: str
    old_targets: tuple[str, ...]
    new_targets: tuple[str, ...]
    old_actions: tuple[str, ...] = ()
    new_actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerChange:
    """How many routes a plan changes at one peer."""

    peer: str
    added: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True)
class FileChange:
    """A policy file that a plan creates, changes or deletes; ``diff`` is a unified diff."""

    file: str
    diff: str


@dataclass(frozen=True, slots=True)
class AllocationChange:
    """A number that a plan takes from a pool, gives back, or takes up again."""

    pool: str
    owner: str
    number: int
    action: str


@dataclass(frozen=True, slots=True)
class SessionChange:
    """A BGP session that a plan creates (``+``), re-establishes (``~``) or closes (``-``)."""

    peer: str
    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class RouterPlan:
    """What would be configured at a router: ``diff`` in its own syntax, empty for nothing.

    ``trouble``: why it could not be asked; the change itself would fail for that.
    """

    router: str
    platform: str
    diff: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that applying a policy would change; ``base`` is the revision it starts from.

    ``id`` is derived from the base and the policy's contents.  ``routes`` holds at most as many
    entries as were asked for; ``peers`` counts all of them.
    """

    id: str
    base: int | None
    summary: str
    empty: bool
    files: tuple[FileChange, ...]
    allocations: tuple[AllocationChange, ...]
    sessions: tuple[SessionChange, ...]
    vpns: tuple[str, ...]
    peers: tuple[PeerChange, ...]
    routes: tuple[RouteChange, ...]
    routers: tuple[RouterPlan, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it is applied, or about to be: ``files`` is keyed by the path to show."""

    files: Mapping[str, bytes]
    allocations: frozenset[Allocation]
    network: Network | None


def changed_files(
    old: Mapping[str, bytes], new: Mapping[str, bytes], among: Iterable[str] | None = None
) -> dict[str, tuple[bytes | None, bytes | None]]:
    """Path -> contents before and after, None where there is no such file, by path.

    ``among``: the only paths that may differ, where the caller knows them.
    """
    found = {}
    for path in {*old, *new} if among is None else among:
        before, after = old.get(path), new.get(path)
        if before is not after and before != after:
            found[path] = before, after
    return dict(sorted(found.items()))


def plan_id(base: int | None, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> str:
    """A short name for "these changes on that revision"; the same for the same contents."""
    digest = hashlib.sha256(repr(base).encode())
    for path, (_, after) in changed_files(old, new).items():
        digest.update(b"\0" + path.encode() + b"\0")
        digest.update(b"gone" if after is None else hashlib.sha256(after).digest())
    return digest.hexdigest()[:12]


def _lines(content: bytes | None) -> list[str]:
    return [] if content is None else content.decode("utf-8", "replace").splitlines()


def file_changes(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> tuple[FileChange, ...]:
    """A unified diff per file that differs, by path."""
    found = []
    for path, (before, after) in changed_files(old, new).items():
        lines = difflib.unified_diff(
            _lines(before),
            _lines(after),
            "/dev/null" if before is None else path,
            "/dev/null" if after is None else path,
            lineterm="",
        )
        found.append(FileChange(path, "\n".join(lines)))
    return tuple(found)


def _allocation_changes(
    old: frozenset[Allocation], new: frozenset[Allocation]
) -> tuple[AllocationChange, ...]:
    if old is new:
        return ()
    had = {(entry.pool, entry.owner, entry.number) for entry in old - new}
    found = []
    for entry in sorted(new - old):
        known = (entry.pool, entry.owner, entry.number) in had
        if entry.released and not known:
            continue
        action = "release" if entry.released else "take up again" if known else "take"
        found.append(AllocationChange(entry.pool, entry.owner, entry.number, action))
    return tuple(found)


def _session_key(pe: Pe) -> tuple[object, ...]:
    return (
        *(pe.address, pe.asn, pe.families, pe.listen, pe.bgp_port, pe.passive, pe.hold_time),
        *(pe.add_path, pe.rt_constraint, pe.graceful_restart, pe.guard.hops),
        pe.long_lived_graceful_restart,
    )


def _session_changes(old: Network | None, new: Network | None) -> tuple[SessionChange, ...]:
    before = old.pes if old else {}
    after = new.pes if new else {}
    speaker_differs = bool(
        old
        and new
        and (old.controller.asn, old.controller.router_id)
        != (new.controller.asn, new.controller.router_id)
    )
    found = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            found.append(SessionChange(name, "+", f"{after[name].address} AS {after[name].asn}"))
        elif name not in after:
            found.append(SessionChange(name, "-", f"{before[name].address} AS {before[name].asn}"))
        elif speaker_differs or _session_key(before[name]) != _session_key(after[name]):
            found.append(SessionChange(name, "~", "the session is closed and opened again"))
    return tuple(found)


def _target_texts(octets: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(str(RouteTarget(target)) for target in octets)


def route_changes(moves: Iterable[Move], most: int) -> tuple[RouteChange, ...]:
    """At most ``most`` single route changes of some moves, by peer and family."""
    found: list[RouteChange] = []
    for move in sorted(moves, key=lambda move: (move.peer, move.family, move.keys[0])):
        keys = move.keys[: most - len(found)]
        if not keys:
            break
        action = "+" if move.old is None else "-" if move.new is None else "~"
        either = move.new or move.old
        source = either[0].source if either else ""
        old = _target_texts(move.old[1]) if move.old else ()
        new = _target_texts(move.new[1]) if move.new else ()
        family = move.family
        does = [path_actions(one[0]) if one else () for one in (move.old, move.new)]
        found += [
            RouteChange(
                move.peer, family.name, action, to_text(family, key), source, old, new, *does
            )
            for key in keys
        ]
    return tuple(found)


def peer_changes(moves: Iterable[Move]) -> tuple[PeerChange, ...]:
    """How many routes some moves add, change and remove, per peer."""
    counted: dict[str, list[int]] = {}
    for move in moves:
        counts = counted.setdefault(move.peer, [0, 0, 0])
        counts[0 if move.old is None else 2 if move.new is None else 1] += len(move.keys)
    return tuple(PeerChange(peer, *counted[peer]) for peer in sorted(counted))


def plan(
    *,
    base: int | None,
    summary: str,
    old: Policy,
    new: Policy,
    vpns: Iterable[str],
    moves: Iterable[Move],
    routes: int,
) -> Plan:
    """Put everything that differs between two policies into a `Plan`.

    ``moves`` are those of the peers whose sessions are up; ``routes`` bounds the list of single
    route changes.
    """
    moves = tuple(moves)
    files = file_changes(old.files, new.files)
    sessions = _session_changes(old.network, new.network)
    names = tuple(sorted(vpns))
    return Plan(
        id=plan_id(base, old.files, new.files),
        base=base,
        summary=summary,
        empty=not (files or sessions or names or moves),
        files=files,
        allocations=_allocation_changes(old.allocations, new.allocations),
        sessions=sessions,
        vpns=names,
        peers=peer_changes(moves),
        routes=route_changes(moves, routes),
    )
