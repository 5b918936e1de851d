"""What is to be said of a flow route that a PE announced, for an operator who asks."""

from __future__ import annotations

from collections.abc import Iterator

from vpnctl.flowspec.nlri import has_rd, parts, version_of
from vpnctl.model import VPNV4, VPNV6, Endpoint, RouteTarget
from vpnctl.routing.engine import Engine
from vpnctl.routing.flowspec.validation import Unicast, infeasible
from vpnctl.routing.table import Path, TargetGroup

_UNICAST = {4: VPNV4, 6: VPNV6}


def judged(engine: Engine, path: Path, key: bytes) -> Iterator[str]:
    """Whether its PE owns what it speaks for, and whether it would be feasible (RFC 9117)."""
    rd, flow = parts(path.family, key)
    at_pe = [one for one in engine.rules.ruleset.endpoints() if one.pe == path.peer]
    targets = path.attributes.targets
    for target in sorted(targets):
        if not any(target in _octets(one) for one in at_pe):
            yield f"{RouteTarget(target)} is no target of an endpoint at {path.peer}"
    if rd is not None:
        owner = engine.rules.owners.get(rd.octets)
        if owner is not None and owner != path.peer:
            yield f"{rd} is the route distinguisher of another PE, {owner}"
    if not has_rd(path.family):
        yield "it would concern every VPN at the PEs that hear it"
        return
    here = [one for one in at_pe if targets & _octets(one)]
    why = infeasible(flow, path.attributes, _unicast(engine, path, here))
    yield (
        f"it would not be feasible (RFC 9117): {why}" if why else "it would be feasible (RFC 9117)"
    )


def _octets(endpoint: Endpoint) -> frozenset[bytes]:
    return frozenset(target.octets for target in endpoint.export_targets)


def _unicast(engine: Engine, path: Path, endpoints: list[Endpoint]) -> Iterator[Unicast]:
    """The unicast routes of the VRFs of some endpoints: their own, and those that they hear."""
    family = _UNICAST[version_of(path.family)]
    exported = frozenset(target.octets for one in endpoints for target in one.export_targets)
    imported = {target.octets for one in endpoints for target in one.import_targets}

    def concerns(group: TargetGroup) -> bool:
        if group.peer == path.peer:
            return bool(group.targets & exported)
        return not imported.isdisjoint(group.verdict.sent.get(path.peer, ()))

    for group in engine.groups.values():
        if group.family != family or not concerns(group):
            continue
        for one in group.paths:
            attributes = one.attributes
            for key in one.nlris:
                # Prefix length, route distinguisher, prefix.
                bits, octets = key[0], key[9:]
                value = int.from_bytes(octets, "big") >> (8 * len(octets) - bits)
                yield Unicast(bits, value, attributes.originator_id, attributes.neighbor_as)
