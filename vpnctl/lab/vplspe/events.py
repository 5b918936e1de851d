"""What ExaBGP's API says, line by line, as events (its JSON encoder, version 5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vpnctl.lab.vplspe.flow_events import FlowKey, FlowRoute, flow_routes
from vpnctl.lab.vplspe.labels import LabelBlock
from vpnctl.lab.vplspe.values import Layer2Info, NlriKey, VeRoute
from vpnctl.model import RouteTarget

_FAMILY = "l2vpn vpls"
#: First two octets: route targets (RFC 4360, RFC 5668) and layer 2 info (RFC 4761).
_ROUTE_TARGETS = (0x0002, 0x0102, 0x0202)
_LAYER2_INFO = 0x800A
#: Of a route without the attribute (RFC 4271 section 5.1.5 leaves it to policy).
_DEFAULT_LOCAL_PREFERENCE = 100
#: LLGR_STALE (RFC 9494 section 3.3).
_LLGR_STALE = [0xFFFF, 6]
#: Of a session that has ended by a Hard Reset (RFC 8538 section 3), as ExaBGP says it.
_HARD_RESET = "notification received (6,9)"


@dataclass(frozen=True, slots=True)
class SessionUp:
    """A session with a neighbor is established."""

    neighbor: str


@dataclass(frozen=True, slots=True)
class SessionDown:
    """It is not, or not any more.

    ``for_good``: the neighbor has said that its routes are not to stay.
    """

    neighbor: str
    reason: str
    for_good: bool = False


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """The neighbor has said all that it has of a family (RFC 4724), in ExaBGP's words."""

    neighbor: str
    family: str


@dataclass(frozen=True, slots=True)
class Announced:
    """A route is there, or there is another one in its place."""

    neighbor: str
    route: VeRoute


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A route is gone."""

    neighbor: str
    key: NlriKey


@dataclass(frozen=True, slots=True)
class FlowAnnounced:
    """A flow route is there, or there is another one in its place."""

    neighbor: str
    route: FlowRoute


@dataclass(frozen=True, slots=True)
class FlowWithdrawn:
    """A flow route is gone."""

    neighbor: str
    key: FlowKey


Event = SessionUp | SessionDown | EndOfRib | Announced | Withdrawn | FlowAnnounced | FlowWithdrawn


def read_event(line: str) -> list[Event]:
    """The events of one line, none for what does not matter here.

    Raises `ValueError` when the line is not what ExaBGP writes.
    """
    try:
        said = json.loads(line)
        neighbor = said.get("neighbor")
        if neighbor is None:
            return []
        name = str(neighbor["address"]["peer"])
        if said["type"] == "state":
            return list(_state(name, neighbor))
        if said["type"] == "update" and "eor" in neighbor["message"]:
            end = neighbor["message"]["eor"]
            return [EndOfRib(name, f"{end['afi']} {end['safi']}")]
        if said["type"] == "update":
            found = list(_update(name, neighbor["message"].get("update", {})))
            octets = said.get("body", "").removeprefix("0x")
            return found + list(_flows(name, bytes.fromhex(octets)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no event of ExaBGP: {line[:200]}") from error
    return []


def _state(name: str, neighbor: Mapping[str, Any]) -> Iterator[Event]:
    if neighbor["state"] == "up":
        yield SessionUp(name)
    elif neighbor["state"] == "down":
        reason = str(neighbor.get("reason", ""))
        yield SessionDown(name, reason, _HARD_RESET in reason)


def _update(name: str, update: Mapping[str, Any]) -> Iterator[Event]:
    for nlri in update.get("withdraw", {}).get(_FAMILY, ()):
        yield Withdrawn(name, _key(nlri))
    attributes = update.get("attribute", {})
    targets, layer2 = _communities(attributes.get("extended-community", ()))
    stale = _LLGR_STALE in attributes.get("community", ())
    preference = int(attributes.get("local-preference", _DEFAULT_LOCAL_PREFERENCE))
    for next_hop, nlris in update.get("announce", {}).get(_FAMILY, {}).items():
        for nlri in nlris:
            block = LabelBlock(int(nlri["base"]), int(nlri["offset"]), int(nlri["size"]))
            route = VeRoute(_key(nlri), block, str(next_hop), targets, preference, layer2, stale)
            yield Announced(name, route)


def _flows(name: str, body: bytes) -> Iterator[Event]:
    if not body:
        return
    announced, withdrawn = flow_routes(body)
    yield from (FlowWithdrawn(name, key) for key in withdrawn)
    yield from (FlowAnnounced(name, route) for route in announced)


def _key(nlri: Mapping[str, Any]) -> NlriKey:
    return NlriKey(str(nlri["rd"]), int(nlri["endpoint"]), int(nlri["offset"]))


def _communities(
    communities: Iterable[Mapping[str, Any]],
) -> tuple[frozenset[RouteTarget], Layer2Info | None]:
    targets, layer2 = set(), None
    for community in communities:
        octets = int(community["value"]).to_bytes(8, "big")
        kind = int.from_bytes(octets[:2], "big")
        if kind in _ROUTE_TARGETS:
            targets.add(RouteTarget(octets))
        elif kind == _LAYER2_INFO:
            layer2 = Layer2Info(octets[2], int.from_bytes(octets[4:6], "big"))
    return frozenset(targets), layer2
