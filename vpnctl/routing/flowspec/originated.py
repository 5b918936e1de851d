"""Flow routes of our own in the engine's tables.

They stand there as if PEs without a session had announced them, one for each receiving PE, with
the verdict that this PE alone may hear them.  So everything that the engine does for other routes
it does for them: full tables, refreshes, slow readers, previews.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vpnctl.flowspec.actions import action_texts
from vpnctl.model import Controller, Family
from vpnctl.model.family import FLOW_FAMILIES
from vpnctl.routing.as_path import four_octet_path
from vpnctl.routing.attributes import (
    AS_PATH,
    OPTIONAL_TRANSITIVE,
    ORIGIN,
    WELL_KNOWN,
    Attributes,
    Origin,
    attribute,
)
from vpnctl.routing.changes import Move
from vpnctl.routing.flowspec.routes import FlowRoute
from vpnctl.routing.guard import Account
from vpnctl.routing.rewrite import Rules, RulesChange, Verdict
from vpnctl.routing.table import LocRib, Path, Tables, TargetGroup

_ORIGIN_IGP = attribute(WELL_KNOWN, ORIGIN, b"\x00")
_NO_PATH = attribute(WELL_KNOWN, AS_PATH, b"")


class FlowPath(Path):
    """One flow route of our own; ``route`` says where it comes from."""

    __slots__ = ("route",)

    def __init__(self, route: FlowRoute, rib: LocRib, controller: Controller) -> None:
        group = FlowGroup(route)
        # The next hop of a flow route is empty (RFC 8955 section 4).
        super().__init__(
            group, rib, b"", b"", b"", _attributes(route, controller), Account(route.family)
        )
        self.route = route
        self.nlris = {route.key: route.nlri}
        group.paths.add(self)

    @property
    def source(self) -> str:
        return str(self.route.rule.place)


def path_actions(path: Path) -> tuple[str, ...]:
    """What the flow routes of a path do to a packet, in words; nothing for other families."""
    if path.family.name not in FLOW_FAMILIES:
        return ()
    return tuple(action_texts(path.attributes.communities)) or ("accept",)


class FlowGroup(TargetGroup):
    """The group of one flow route of our own."""

    __slots__ = ()
    constrained = False

    def __init__(self, route: FlowRoute) -> None:
        # No PE has a name with parentheses.
        peer = f"({route.vpn} at {route.pe})"
        verdict = Verdict({route.pe: route.targets}, frozenset())
        super().__init__(peer, route.family, frozenset(route.targets), verdict)
        self.identity = peer, f"{route.family} {route.key.hex()}", self.targets


def _attributes(route: FlowRoute, controller: Controller) -> Attributes:
    """As of a route from outside our AS: it is not reflected, but originated here."""
    router_id = controller.router_id.packed
    return Attributes(
        origin=Origin(
            external=True,
            asn4=True,
            local_asn=controller.asn,
            router_id=router_id,
            peer_router_id=router_id,
        ),
        kept=(_ORIGIN_IGP, _NO_PATH),
        path=four_octet_path(b""),
        targets=frozenset(route.targets),
        communities=route.communities,
        communities_flags=OPTIONAL_TRANSITIVE,
        loop="",
        discarded=(),
    )


class Originated:
    """Our own flow routes in the tables."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._paths: dict[tuple[str, Family, bytes], FlowPath] = {}
        self.install(
            FlowPath(route, tables.ribs[route.family], tables.rules.ruleset.network.controller)
            for routes in tables.rules.flows.values()
            for route in routes
        )

    def moves(self, change: RulesChange) -> tuple[Move, ...]:
        """What a change of the rules moves, without changing anything."""
        old = _by_identity(self._tables.rules, change)
        new = _by_identity(change.rules, change)
        controller = change.rules.ruleset.network.controller
        anew = controller.asn != self._tables.rules.ruleset.network.controller.asn
        found = []
        for identity in old.keys() | new.keys():
            before, after = old.get(identity), new.get(identity)
            if before is not None and after is not None and not anew and before.looks_like(after):
                continue
            pe, family, key = identity
            had = None if before is None else (self._paths[identity], before.targets)
            has = None
            if after is not None:
                has = FlowPath(after, self._tables.ribs[family], controller), after.targets
            found.append(Move(pe, family, had, has, (key,)))
        # Those who are told alike, side by side; withdrawals last, so that no packet finds the
        # old rule gone and the new one not there yet.
        return tuple(sorted(found, key=_as_told))

    def apply(self, change: RulesChange, moves: Iterable[Move]) -> None:
        """Bring the tables in line with rules, given what `moves` said of them."""
        come = []
        for move in moves:
            if move.old is not None:
                self._take_out(move.old[0], move.keys[0])
            if move.new is not None:
                come.append(move.new[0])
        self.install(path for path in come if isinstance(path, FlowPath))
        for identity, route in _by_identity(change.rules, change).items():
            # Its line may be another one.
            self._paths[identity].route = route

    def path(self, route: FlowRoute) -> FlowPath:
        """The path of a flow route of the rules in force."""
        return self._paths[route.identity]

    def install(self, paths: Iterable[FlowPath]) -> None:
        """Enter paths that are not there yet."""
        for path in paths:
            key = path.route.key
            self._tables.groups[path.group.identity] = path.group
            path.rib.add(key, path)
            self._paths[path.route.identity] = path

    def _take_out(self, path: Path, key: bytes) -> None:
        assert isinstance(path, FlowPath)
        path.rib.remove(key, path)
        del self._tables.groups[path.group.identity]
        del self._paths[path.route.identity]


def _by_identity(
    rules: Rules, change: RulesChange
) -> Mapping[tuple[str, Family, bytes], FlowRoute]:
    """The flow routes of the VPNs of which a change may change some."""
    return {route.identity: route for name in change.flows for route in rules.flows.get(name, ())}


def _as_told(
    move: Move,
) -> tuple[str, Family, bool, tuple[bytes, ...], bool, int, tuple[bytes, ...]]:
    path = (move.new or move.old or (None, ()))[0]
    assert isinstance(path, FlowPath)
    targets = () if move.new is None else move.new[1]
    return (
        move.peer,
        move.family,
        move.new is None,
        targets,
        move.old is not None,
        path.route.number,
        move.keys,
    )
