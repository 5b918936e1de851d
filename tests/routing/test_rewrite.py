"""The rule of rewriting, by its promises."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rulesets import (
    PES,
    Policy,
    VpnIntent,
    build,
    edited,
    policies,
)
from vpnctl.model import EVPN, FAMILIES, VPLS, VPNV4, Endpoint, Family, Ruleset, Service
from vpnctl.routing.rewrite import Rules, compile_rules, rewrite

FAMILY_LIST = tuple(FAMILIES.values())


def _all_targets(ruleset: Ruleset) -> list[bytes]:
    return sorted(
        {
            target.octets
            for endpoint in ruleset.endpoints()
            for target in (*endpoint.export_targets, *endpoint.import_targets)
        }
    )


def _may_hear(ruleset: Ruleset, source: Endpoint, hearer: Endpoint, family: Family) -> bool:
    """Straight from the words: same site, or a link from one site to the other."""
    return (
        family in source.service.families
        and family in hearer.service.families
        and source.pe != hearer.pe
        and (
            source.member == hearer.member
            or (source.member, hearer.member) in ruleset.vpns[source.vpn].links
        )
    )


def _expected(ruleset: Ruleset, pe: str, family: Family, targets: list[bytes]) -> object:
    """The rule of rewriting as three nested questions."""
    endpoints = list(ruleset.endpoints())
    speaking = [
        endpoint
        for endpoint in endpoints
        if endpoint.pe == pe
        and family in endpoint.service.families
        and any(target.octets in targets for target in endpoint.export_targets)
    ]
    owned = {target.octets for endpoint in speaking for target in endpoint.export_targets}
    sent = {}
    for peer in PES:
        heard = {
            target.octets
            for hearer in endpoints
            if hearer.pe == peer
            and any(_may_hear(ruleset, source, hearer, family) for source in speaking)
            for target in hearer.import_targets
        }
        if heard:
            sent[peer] = tuple(sorted(heard))
    return sent, frozenset(targets) - owned


@given(policies(), st.data())
def test_rewrites_as_the_words_say(policy: Policy, data: st.DataObject) -> None:
    ruleset = build(policy)
    rules = compile_rules(ruleset).rules
    pe, family = data.draw(st.sampled_from(PES)), data.draw(st.sampled_from(FAMILY_LIST))
    targets = data.draw(st.lists(st.sampled_from(_all_targets(ruleset)), max_size=4, unique=True))
    verdict = rewrite(rules, pe, family, targets)
    assert (dict(verdict.sent), verdict.refused) == _expected(ruleset, pe, family, targets)


@given(policies())
def test_isolation(policy: Policy) -> None:
    """No route carries a target that is imported by nobody there who may hear its source.

    Two VRFs of one PE that import the same target are one to whoever sends it, so the promise
    is to each endpoint that has its import targets for itself.
    """
    ruleset = build(policy)
    rules = compile_rules(ruleset).rules
    endpoints = list(ruleset.endpoints())
    for source, family in product(endpoints, FAMILY_LIST):
        targets = [target.octets for target in source.export_targets]
        # With shared targets a route may speak for more than one endpoint of the PE.
        speaking = [
            other
            for other in endpoints
            if other.pe == source.pe and set(other.export_targets) & set(source.export_targets)
        ]
        for peer, sent in rewrite(rules, source.pe, family, targets).sent.items():
            for target in sent:
                importers = [
                    hearer
                    for hearer in endpoints
                    if hearer.pe == peer and target in {t.octets for t in hearer.import_targets}
                ]
                assert len({hearer.vpn for hearer in importers}) == 1
                assert any(
                    _may_hear(ruleset, s, hearer, family) for s in speaking for hearer in importers
                )


@given(policies())
def test_a_pe_speaks_for_its_own_endpoints_alone(policy: Policy) -> None:
    ruleset = build(policy)
    rules = compile_rules(ruleset).rules
    for target, pe, family in product(_all_targets(ruleset), PES, FAMILY_LIST):
        owned = any(
            endpoint.pe == pe
            and family in endpoint.service.families
            and target in {export.octets for export in endpoint.export_targets}
            for endpoint in ruleset.endpoints()
        )
        verdict = rewrite(rules, pe, family, [target])
        assert (target in verdict.refused) is not owned
        assert owned or not verdict.sent
        assert pe not in verdict.sent


def _reaches(rules: Rules, source: Endpoint, hearer: Endpoint, family: Family) -> bool:
    sent = rewrite(rules, source.pe, family, [t.octets for t in source.export_targets]).sent
    return set(sent.get(hearer.pe, ())) >= {t.octets for t in hearer.import_targets}


@given(policies())
def test_a_full_mesh_is_symmetric_and_complete(policy: Policy) -> None:
    ruleset = build(policy)
    rules = compile_rules(ruleset).rules
    for vpn in ruleset.vpns.values():
        if vpn.topology != "full-mesh":
            continue
        for a, b in product(vpn.endpoints, repeat=2):
            if a.pe != b.pe:
                for family in vpn.service.families:
                    assert _reaches(rules, a, b, family)


@pytest.mark.parametrize("targets", ["own", "split"])
def test_spokes_hear_the_hub_and_not_each_other(targets: str) -> None:
    sites = (("pe0",), ("pe1",), ("pe2", "pe3"))
    intent = VpnIntent(Service.VPLS, sites, "hub-and-spoke", targets)
    ruleset = build(Policy({1: intent}))
    rules = compile_rules(ruleset).rules
    hub, spoke, near, far = ruleset.vpns["V1"].endpoints
    reach = {
        (a.pe, b.pe)
        for a, b in product((hub, spoke, near, far), repeat=2)
        if a is not b and _reaches(rules, a, b, VPLS)
    }
    to_and_from_hub = {pair for pe in ("pe1", "pe2", "pe3") for pair in (("pe0", pe), (pe, "pe0"))}
    assert reach == to_and_from_hub | {("pe2", "pe3"), ("pe3", "pe2")}


def test_an_extranet_goes_the_way_it_was_said() -> None:
    policy = Policy(
        {
            1: VpnIntent(Service.L3VPN, (("pe0",), ("pe1",))),
            2: VpnIntent(Service.L3VPN, (("pe2",), ("pe3",))),
        },
        frozenset({(1, 0, 2, 1)}),
    )
    ruleset = build(policy)
    rules = compile_rules(ruleset).rules
    customer, shared = ruleset.vpns["V1"].endpoints, ruleset.vpns["V2"].endpoints
    assert _reaches(rules, customer[0], shared[1], VPNV4)
    assert not _reaches(rules, shared[1], customer[0], VPNV4)
    assert not _reaches(rules, customer[1], shared[1], VPNV4)
    assert not _reaches(rules, customer[0], shared[0], VPNV4)


def test_a_family_stays_within_the_services_that_have_it() -> None:
    policy = Policy(
        {
            1: VpnIntent(Service.EVPN, (("pe0",), ("pe1",))),
            2: VpnIntent(Service.L3VPN, (("pe1",),)),
        },
        frozenset({(1, 0, 2, 0)}),
    )
    ruleset = build(policy)
    rules = compile_rules(ruleset).rules
    source, hearer = ruleset.vpns["V1"].endpoints[0], ruleset.vpns["V2"].endpoints[0]
    assert _reaches(rules, source, hearer, EVPN)
    targets = [target.octets for target in source.export_targets]
    assert rewrite(rules, "pe0", VPNV4, targets).refused == frozenset(targets)


@given(policies(), st.data())
def test_incremental_rules_equal_rules_from_scratch(policy: Policy, data: st.DataObject) -> None:
    ruleset = build(policy)
    change = compile_rules(ruleset)
    for _ in range(3):
        before, policy = change.rules, data.draw(edited(policy))
        ruleset = build(policy, ruleset)
        change = compile_rules(ruleset, before)
        scratch = compile_rules(ruleset).rules
        assert change.rules.owners == scratch.owners
        targets = {*_all_targets(before.ruleset), *_all_targets(ruleset)}
        for target, pe, family in product(sorted(targets), PES, FAMILY_LIST):
            verdict = rewrite(change.rules, pe, family, [target])
            assert verdict == rewrite(scratch, pe, family, [target])
            # What is not named as touched is not touched.
            if target not in change.targets:
                assert verdict == rewrite(before, pe, family, [target])
        rds = {*before.owners, *change.rules.owners}
        changed = {rd for rd in rds if before.owners.get(rd) != change.rules.owners.get(rd)}
        assert change.distinguishers == changed
