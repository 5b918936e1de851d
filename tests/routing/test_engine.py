"""The engine between its PEs, story by story."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from tests.routing import wire
from tests.routing.consistency import check
from tests.support.rulesets import Policy, VpnIntent, build
from vpnctl.model import EVPN, FAMILIES, VPLS, VPNV4, Service, Site
from vpnctl.routing import delivery, session
from vpnctl.routing.engine import Engine
from vpnctl.routing.rewrite import compile_rules
from vpnctl.routing.session import Opened

POLICY = Policy(
    {
        1: VpnIntent(Service.L3VPN, (("pe0",), ("pe1",), ("pe2",))),
        2: VpnIntent(Service.VPLS, (("pe0",), ("pe1",))),
    }
)
#: What pe0, pe1, pe2 export and import in VPN 1.
RT0, RT1, RT2 = "65000:1001", "65000:1011", "65000:1021"
PE0, PE1, PE2 = 1, 2, 3

NLRI = wire.vpnv4(10, b"\x0a\x01\x00")


class House:
    """An engine with pe0, pe1 (internal) and pe2 (external)."""

    def __init__(self, policy: Policy = POLICY, **pe1: object) -> None:
        self.output = wire.Peers()
        self.ruleset = build(policy)
        self.engine = Engine(compile_rules(self.ruleset).rules, self.output)
        self.up(wire.opened(PE0, "pe0"))
        self.up(wire.opened(PE1, "pe1", **pe1))  # type: ignore[arg-type]
        self.up(wire.opened(PE2, "pe2", asn=65002))

    def up(self, opened: Opened) -> list[tuple[int, bytes]]:
        """Bring a session up; what it was sent."""
        self.engine.session_up(opened)
        return self.output.take(opened.number)

    def say(self, number: int, *messages: bytes) -> None:
        self.engine.updates(number, b"".join(messages))

    def hears(self, number: int) -> list[wire.Decoded]:
        """What a peer was sent since the last time; it reads all of it."""
        found = self.output.updates(number)
        self.engine.written(number, self.engine.sessions[number].sent_octets)
        return found

    def apply(self, policy: Policy) -> set[str]:
        self.ruleset = build(policy, self.ruleset)
        moves = self.engine.apply(compile_rules(self.ruleset, self.engine.rules))
        return {move.peer for move in moves}


@pytest.fixture
def house() -> House:
    return House()


def announce(*nlris: bytes, targets: tuple[str, ...] = (RT0,), more: bytes = b"") -> bytes:
    return wire.update(wire.reach(VPNV4, *nlris), wire.BASIC, wire.targets(*targets), more)


def withdraw(*nlris: bytes) -> bytes:
    return wire.update(wire.unreach(VPNV4, *nlris))


def rt(text: str) -> tuple[bytes, ...]:
    return wire.decode(wire.update(wire.targets(text))[19:]).targets


def test_targets_are_rewritten_for_each_peer(house: House) -> None:
    house.say(PE0, announce(NLRI))
    [one], [two] = house.hears(PE1), house.hears(PE2)
    assert (one.announced, one.targets) == ([NLRI], rt(RT1))
    assert (two.announced, two.targets) == ([NLRI], rt(RT2))
    assert one.next_hop == wire.NEXT_HOP[VPNV4]


def test_no_echo_to_the_sender(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.say(PE2, announce(wire.vpnv4(12, b"\x0a"), targets=(RT2,)))
    assert [u.announced for u in house.hears(PE0)] == [[wire.vpnv4(12, b"\x0a")]]
    assert [u.announced for u in house.hears(PE2)] == [[NLRI]]


def test_internal_to_external_and_back(house: House) -> None:
    house.say(PE0, announce(NLRI))
    [out] = house.hears(PE2)
    assert sorted(out.attributes) == [1, 2, 16]
    assert out[2] == wire.as_path(wire.LOCAL_ASN)
    path = wire.attribute(0x40, 2, wire.as_path(65002))
    reach = wire.reach(VPNV4, wire.vpnv4(12, b"\x0a"))
    house.say(PE2, wire.update(reach, wire.ORIGIN, path, wire.targets(RT2)))
    [back] = house.hears(PE0)
    assert sorted(back.attributes) == [1, 2, 5, 16]
    assert back[2] == wire.as_path(65002)


def test_a_foreign_target_is_refused(house: House) -> None:
    house.say(PE0, announce(NLRI, targets=(RT1,)))
    assert house.hears(PE1) == house.hears(PE2) == []
    [group] = house.engine.groups.values()
    assert group.verdict.refused == set(rt(RT1))


def test_loops_are_not_passed_on(house: House) -> None:
    house.say(PE0, announce(NLRI, more=wire.attribute(0x80, 10, wire.ROUTER_ID)))
    assert house.hears(PE1) == []
    assert len(house.engine.ribs[VPNV4].entries) == 1


def test_a_looping_route_replaces_a_good_one(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.say(PE0, announce(NLRI, more=wire.attribute(0x80, 10, wire.ROUTER_ID)))
    assert [u.withdrawn for u in house.hears(PE1)] == [[NLRI]]


def test_routes_alike_go_out_together(house: House) -> None:
    nlris = [wire.vpnv4(10, bytes((10, item))) for item in range(50)]
    house.say(PE0, *(announce(nlri) for nlri in nlris))
    [one] = house.hears(PE1)
    assert one.announced == nlris


def test_an_unchanged_route_is_not_sent_again(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.say(PE0, announce(NLRI))
    assert house.hears(PE1) == []


def test_another_label_is_sent(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    relabelled = wire.vpnv4(10, b"\x0a\x01\x00", label=99)
    house.say(PE0, announce(relabelled))
    assert [u.announced for u in house.hears(PE1)] == [[relabelled]]


def test_another_label_within_one_batch_reaches_peers_of_a_contested_route(house: House) -> None:
    # Both PEs announce it, pe1's is best by its owner; it comes back with another label at once.
    other = wire.vpnv4(10, b"\x0b")
    house.say(PE0, announce(NLRI, other))
    house.say(PE1, announce(NLRI, targets=(RT1,)))
    house.hears(PE2)
    relabelled = wire.vpnv4(10, b"\x0a\x01\x00", label=99)
    house.say(PE0, withdraw(NLRI), announce(relabelled))
    assert [u.announced for u in house.hears(PE2)] == [[relabelled]]


def test_the_owner_of_the_distinguisher_is_not_displaced(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.hears(PE2)
    forged = wire.attribute(0x40, 5, struct.pack("!I", 4000))
    reach = wire.reach(VPNV4, NLRI)
    octets = wire.update(reach, wire.ORIGIN, wire.EMPTY_AS_PATH, forged, wire.targets(RT1))
    house.say(PE1, octets)
    assert house.hears(PE2) == []
    # Nor does its owner lose what the forger sends it.
    assert [u.announced for u in house.hears(PE0)] == [[NLRI]]


def test_the_second_best_takes_over(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.say(PE1, announce(NLRI, targets=(RT1,)))
    house.hears(PE2)
    house.engine.session_down(PE0)
    [update] = house.hears(PE2)
    assert update.announced == [NLRI]
    house.engine.session_down(PE1)
    assert [u.withdrawn for u in house.hears(PE2)] == [[NLRI]]
    check(house.engine)


def test_session_loss_withdraws(house: House) -> None:
    house.say(PE0, announce(NLRI, wire.vpnv4(10, b"\x0b")))
    house.hears(PE1)
    house.engine.session_down(PE0)
    assert [sorted(u.withdrawn) for u in house.hears(PE1)] == [
        sorted([NLRI, wire.vpnv4(10, b"\x0b")])
    ]
    assert not house.engine.groups
    house.engine.session_down(PE0)
    house.say(PE0, announce(NLRI))
    assert house.hears(PE1) == []


def test_a_new_session_of_a_peer_ends_the_old_one(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.up(wire.opened(9, "pe0"))
    assert [u.withdrawn for u in house.hears(PE1)] == [[NLRI]]
    house.say(9, announce(NLRI))
    house.engine.session_down(PE0)
    assert [u.announced for u in house.hears(PE1)] == [[NLRI]]
    house.engine.session_down(9)
    assert [u.withdrawn for u in house.hears(PE1)] == [[NLRI]]
    check(house.engine)


def test_full_table_then_end_of_rib(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.engine.session_down(PE1)
    found = [wire.decode(octets) for _, octets in house.up(wire.opened(9, "pe1"))]
    assert [u.announced for u in found if u.announced] == [[NLRI]]
    ends = [u.withdrawn_family for u in found if u.end_of_rib]
    assert sorted(ends) == sorted(FAMILIES.values())  # type: ignore[type-var]
    of_vpnv4 = [u for u in found if VPNV4 in (u.family, u.withdrawn_family)]
    assert [bool(u.announced) for u in of_vpnv4] == [True, False]


def test_families_that_were_not_negotiated_are_neither_sent_nor_heard() -> None:
    house = House(families=frozenset((VPLS,)))
    house.say(PE0, announce(NLRI))
    assert house.hears(PE1) == []
    house.say(PE1, announce(NLRI, targets=(RT1,)))
    assert "not negotiated" in house.engine.sessions[PE1].last_error
    house.say(PE1, withdraw(NLRI))
    assert house.engine.sessions[PE1].malformed == 2
    assert len(house.hears(PE2)) == 1


def test_end_of_rib_is_honoured(house: House) -> None:
    heard = house.engine.sessions[PE0].end_of_rib
    house.say(PE0, wire.update(wire.unreach(VPNV4)), wire.update(wire.unreach(EVPN)))
    assert heard == {VPNV4, EVPN}
    house.say(PE0, wire.update())
    assert not house.output.resets


@pytest.mark.parametrize("enhanced", [False, True])
def test_refresh(enhanced: bool) -> None:
    house = House(enhanced_refresh=enhanced)
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.engine.refresh(PE1, VPNV4)
    found = house.output.take(PE1)
    assert [kind for kind, _ in found] == ([5, 2, 5] if enhanced else [2])
    if enhanced:
        assert found[0][1] == b"\0\1\1\x80"
        assert found[2][1] == b"\0\1\2\x80"
    house.engine.refresh(PE1, EVPN)
    assert [kind for kind, _ in house.output.take(PE1)] == ([5, 5] if enhanced else [])


def test_malformed_attributes_withdraw_the_routes(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    bad = wire.attribute(0x80, 4, b"\0")
    house.say(PE0, wire.update(wire.reach(VPNV4, NLRI), wire.BASIC, bad, wire.targets(RT0)))
    assert [u.withdrawn for u in house.hears(PE1)] == [[NLRI]]
    assert not house.output.resets
    assert "taken as withdrawn" in house.engine.sessions[PE0].last_error


def test_attribute_errors_without_routes_end_the_session(house: House) -> None:
    bad = wire.attribute(0x80, 4, b"\0")
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.say(PE0, wire.update(wire.unreach(VPNV4, NLRI), bad))
    assert [(s, c, sub) for s, c, sub, _ in house.output.resets] == [(PE0, 3, 1)]
    assert PE0 not in house.engine.sessions
    assert [u.withdrawn for u in house.hears(PE1)] == [[NLRI]]


def test_sound_attributes_beside_a_withdrawal_do_no_harm(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    house.say(PE0, wire.update(wire.unreach(VPNV4, NLRI), wire.BASIC, wire.targets(RT0)))
    assert [u.withdrawn for u in house.hears(PE1)] == [[NLRI]]
    assert not house.output.resets


def test_a_cut_nlri_ends_the_session(house: House) -> None:
    house.say(PE0, announce(NLRI[:-1]))
    assert [(s, c, sub) for s, c, sub, _ in house.output.resets] == [(PE0, 3, 10)]


def test_one_message_of_impossible_size_ends_the_session(house: House) -> None:
    house.say(PE0, b"\xff" * 16 + b"\0\0\2")
    assert [(s, c, sub) for s, c, sub, _ in house.output.resets] == [(PE0, 1, 2)]


def test_a_message_like_the_one_before_with_two_routes(house: House) -> None:
    # As long as the one before, but one NLRI of 14 octets became two of 7... of which none is.
    house.say(PE0, announce(NLRI), announce(bytes((0x68,)) + NLRI[1:]))
    assert [c for _, c, _, _ in house.output.resets] == [3]


def test_short_nlris_in_the_place_of_a_long_one(house: House) -> None:
    long = b"\x63\x16" + bytes(22)
    short = [b"\x63\x0a" + bytes(10), b"\x63\x0a" + bytes(9) + b"\1"]
    targets = wire.targets(RT0)
    house.say(PE0, wire.update(wire.reach(EVPN, long), wire.BASIC, targets))
    house.hears(PE1)
    house.say(PE0, wire.update(wire.reach(EVPN, *short), wire.BASIC, targets))
    assert [u.announced for u in house.hears(PE1)] == [short]


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4096, 65535])
def test_large_tables_are_split_at_the_size_of_the_peer(size: int) -> None:
    house = House(message_size=size)
    nlris = [wire.vpnv4(10, struct.pack("!I", item)) for item in range(3000)]
    house.say(PE0, *(announce(nlri) for nlri in nlris))
    found = house.output.take(PE1)
    assert all(len(octets) + 19 <= size for _, octets in found)
    assert [n for _, octets in found for n in wire.decode(octets).announced] == nlris
    assert len(found) == (12 if size == 4096 else 1)


def test_attributes_too_long_for_a_peer_withhold_the_route_from_it() -> None:
    house = House(message_size=65535)
    house.say(PE0, announce(NLRI))
    house.hears(PE1), house.hears(PE2)
    house.say(PE0, announce(NLRI, more=wire.attribute(0xC0, 99, bytes(4060))))
    assert [u.announced for u in house.hears(PE1)] == [[NLRI]]
    # pe2 takes 4096 octets: it must not keep the route as it was (RFC 8654 section 5).
    assert [(u.announced, u.withdrawn) for u in house.hears(PE2)] == [([], [NLRI])]
    assert house.engine.sessions[PE2].oversized == 1
    assert "too long" in house.engine.sessions[PE2].last_error


def test_a_refresh_does_not_leave_an_oversized_route_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House()
    house.say(PE0, announce(NLRI))
    house.hears(PE1), house.hears(PE2)
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 0)
    house.say(PE0, announce(NLRI, more=wire.attribute(0xC0, 99, bytes(4060))))
    house.engine.refresh(PE2, VPNV4)
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 10**6)
    house.hears(PE2)
    assert [u.withdrawn for u in house.hears(PE2)] in ([[NLRI]], [[NLRI], [NLRI]])


# -- slow readers ----------------------------------------------------------------------------------


def test_back_pressure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 50)
    for number in (PE1, PE2):
        house.hears(number)
    second, third = wire.vpnv4(10, b"\x0b"), wire.vpnv4(10, b"\x0c")
    house.say(PE0, announce(NLRI))
    house.say(PE0, announce(second))
    house.say(PE0, withdraw(NLRI))
    house.say(PE0, announce(third))
    slow = house.engine.sessions[PE1]
    assert [u.announced for u in house.output.updates(PE1)] == [[NLRI]]
    assert slow.waiting == 3
    # The other peer is not held up by it.
    assert [u.announced for u in house.hears(PE2)] == [[NLRI]]
    house.engine.written(PE1, slow.sent_octets)
    [gone, new] = house.output.updates(PE1)
    assert gone.withdrawn == [NLRI]
    assert new.announced == [second, third]
    assert slow.waiting == 0


def test_a_route_that_a_slow_peer_has_changes_and_goes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 0)
    house.say(PE0, announce(wire.vpnv4(10, b"\x0a\x01\x00", label=99)))
    house.say(PE0, withdraw(NLRI))
    assert PE1 not in house.output.sent
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 100)
    house.hears(PE1)
    assert [wire.route_id(VPNV4, nlri) for u in house.hears(PE1) for nlri in u.withdrawn] == [
        wire.route_id(VPNV4, NLRI)
    ]


def test_a_full_table_gives_way_when_its_reader_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 500)
    monkeypatch.setattr(delivery, "_FULL_TABLE_OCTETS", 1)
    house = House()
    medium = [
        announce(
            wire.vpnv4(10, bytes((10, item))), more=wire.attribute(0x80, 4, bytes((0, 0, 0, item)))
        )
        for item in range(20)
    ]
    house.say(PE0, *medium)
    house.engine.session_down(PE1)
    house.up(wire.opened(9, "pe1"))
    new = house.engine.sessions[9]
    assert new.sent_octets < 1000
    assert new.loading
    # What changes in the meantime is told as it is then.
    house.say(PE0, withdraw(wire.vpnv4(10, b"\x0a\x13")))
    announced = set()
    for _ in range(100):
        house.engine.written(9, new.sent_octets)
        for update in house.output.updates(9):
            announced |= set(update.announced)
            announced -= set(update.withdrawn)
        if not new.waiting:
            break
    assert not new.loading
    assert wire.vpnv4(10, b"\x0a\x13") not in announced
    assert announced <= {wire.vpnv4(10, bytes((10, item))) for item in range(19)}


def test_an_output_may_report_octets_as_written_at_once() -> None:
    class Immediate(wire.Peers):
        def send(self, session: int, octets: bytes) -> None:
            super().send(session, octets)
            house.engine.written(session, house.engine.sessions[session].sent_octets)

    house = House()
    house.output = Immediate()
    house.engine = Engine(compile_rules(house.ruleset).rules, house.output)
    house.up(wire.opened(PE0, "pe0"))
    nlris = [wire.vpnv4(10, struct.pack("!I", item)) for item in range(100_000, 160_000)]
    house.say(PE0, *(announce(nlri) for nlri in nlris))
    house.up(wire.opened(PE1, "pe1"))
    house.engine.refresh(PE1, VPNV4)
    [*found] = house.output.updates(PE1)
    assert sum(len(update.announced) for update in found) == len(nlris)
    assert not house.engine.sessions[PE1].waiting


def test_refreshes_do_not_pile_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 0)
    for _ in range(100):
        house.engine.refresh(PE1, VPNV4)
    assert house.engine.sessions[PE1].waiting == 1


# -- rules -----------------------------------------------------------------------------------------


def test_a_change_of_rules_moves_its_routes_only(house: House) -> None:
    house.say(PE0, announce(NLRI))
    vpls = wire.vpls(20, 1)
    house.say(PE0, wire.update(wire.reach(VPLS, vpls), wire.BASIC, wire.targets("65000:2001")))
    house.hears(PE1), house.hears(PE2)
    smaller = Policy({**POLICY.vpns, 1: VpnIntent(Service.L3VPN, (("pe0",), ("pe1",)))})
    assert house.apply(smaller) == {"pe2"}
    assert house.hears(PE1) == []
    assert [u.withdrawn for u in house.hears(PE2)] == [[NLRI]]
    assert house.apply(POLICY) == {"pe2"}
    assert [u.announced for u in house.hears(PE2)] == [[NLRI]]


def test_preview_changes_nothing(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    change = compile_rules(build(Policy({}), house.ruleset), house.engine.rules)
    found = house.engine.preview(change)
    assert {(move.peer, move.new) for move in found} == {("pe1", None), ("pe2", None)}
    assert house.engine.preview(change) == found
    assert house.hears(PE1) == []


def test_a_preview_speaks_of_peers_whose_session_is_down(house: House) -> None:
    house.say(PE0, announce(NLRI))
    house.engine.session_down(PE2)
    change = compile_rules(build(Policy({}), house.ruleset), house.engine.rules)
    assert {move.peer for move in house.engine.preview(change)} == {"pe1", "pe2"}
    assert {move.peer for move in house.engine.apply(change)} == {"pe1"}


def test_a_distinguisher_that_changes_hands(house: House) -> None:
    # RD 65000:10 is that of the first endpoint, at pe0; afterwards pe1's is the first.
    house.say(PE0, announce(NLRI))
    house.say(PE1, announce(NLRI, targets=(RT1,)))
    house.hears(PE2)
    shared = VpnIntent(Service.L3VPN, (("pe1",), ("pe0",), ("pe2",)))
    house.apply(Policy({1: shared}))
    check(house.engine)
    # Targets changed hands with it, so neither PE may speak any more.
    assert [u.withdrawn for u in house.hears(PE2)] == [[NLRI]]


SEGMENT = wire.evpn_segment(7, bytes(range(10)), b"\x0a\x00\x00\x07")
ES_IMPORT = b"\x06\x02\x01\x02\x03\x04\x05\x06"


def with_sites(house: House, **sites: tuple[str, ...]) -> None:
    """Let the PEs stand at these sites."""
    found = {name: Site(name, "cloud", pes) for name, pes in sites.items()}
    house.ruleset = replace(house.ruleset, network=replace(house.ruleset.network, sites=found))
    house.engine.apply(compile_rules(house.ruleset, house.engine.rules))


def segment_update(*nlris: bytes) -> bytes:
    """With an ES-Import target and, as a hostile PE would, with VPN 1's at pe1."""
    communities = wire.targets(RT1, others=ES_IMPORT)
    return wire.update(wire.reach(EVPN, *nlris), wire.BASIC, communities)


def test_an_ethernet_segment_route_goes_to_the_pes_of_the_same_site_only() -> None:
    """It belongs to no VPN; the target of one beside it opens no door."""
    house = House(Policy({1: VpnIntent(Service.EVPN, (("pe0",), ("pe1",), ("pe2",)))}))
    with_sites(house, here=("pe0", "pe1"), there=("pe2",))
    house.say(PE0, segment_update(SEGMENT, wire.evpn_multicast(8, b"\x0a\x00\x00\x08")))
    [heard] = house.hears(PE1)
    assert heard.announced == [SEGMENT]
    assert heard[16] == ES_IMPORT
    assert house.hears(PE2) == []
    house.engine.session_down(PE0)
    [heard] = house.hears(PE1)
    assert heard.withdrawn == [SEGMENT]
    assert house.hears(PE2) == []


def test_an_ethernet_segment_route_follows_the_sites() -> None:
    house = House(Policy({1: VpnIntent(Service.EVPN, (("pe0",), ("pe1",), ("pe2",)))}))
    with_sites(house, here=("pe0", "pe1"))
    house.say(PE0, segment_update(SEGMENT))
    assert [update.announced for update in house.hears(PE1)] == [[SEGMENT]]
    with_sites(house, here=("pe0", "pe2"))
    assert [update.withdrawn for update in house.hears(PE1)] == [[SEGMENT]]
    assert [update.announced for update in house.hears(PE2)] == [[SEGMENT]]
    check(house.engine)


def test_what_another_customer_does_to_the_same_nlri_is_not_told() -> None:
    """pe2 announces pe0's route as its own VPN's, again and again: pe1 hears nothing of it."""
    house = House(
        Policy(
            {
                1: VpnIntent(Service.L3VPN, (("pe0",), ("pe1",))),
                2: VpnIntent(Service.L3VPN, (("pe2",),)),
            }
        )
    )
    house.say(PE0, announce(NLRI))
    assert [update.announced for update in house.hears(PE1)] == [[NLRI]]
    other = wire.vpnv4(10, b"\x0a\x01\x00", label=77)
    own = ("65000:2001",)
    house.say(PE2, announce(NLRI, targets=own), withdraw(NLRI))
    house.say(PE2, announce(NLRI, targets=own))
    house.say(PE2, announce(other, targets=own))
    house.say(PE2, withdraw(NLRI))
    assert house.hears(PE1) == []
    check(house.engine)
