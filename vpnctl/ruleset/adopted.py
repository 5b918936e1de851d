"""Numbers that a router used before it was adopted: taken, so that nobody is given them.

What a policy gives explicitly is not affected: a VPN that was configured long ago is described
with the numbers it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vpnctl.model import Allocation, InUse, Pe, RouteDistinguisher, RouteTarget, Ruleset
from vpnctl.model.allocation import ADOPTED
from vpnctl.model.tags import two_tags
from vpnctl.ruleset.allocation import Register
from vpnctl.ruleset.claims import RD, ROUTE_TARGET, VNI
from vpnctl.ruleset.loading import Compiled
from vpnctl.ruleset.network import NetworkView
from vpnctl.ruleset.numbers import vlan_space


@dataclass(frozen=True, slots=True)
class Adopted:
    """What adopting a router comes to.

    ``allocations``: the whole set to keep from now on.  ``reserved``: what is taken now.
    ``conflicts``: what a VPN was given before anybody knew, each with who has it.
    """

    allocations: frozenset[Allocation]
    reserved: tuple[InUse, ...]
    conflicts: tuple[tuple[InUse, str], ...]


def adopt(compiled: Compiled, pe: str, uses: Iterable[InUse]) -> Adopted:
    """Reserve what the PE uses; what it used when it was adopted before and does not is free.

    Numbers that could not have been allocated anyway are left alone: VLANs of other ports,
    targets and distinguishers of other administrators.
    """
    view, ruleset = compiled.view, compiled.ruleset
    mine = f"{ADOPTED}{pe}/"
    register = Register(one for one in compiled.allocations if not one.owner.startswith(mine))
    reserved, conflicts = [], []
    for use in sorted(set(uses)):
        for pool, number in _pools(use, view.network.pes[pe], view, ruleset):
            holder = register.holder(pool, number)
            if holder is None or register.released(pool, holder):
                register.set(pool, f"{mine}{number}", number)
                reserved.append(use)
            elif holder.startswith(ADOPTED):
                reserved.append(use)
            else:
                conflicts.append((use, holder))
    return Adopted(
        register.allocations(), tuple(dict.fromkeys(reserved)), tuple(dict.fromkeys(conflicts))
    )


def _pools(use: InUse, pe: Pe, view: NetworkView, ruleset: Ruleset) -> Iterator[tuple[str, int]]:
    """The pools, each with the number, from which somebody could be given what is in use."""
    if use.kind == "vlan":
        if pe.port in ("", use.port):
            outer, slash, inner = use.value.partition("/")
            yield vlan_space(pe), two_tags(int(outer), int(inner)) if slash else int(outer)
    elif use.kind == "vni":
        yield VNI, int(use.value)
    elif use.kind == "ve-id":
        targets = {RouteTarget.parse(target) for target in use.targets}
        for vpn in ruleset.vpns.values():
            if any(
                not targets.isdisjoint((*one.export_targets, *one.import_targets))
                for one in vpn.endpoints
            ):
                yield f"ve-id/{vpn.name}", int(use.value)
    else:
        space, octets = (
            (RD, RouteDistinguisher.parse(use.value).octets)
            if use.kind == "rd"
            else (ROUTE_TARGET, RouteTarget.parse(use.value).octets)
        )
        found = view.pool_of(space, octets)
        if found is not None:
            yield found
