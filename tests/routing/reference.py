"""What every peer must hold, computed from scratch: slow, and as plain as the rule itself."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.routing import wire
from vpnctl.model import Family, Ruleset
from vpnctl.routing.session import Opened

RouteId = tuple[object, ...]

_STALE, _NO_LLGR = bytes.fromhex("ffff0006"), bytes.fromhex("ffff0007")


@dataclass(frozen=True)
class Announcement:
    """Attributes as a PE sets them; ``path`` holds AS numbers below 65536.

    ``others``: extended communities that are no route targets.  ``spoiled`` names a defect:
    ``withdraw`` kinds make the routes count as withdrawn, ``loop`` kinds make them unusable,
    ``discard`` kinds cost an attribute only.
    """

    targets: tuple[bytes, ...]
    origin: int = 0
    path: tuple[int, ...] = ()
    med: int | None = None
    local_pref: int | None = 100
    communities: bytes = b""
    others: bytes = b""
    originator: bytes | None = None
    clusters: tuple[bytes, ...] = ()
    unknown: bytes | None = None
    private: bytes | None = None
    spoiled: str = ""

    def octets(self, opened: Opened) -> bytes:
        """The attributes on the wire, without MP_REACH_NLRI."""
        width = 4 if opened.asn4 else 2
        path = self.path
        if self.spoiled == "loop-as":
            path = (*path, wire.LOCAL_ASN)
        clusters = self.clusters
        if self.spoiled == "loop-cluster":
            clusters = (*clusters, wire.ROUTER_ID)
        origin = 9 if self.spoiled == "withdraw-origin" else self.origin
        found = wire.attribute(0x40, 1, bytes((origin,)))
        found += wire.attribute(0x40, 2, wire.as_path(*path, width=width))
        if self.med is not None:
            found += wire.attribute(0x80, 4, struct.pack("!I", self.med))
        if self.local_pref is not None:
            found += wire.attribute(0x40, 5, struct.pack("!I", self.local_pref))
        if self.spoiled == "discard-aggregate":
            found += wire.attribute(0x40, 6, b"\x01")
        if self.communities:
            found += wire.attribute(0xC0, 8, self.communities)
        if self.originator is not None:
            found += wire.attribute(0x80, 9, self.originator)
        if clusters:
            found += wire.attribute(0x80, 10, b"".join(clusters))
        value = b"".join(self.targets) + self.others
        if self.spoiled == "withdraw-communities":
            value += b"\0"
        if value:
            found += wire.attribute(0xC0, 16, value)
        if self.unknown is not None:
            found += wire.attribute(0xC0, 200, self.unknown)
        if self.private is not None:
            found += wire.attribute(0x80, 201, self.private)
        return found


@dataclass(frozen=True)
class Heard:
    """A route in an Adj-RIB-In; ``slot``: which of the PE's paths to it.

    ``outlived``: its PE has been away for too long (RFC 9494).
    """

    opened: Opened
    family: Family
    nlri: bytes
    next_hop: bytes
    announcement: Announcement
    slot: int = 0
    outlived: bool = False

    @property
    def communities(self) -> bytes:
        found = self.announcement.communities
        return found + _STALE if self.outlived and _STALE not in found else found

    @property
    def stale(self) -> bool:
        return self.opened.long_lived.offered and _STALE in self.communities

    @property
    def external(self) -> bool:
        return self.opened.peer_asn != self.opened.local_asn

    @property
    def usable(self) -> bool:
        spoiled = self.announcement.spoiled
        return not (spoiled == "loop-as" or (spoiled == "loop-cluster" and not self.external))


def targets_for(
    ruleset: Ruleset, heard: Heard, peer: str, to: Opened | None = None
) -> frozenset[bytes]:
    """The rule of rewriting, for one route and one peer, and what its session ``to`` takes."""
    found: set[bytes] = set()
    if not heard.usable or peer == heard.opened.peer:
        return frozenset()
    assert not to or to.peer == peer
    if heard.stale and to and not to.long_lived.understood and not to.long_lived.despite:
        return frozenset()
    for source in ruleset.endpoints():
        if source.pe != heard.opened.peer or heard.family not in source.service.families:
            continue
        if not {t.octets for t in source.export_targets} & set(heard.announcement.targets):
            continue
        links = ruleset.vpns[source.vpn].links
        for hearer in ruleset.endpoints():
            if (
                hearer.pe == peer
                and heard.family in hearer.service.families
                and (hearer.member == source.member or (source.member, hearer.member) in links)
            ):
                found |= {target.octets for target in hearer.import_targets}
    return frozenset(found)


def preferred(routes: list[Heard], owner: str | None) -> Heard:
    """RFC 4271 section 9.1.2.2 and RFC 4456 section 9, after the owner of the distinguisher."""
    routes = [r for r in routes if r.opened.peer == owner] or routes

    def first_steps(route: Heard) -> tuple[bool, int, int, int]:
        a = route.announcement
        local_pref = 100 if a.local_pref is None or route.external else a.local_pref
        return route.stale, -local_pref, len(a.path), a.origin

    top = min(map(first_steps, routes))
    routes = [route for route in routes if first_steps(route) == top]

    def beaten_by_med(route: Heard) -> bool:
        neighbor = route.announcement.path[:1]
        med = route.announcement.med or 0
        return any(
            (other.announcement.med or 0) < med
            for other in routes
            if other.announcement.path[:1] == neighbor
        )

    routes = [route for route in routes if not beaten_by_med(route)]
    return min(
        routes,
        key=lambda r: (
            not r.external,
            (None if r.external else r.announcement.originator) or r.opened.peer_router_id,
            0 if r.external else len(r.announcement.clusters),
            r.opened.peer_address,
            r.slot,
        ),
    )


def leading(routes: list[Heard], most: int, owner: str | None) -> list[Heard]:
    """The best ones, each the best of those that are left."""
    left, found = list(routes), []
    while left and len(found) < most:
        found.append(preferred(left, owner))
        left.remove(found[-1])
    return found


def rendered(route: Heard, targets: frozenset[bytes], to: Opened) -> dict[int, tuple[int, bytes]]:
    """The attributes that a peer must see; extended communities sorted."""
    a = route.announcement
    width = 4 if to.asn4 else 2
    external = to.peer_asn != to.local_asn
    path, others = a.path, a.others
    found = {1: (0x40, bytes((a.origin,)))}
    if external:
        path = (wire.LOCAL_ASN, *path)
        parts = [others[at : at + 8] for at in range(0, len(others), 8)]
        others = b"".join(part for part in parts if not part[0] & 0x40)
        if a.med is not None and not route.external and not a.path:
            found[4] = 0x80, struct.pack("!I", a.med)
    else:
        local_pref = 100 if a.local_pref is None or route.external else a.local_pref
        found[5] = 0x40, struct.pack("!I", local_pref)
        if a.med is not None:
            found[4] = 0x80, struct.pack("!I", a.med)
        if not route.external:
            found[9] = 0x80, a.originator or route.opened.peer_router_id
            found[10] = 0x80, wire.ROUTER_ID + b"".join(a.clusters)
    found[2] = 0x40, wire.as_path(*path, width=width)
    communities = route.communities
    if route.stale and to.long_lived.despite and not to.long_lived.understood and not external:
        communities += bytes.fromhex("ffffff01")
        found[5] = 0x40, bytes(4)
    if communities:
        found[8] = 0xC0, communities
    parts = sorted([*targets, *(others[at : at + 8] for at in range(0, len(others), 8))])
    found[16] = 0xC0, b"".join(parts)
    if a.unknown is not None:
        found[200] = 0xE0, a.unknown
    return found


@dataclass
class Reference:
    """All Adj-RIB-Ins and the rules; everything else is computed when asked for."""

    ruleset: Ruleset
    heard: dict[str, dict[RouteId, Heard]] = field(default_factory=dict)
    #: PE -> route -> path identifier of each slot that is taken (RFC 7911).
    slots: dict[str, dict[RouteId, dict[int, bytes]]] = field(default_factory=dict)
    #: What PEs that were lost have left, until they announce it anew.
    left: dict[str, dict[RouteId, Heard]] = field(default_factory=dict)

    def session_up(self, opened: Opened) -> None:
        self.heard[opened.peer], self.slots[opened.peer] = {}, {}
        for route, heard in list(self.left.get(opened.peer, {}).items()):
            good = opened.long_lived.preserved if heard.outlived else opened.preserved
            if heard.family not in good & opened.families:
                del self.left[opened.peer][route]

    def session_down(self, opened: Opened) -> None:
        del self.heard[opened.peer], self.slots[opened.peer]
        self.left.pop(opened.peer, None)

    def session_lost(self, opened: Opened) -> None:
        """The PE may come back: some of its routes stay (RFC 4724, RFC 9494)."""
        heard, lasting = self.heard.pop(opened.peer), opened.long_lived.times
        del self.slots[opened.peer]
        before = self.left.pop(opened.peer, {})
        left = {r: h for r, h in before.items() if h.outlived and h.family in lasting}
        left |= {r: h for r, h in heard.items() if h.family in opened.restartable}
        at_once = [r for r, h in heard.items() if h.family in lasting and r not in left]
        left |= {r: heard[r] for r in at_once}
        self.left[opened.peer] = left
        self._outlive(opened.peer, at_once)

    def restart_takes_too_long(self, opened: Opened, *, back: bool) -> None:
        left = self.left.get(opened.peer, {})
        waiting = [route for route, heard in left.items() if not heard.outlived]
        lasting = () if back else opened.long_lived.times
        for route in waiting:
            if left[route].family not in lasting:
                del left[route]
        self._outlive(opened.peer, [route for route in waiting if route in left])

    def _outlive(self, peer: str, routes: list[RouteId]) -> None:
        left = self.left.get(peer, {})
        for route in routes:
            if _NO_LLGR in left[route].announcement.communities:
                del left[route]
            else:
                left[route] = replace(left[route], outlived=True)

    def outlived_expired(self, peer: str, family: Family) -> None:
        left = self.left.get(peer, {})
        for route in [r for r, h in left.items() if h.outlived and h.family == family]:
            del left[route]

    def end_of_rib(self, peer: str, family: Family) -> None:
        left = self.left.get(peer, {})
        for route in [route for route, heard in left.items() if heard.family == family]:
            del left[route]

    def all_of(self, peer: str) -> list[Heard]:
        """Every route of a PE, stale ones too."""
        tables = self.heard.get(peer, {}), self.left.get(peer, {})
        return [heard for table in tables for heard in table.values()]

    def announce_paths(
        self,
        opened: Opened,
        family: Family,
        paths: list[tuple[bytes, bytes]],
        next_hop: bytes,
        announcement: Announcement,
    ) -> None:
        """The same as `announce`, of pairs of path identifier and NLRI."""
        for path_id, nlri in paths:
            route = wire.route_id(family, nlri)
            slots = self.slots[opened.peer].setdefault(route, {})
            slot = next((slot for slot, known in slots.items() if known == path_id), None)
            if slot is None:
                free = [n for n in range(opened.paths_taken[family]) if n not in slots]
                if not free:
                    continue
                slot = free[0]
            self.left.get(opened.peer, {}).pop((*route, slot), None)
            if announcement.spoiled.startswith("withdraw"):
                slots.pop(slot, None)
                self.heard[opened.peer].pop((*route, slot), None)
            else:
                slots[slot] = path_id
                heard = Heard(opened, family, nlri, next_hop, announcement, slot)
                self.heard[opened.peer][*route, slot] = heard

    def withdraw_paths(
        self, opened: Opened, family: Family, paths: list[tuple[bytes, bytes]]
    ) -> None:
        for path_id, nlri in paths:
            route = wire.route_id(family, nlri)
            slots = self.slots[opened.peer].get(route, {})
            for slot in [slot for slot, known in slots.items() if known == path_id]:
                del slots[slot]
                del self.heard[opened.peer][*route, slot]

    def announce(
        self,
        opened: Opened,
        family: Family,
        nlris: list[bytes],
        next_hop: bytes,
        announcement: Announcement,
    ) -> None:
        table = self.heard[opened.peer]
        for nlri in nlris:
            route = wire.route_id(family, nlri)
            self.left.get(opened.peer, {}).pop(route, None)
            if announcement.spoiled.startswith("withdraw"):
                table.pop(route, None)
            else:
                table[route] = Heard(opened, family, nlri, next_hop, announcement)

    def withdraw(self, opened: Opened, family: Family, nlris: list[bytes]) -> None:
        for nlri in nlris:
            self.heard[opened.peer].pop(wire.route_id(family, nlri), None)
            self.left.get(opened.peer, {}).pop(wire.route_id(family, nlri), None)

    def owner(self, rd: bytes) -> str | None:
        owners = {e.rd.octets: e.pe for e in self.ruleset.endpoints()}
        return owners.get(rd)

    def expected(
        self, to: Opened, path_id: Callable[[str, int], bytes] | None = None
    ) -> dict[RouteId, tuple[bytes, bytes, dict[int, object]]]:
        """Route -> (NLRI, next hop, attributes) that a peer must hold.

        Where it is told path identifiers they are part of the route; ``path_id``: from PE and
        slot to the identifier.
        """
        offers: dict[RouteId, list[Heard]] = {}
        for peer in self.heard.keys() | self.left.keys():
            for heard in self.all_of(peer):
                if heard.family in to.families and targets_for(self.ruleset, heard, to.peer, to):
                    route = wire.route_id(heard.family, heard.nlri)
                    offers.setdefault(route, []).append(heard)
        found = {}
        for route, routes in offers.items():
            rd = route[2] if isinstance(route[1], int) else route[1]
            family = routes[0].family
            for one in leading(routes, to.paths_sent.get(family, 1), self.owner(rd)):  # type: ignore[arg-type]
                called: RouteId = ()
                if family in to.paths_sent:
                    assert path_id is not None
                    called = (path_id(one.opened.peer, one.slot),)
                targets = targets_for(self.ruleset, one, to.peer, to)
                found[*route, *called] = one.nlri, one.next_hop, rendered(one, targets, to)
        return found
