"""Access rules through the engine: who is told which flow routes, and that nobody else is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing import wire
from tests.routing.flowspec.policy import RULES_OF_E1, files
from vpnctl.flowspec.nlri import frame
from vpnctl.model import Family
from vpnctl.model.family import (
    FAMILIES,
    FLOW4,
    FLOW_FAMILIES,
    FLOW_VPN4,
    FLOW_VPN6,
    SESSION_FAMILIES,
)
from vpnctl.routing import inspect, session
from vpnctl.routing.changes import Move
from vpnctl.routing.engine import Engine
from vpnctl.routing.flowspec.judging import REFUSED_FLOW
from vpnctl.routing.nlri import from_text, to_text
from vpnctl.routing.rewrite import compile_rules
from vpnctl.ruleset import Compiled, load

ALL = frozenset(SESSION_FAMILIES.values())
SSH = "deny: {to: hq, protocol: tcp, to_port: 22, at: hq, family: ipv4}"
SSH_FLOW = "flow4/10.0.0.1:1/destination=10.1.0.0/16,protocol=6,destination-port=22"
TARGET_OF_HQ = "65000:100"


class House:
    """An engine with the sessions of pe0 to pe3, all families negotiated."""

    def __init__(self, *e1: str, families: frozenset[Family] = ALL) -> None:
        self.output = wire.Peers()
        self.compiled: Compiled = load(files(e1))
        self.engine = Engine(compile_rules(self.compiled.ruleset).rules, self.output)
        self.greetings = {
            number: self.up(number, f"pe{number}", families=families) for number in range(4)
        }

    def up(
        self, number: int, pe: str, families: frozenset[Family] = ALL, enhanced: bool = False
    ) -> list[wire.Decoded]:
        """Bring a session up; the UPDATEs with which it begins."""
        asn = 65002 if pe == "pe2" else wire.LOCAL_ASN
        opened = wire.opened(number, pe, asn=asn, families=families, enhanced_refresh=enhanced)
        self.engine.session_up(opened)
        return self.hears(number)

    def hears(self, number: int) -> list[wire.Decoded]:
        """The UPDATEs that a peer was sent since the last time; it reads all of them."""
        found = self.output.updates(number)
        self.engine.written(number, self.engine.sessions[number].sent_octets)
        return found

    def apply(
        self, e1: Sequence[str], e2: Sequence[str] | None = (), **how: bool | str
    ) -> set[str]:
        """Change the rules; who is told."""
        given = files(e1, e2, **how)  # type: ignore[arg-type]  # keywords of `files`
        self.compiled = load(given, previous=self.compiled)
        change = compile_rules(self.compiled.ruleset, self.engine.rules)
        previewed = self.engine.audible(self.engine.preview(change))
        told = self.engine.apply(change)
        assert as_words(previewed) == as_words(told)
        return {move.peer for move in told}


def as_words(moves: Iterable[Move]) -> list[tuple[str, str, bool, bool]]:
    return [
        (move.peer, to_text(move.family, key), move.old is None, move.new is None)
        for move in moves
        for key in move.keys
    ]


def announced(updates: Iterable[wire.Decoded]) -> dict[str, wire.Decoded]:
    return {
        to_text(one.family, one_key(nlri)): one
        for one in updates
        for nlri in one.announced
        if one.family is not None
    }


def one_key(nlri: bytes) -> bytes:
    return nlri[1:] if nlri[0] < 0xF0 else nlri[2:]


def test_a_flow_route_as_a_pe_inside_gets_it() -> None:
    house = House(SSH)
    found = announced(house.greetings[0])
    assert list(found) == [SSH_FLOW]
    update = found[SSH_FLOW]
    assert update.next_hop == b""
    # Originated, not reflected; the target of the endpoint, and a rate of nothing.
    assert update.attributes.keys() == {1, 2, 5, 16}
    assert update[2] == b""
    drop = bytes.fromhex("8006fde800000000")
    assert update[16] == wire.RouteTarget.parse(TARGET_OF_HQ).octets + drop
    for others in (1, 2, 3):
        assert not announced(house.greetings[others])


def test_a_pe_outside_gets_our_as_and_no_local_preference() -> None:
    house = House("deny: {to: lone, family: ipv4}")
    (update,) = announced(house.greetings[2]).values()
    assert update.family == FLOW4
    assert update.attributes.keys() == {1, 2, 16}
    assert update[2] == wire.as_path(wire.LOCAL_ASN)


def test_what_only_accepts_has_an_attribute_all_the_same() -> None:
    """An empty extended communities attribute would be malformed (RFC 7606 section 7.14)."""
    house = House("accept: {to: lone, family: ipv4}")
    (update,) = announced(house.greetings[2]).values()
    assert update[16] == bytes.fromhex("8007000000000000")


def test_a_rule_comes_changes_and_goes() -> None:
    house = House()
    assert house.apply([SSH]) == {"pe0"}
    assert list(announced(house.hears(0))) == [SSH_FLOW]
    assert house.apply([SSH.replace("deny", "accept") + "\nrate: 1 Mb/s"]) == {"pe0"}
    (changed,) = house.hears(0)
    assert changed[16].endswith(bytes.fromhex("8006fde847f42400"))
    assert house.apply([]) == {"pe0"}
    (gone,) = house.hears(0)
    assert (gone.withdrawn_family, len(gone.withdrawn)) == (FLOW_VPN4, 1)
    assert not house.engine.ribs[FLOW_VPN4].entries
    assert not house.engine.groups


def test_the_new_rule_is_there_before_the_old_one_goes() -> None:
    house = House(SSH)
    house.apply([SSH.replace("22", "23")])
    first, second = house.hears(0)
    assert first.announced
    assert second.withdrawn


def test_another_line_is_no_other_rule() -> None:
    house = House(SSH)
    assert house.apply([SSH], comment="why") == set()
    ((path, status),) = inspect.access(house.engine)
    assert (path.source, status) == ("e1.yaml:10", "sent")


def test_the_rules_go_with_their_vpn() -> None:
    house = House()
    house.apply([], ["deny: {to: branch}"])
    assert len(announced(house.hears(1))) == 1
    assert house.apply([], None) == {"pe1"}
    (gone,) = house.hears(1)
    assert len(gone.withdrawn) == 1


def test_a_redirect_follows_the_vpn_that_it_leads_to() -> None:
    """E2's target at pe0 changes: the rule of E1 that forwards in E2 must say so, too."""
    redirect = "accept: {to: hq, protocol: udp, family: ipv4}\nredirect: E2"
    house = House()
    house.apply([redirect])
    house.hears(0)
    given = files([redirect])
    plain = b"{site: hq, prefixes: 10.1.0.0/16}"
    assert plain in given["e2.yaml"]
    other = b"{site: hq, prefixes: 10.1.0.0/16, targets: 65000:777}"
    given["e2.yaml"] = given["e2.yaml"].replace(plain, other)
    house.compiled = load(given, previous=house.compiled)
    change = compile_rules(house.compiled.ruleset, house.engine.rules, house.compiled.differing)
    assert {move.peer for move in house.engine.apply(change)} == {"pe0"}
    (update,) = house.hears(0)
    assert update[16].endswith(bytes.fromhex("8008fde800000309"))


def test_a_pe_learns_another_family() -> None:
    house = House()
    house.apply(["deny: {to: [10.9.0.0/16, 2001:db8:9::/48], at: hq}"])
    told = announced(house.hears(0))
    assert {flow[:5] for flow in told} == {"flow4", "flow6"}
    rule = "deny: {to: 2001:db8:9::/48, at: branch}"
    assert house.apply([rule], branch_speaks_ipv6=True) == {"pe0", "pe1"}
    assert [one.family for one in house.hears(1)] == [FLOW_VPN6]


def test_a_session_without_the_family_is_told_nothing_and_that_is_shown() -> None:
    house = House(SSH, families=frozenset(FAMILIES.values()))
    assert not announced(house.greetings[0])
    ((_, status),) = inspect.access(house.engine)
    assert status == "not sent: the session did not negotiate ipv4 flow-vpn"
    house.engine.session_down(0)
    ((_, status),) = inspect.access(house.engine)
    assert status == "not sent: the session is down"
    assert house.apply([]) == set()


def test_a_pe_that_comes_back_or_asks_again_gets_all() -> None:
    house = House(SSH)
    assert list(announced(house.up(10, "pe0", enhanced=True))) == [SSH_FLOW]
    house.engine.refresh(10, FLOW_VPN4)
    kinds = [kind for kind, _ in house.output.take(10)]
    assert kinds == [5, 2, 5]


def test_a_slow_pe_gets_the_last_state_only(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 0)
    house.apply([SSH])
    house.apply([SSH, "deny: {to: hq, at: hq, family: ipv4}"])
    house.apply(["deny: {to: hq, at: hq, family: ipv4}"])
    assert house.engine.by_peer["pe0"].waiting == 1
    assert not house.output.updates(0)
    monkeypatch.undo()
    house.engine.written(0, house.engine.sessions[0].sent_octets)
    (update,) = house.hears(0)
    assert list(announced([update])) == ["flow4/10.0.0.1:1/destination=10.1.0.0/16"]


def test_flow_routes_of_pes_are_refused_counted_and_shown() -> None:
    house = House(SSH)
    family, key = from_text(SSH_FLOW)
    mine = frame(key)
    other = frame(from_text("flow4/10.0.0.1:1/destination=10.1.5.0/24")[1])
    communities = wire.targets(TARGET_OF_HQ, others=bytes.fromhex("8006000000000000"))
    for number in (0, 1):
        for nlri in (mine, other):
            house.engine.updates(
                number,
                wire.update(wire.reach(family, nlri, next_hop=b""), wire.BASIC, communities),
            )
    for number in range(4):
        assert not house.hears(number)
    counts = inspect.counts(house.engine)
    assert counts.refused_flows == {"pe0": 2, "pe1": 2}
    assert not counts.refused
    statuses = {row.status for row in inspect.rib_in(house.engine, "pe1")}
    assert statuses == {REFUSED_FLOW}
    # Ours is there beside theirs, and goes when its rule does; theirs go with their sessions.
    assert [row.status for row in inspect.rib_out(house.engine, "pe0")] == ["sent"]
    assert house.apply([]) == {"pe0"}
    house.hears(0)
    for number in (0, 1):
        house.engine.session_down(number)
    assert not house.engine.ribs[family].entries
    for number in (2, 3):
        assert not house.hears(number)


def test_a_malformed_flow_is_skipped_and_costs_no_session() -> None:
    house = House()
    octets = wire.update(
        wire.reach(FLOW_VPN4, bytes((3, 1, 2, 3)), next_hop=b""), wire.BASIC, wire.targets("1:1")
    )
    house.engine.updates(0, octets)
    assert not house.output.resets
    assert "without a route distinguisher" in house.engine.sessions[0].last_error


def test_why_a_pe_has_a_flow_route() -> None:
    house = House(SSH)
    family, key = from_text(SSH_FLOW)
    assert inspect.explain(house.engine, family, key, "pe0") == (
        True,
        (
            "access rule 1 of E1 (e1.yaml:9): drop",
            "it is enforced at hq",
            "pe0 hosts E1 at hq, which imports 65000:100 (e1.yaml:4)",
            "sent to pe0 with target 65000:100",
        ),
    )
    sent, lines = inspect.explain(house.engine, family, key, "pe1")
    assert not sent
    assert lines[-2:] == ("this flow route is for pe0 alone", "not sent to pe1")
    house.apply([])
    sent, lines = inspect.explain(house.engine, family, key, "pe0")
    assert not sent
    assert lines[0] == f"no PE announces {SSH_FLOW}"


def test_all_kinds_of_rules_reach_the_pes_that_enforce_them() -> None:
    house = House(*RULES_OF_E1)
    families = {
        number: {update.family for update in announced(house.greetings[number]).values()}
        for number in range(4)
    }
    assert families[0] == families[3] == {FLOW_VPN4, FLOW_VPN6}
    assert families[1] == {FLOW_VPN4}
    assert {family.safi for family in families[2] if family} == {133}


@given(
    st.sampled_from(list(FLOW_FAMILIES.values())), st.binary(max_size=40), st.binary(max_size=24)
)
def test_whatever_a_pe_sends_in_these_families_costs_nobody_else_anything(
    family: Family, field: bytes, communities: bytes
) -> None:
    house = _CROWDED
    number = next(_NUMBERS)
    house.up(number, "pe1")
    octets = wire.update(
        wire.reach(family, field, next_hop=b""), wire.BASIC, wire.attribute(0xC0, 16, communities)
    )
    house.engine.updates(number, octets + wire.update(wire.unreach(family, field)))
    assert not any("defect" in reason for *_, reason in house.output.resets)
    for reset in house.output.resets:
        # Only where one NLRI cannot be told from the next (RFC 7606 section 5.3).
        assert reset[:3] in ((number, 3, 10), (number, 3, 9))
    house.output.resets.clear()
    for other in (0, 2, 3):
        assert not house.hears(other)


_CROWDED = House(*RULES_OF_E1)
_NUMBERS = count(100)


def test_many_flow_routes_alike_are_all_taken_in() -> None:
    """UPDATEs that differ in their one NLRI alone are not taken apart; nothing is missed."""
    house = House()
    keys = [
        from_text(f"flow4/10.0.0.1:1/destination=10.1.{number}.0/24,protocol={number}")[1]
        for number in range(6)
    ]
    # The length of the prefix says more than there is: no flow, between two that are.
    broken = keys[3].replace(bytes((1, 24, 10, 1, 3)), bytes((1, 40, 10, 1, 3)))
    for key in (*keys[:3], broken, *keys[3:]):
        house.engine.updates(
            0,
            wire.update(
                wire.reach(FLOW_VPN4, frame(key), next_hop=b""), wire.BASIC, wire.targets("1:1")
            ),
        )
    assert sorted(row.key for row in inspect.rib_in(house.engine, "pe0")) == keys
    assert house.engine.sessions[0].malformed == 1
