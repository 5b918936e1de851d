"""A VPN as it shall be, out of its file, those of its partners, and the numbers allocated."""

from __future__ import annotations

from vpnctl.model import Endpoint, RouteDistinguisher, RouteTarget, Vpn
from vpnctl.model.tags import tags
from vpnctl.ruleset import connectivity
from vpnctl.ruleset.claims import ROUTE_TARGET, VNI
from vpnctl.ruleset.draft import Draft, Member
from vpnctl.ruleset.numbers import vlan_space
from vpnctl.ruleset.state import State


def resolve(one: Draft, state: State, before: Vpn | None, *, same_endpoints: bool) -> Vpn:
    """The VPN of a draft.

    ``before``: the VPN of that name so far; ``same_endpoints``: neither its draft nor any number
    has changed since.
    """
    added: set[connectivity.Link] = set()
    others = set()
    for extranet in one.extranets:
        other = state.draft(extranet.to)
        assert other is not None
        others.add(other.name)
        if extranet.sends:
            added |= connectivity.crossing(one.nodes(extranet.sites), other.nodes())
    for other in state.declared_with(one.name):
        others.add(other.name)
        for extranet in other.extranets:
            if extranet.to == one.name and extranet.hears:
                added |= connectivity.crossing(one.nodes(), other.nodes(extranet.sites))
    endpoints = () if before is None else before.endpoints
    if before is None or not same_endpoints:
        found = _endpoints(one, state)
        # What did not change stays the same object: whoever comes after need not look into it.
        endpoints = endpoints if endpoints == found else found
    return Vpn(
        name=one.name,
        service=one.service,
        topology=one.topology,
        endpoints=endpoints,
        links=one.links | added if added else one.links,
        place=one.place,
        extranets=frozenset(others),
        access=one.access.rules,
    )


def _endpoints(one: Draft, state: State) -> tuple[Endpoint, ...]:
    vni = _number(state, VNI, one.name) if one.vni is None else one.vni
    return tuple(
        _endpoint(one, member, pe, vni, state) for member in one.members for pe in member.pes
    )


def _endpoint(one: Draft, member: Member, pe_name: str, vni: int | None, state: State) -> Endpoint:
    view = state.view
    of_site = f"{one.name}/{member.site}"
    of_endpoint = f"{of_site}/{pe_name}"
    pe = view.network.pes[pe_name]
    export, import_ = member.export_targets, member.import_targets
    if not export:
        number = _number(state, ROUTE_TARGET, of_site)
        assert number is not None
        export = import_ = (RouteTarget(view.route_targets.octets(number)),)
    rd = member.rds.get(pe_name)
    if rd is None:
        number = _number(state, view.rds[pe_name].name, of_endpoint)
        assert number is not None
        rd = RouteDistinguisher(view.rds[pe_name].octets(number))
    ve_id, vlan = member.ve_ids.get(pe_name), member.vlan
    if ve_id is None:
        ve_id = _number(state, f"ve-id/{one.name}", of_endpoint)
    if vlan is None:
        vlan = _number(state, vlan_space(pe), of_site)
    outer, inner = (None, None) if vlan is None else tags(vlan)
    return Endpoint(
        vpn=one.name,
        site=member.site,
        pe=pe_name,
        service=one.service,
        rd=rd,
        export_targets=export,
        import_targets=import_,
        ve_id=ve_id,
        vlan=outer,
        vni=vni,
        place=member.place,
        inner_vlan=inner,
    )


def _number(state: State, pool: str, owner: str) -> int | None:
    """The number that is allocated to the owner; a released one is not."""
    register = state.register
    return None if register.released(pool, owner) else register.number(pool, owner)
