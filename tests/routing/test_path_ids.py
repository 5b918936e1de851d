"""Several paths to one destination (RFC 7911), story by story."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.routing import wire
from tests.routing.consistency import check
from tests.support.rulesets import Policy, VpnIntent, build
from vpnctl.model import VPLS, VPNV4, Guard, Service
from vpnctl.model.guard import Beyond
from vpnctl.routing import session
from vpnctl.routing.engine import Engine
from vpnctl.routing.inspect import explain, rib_in, rib_out
from vpnctl.routing.nlri import KEY_OF, NlriFramingError
from vpnctl.routing.path_ids import Slots, split
from vpnctl.routing.rewrite import compile_rules

#: E1 is everywhere; pe0 announces several paths, pe1 is told several, pe2 and pe3 are as ever.
POLICY = Policy({1: VpnIntent(Service.L3VPN, (("pe0",), ("pe1",), ("pe2",), ("pe3",)))})
RT0, RT2, RT3 = "65000:1001", "65000:1021", "65000:1031"
PE0, PE1, PE2, PE3 = 1, 2, 3, 4
NLRI, OTHER = wire.vpnv4(10, b"\x0a\x01\x00"), wire.vpnv4(10, b"\x0a\x02\x00")
KEY = KEY_OF[VPNV4](NLRI)
SEVEN, EIGHT, NINE = (wire.path_id(number) for number in (7, 8, 9))
GUARDED = Guard(routes={"vpnv4": 1}, beyond=Beyond.REFUSE)

Held = dict[tuple[bytes, bytes], bytes]


class Room:
    """An engine with four PEs, and what pe1 holds: (path identifier, NLRI) -> next hop."""

    def __init__(self, most: int = 2, guard: Guard | None = None) -> None:
        self.output = wire.Peers()
        self.ruleset = build(POLICY)
        self.engine = Engine(compile_rules(self.ruleset).rules, self.output)
        self.first = wire.opened(PE0, "pe0", paths_taken={VPNV4: 2})
        self.engine.session_up(replace(self.first, guard=guard or Guard()))
        self.engine.session_up(wire.opened(PE1, "pe1", paths_sent={VPNV4: most}))
        self.engine.session_up(wire.opened(PE2, "pe2"))
        self.engine.session_up(wire.opened(PE3, "pe3"))
        self.held: Held = {}
        self.counted = 0
        self.read()

    def say(self, number: int, *messages: bytes) -> None:
        self.engine.updates(number, b"".join(messages))
        assert not self.output.resets
        check(self.engine)

    def read(self, *, room: bool = True) -> Held:
        """What pe1 holds after everything that it was sent."""
        for update in self.output.updates(PE1, {VPNV4}):
            self.counted += 1
            for nlri in update.withdrawn:
                del self.held[nlri[:4], nlri[4:]]
            for nlri in update.announced:
                self.held[nlri[:4], nlri[4:]] = update.next_hop[-1:]
        if room:
            known = self.engine.by_peer["pe1"]
            self.engine.written(known.opened.number, known.sent_octets)
            if PE1 in self.output.sent:
                return self.read()
        return self.held

    def hops(self) -> list[int]:
        """Last octet of the next hops of pe1's paths to `NLRI`, in the order of identifiers."""
        held = sorted(self.read().items())
        return [hop[0] for (_, nlri), hop in held if nlri[4:] == NLRI[4:]]

    def plain(self, number: int) -> list[tuple[list[bytes], list[bytes]]]:
        """What a PE without identifiers was told: announced and withdrawn."""
        updates = self.output.updates(number)
        self.engine.written(number, self.engine.sessions[number].sent_octets)
        return [(each.announced, each.withdrawn) for each in updates]


def announce(*nlris: bytes, hop: int, target: str = RT0, pref: int = 100) -> bytes:
    next_hop = bytes(8) + bytes((10, 0, 0, hop))
    local_pref = wire.attribute(0x40, 5, pref.to_bytes(4, "big"))
    basic = wire.ORIGIN + wire.EMPTY_AS_PATH + local_pref
    return wire.update(wire.reach(VPNV4, *nlris, next_hop=next_hop), basic, wire.targets(target))


def withdraw(*nlris: bytes) -> bytes:
    return wire.update(wire.unreach(VPNV4, *nlris))


@pytest.fixture
def room() -> Room:
    return Room()


def test_the_withdrawal_of_one_path_leaves_the_other(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2))
    assert room.hops() == [1, 2]
    room.say(PE0, withdraw(SEVEN + NLRI))
    assert room.hops() == [2]
    # Who is told no identifiers had the first, and has the second now, without a withdrawal.
    assert room.plain(PE2) == [([NLRI], []), ([NLRI], [])]
    room.say(PE0, withdraw(EIGHT + NLRI))
    assert room.read() == {}
    assert room.plain(PE2) == [([], [NLRI])]


def test_identifiers_are_ours_and_stay_with_the_path(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2))
    before = {path_id for path_id, _ in room.read()}
    assert len(before) == 2
    assert not before & {SEVEN, EIGHT}
    room.say(PE0, announce(SEVEN + NLRI, hop=3), announce(EIGHT + NLRI, hop=2, pref=50))
    assert {path_id for path_id, _ in room.read()} == before
    assert room.hops() == [3, 2]


def test_another_path_of_the_same_pe_takes_over_within_one_batch(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1))
    assert room.hops() == [1]
    room.say(PE0, announce(EIGHT + NLRI, hop=2), withdraw(SEVEN + NLRI))
    assert room.hops() == [2]


def test_another_pe_takes_over_within_one_flush(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1))
    room.say(PE2, announce(NLRI, hop=2, target=RT2))
    assert room.hops() == [1, 2]
    room.engine.session_down(PE0)
    assert room.hops() == [2]


def test_the_best_paths_are_sent_and_no_more(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2, pref=90))
    room.say(PE2, announce(NLRI, hop=3, target=RT2, pref=95))
    # The route distinguisher is pe0's, so its paths go before that of pe2.
    assert room.hops() == [1, 2]
    room.say(PE0, withdraw(EIGHT + NLRI))
    assert room.hops() == [1, 3]
    sent, lines = explain(room.engine, VPNV4, KEY, "pe1")
    assert sent
    assert sum("as path" in line for line in lines) == 2
    room.say(PE0, announce(NINE + NLRI, hop=4, pref=200))
    assert sorted(room.hops()) == [1, 4]
    _, lines = explain(room.engine, VPNV4, KEY, "pe1")
    assert "pe1 is sent the best 2 paths of 3 (add_path.send)" in lines


def test_a_pe_cannot_have_more_paths_than_it_may(room: Room) -> None:
    room.say(PE0, *(announce(wire.path_id(n) + NLRI, hop=n) for n in range(1, 100)))
    assert room.hops() == [1, 2]
    assert len(list(rib_in(room.engine, "pe0"))) == 2
    known = room.engine.by_peer["pe0"]
    assert known.ledger.accounts[VPNV4.octets].refused == 97
    assert "more than 2 paths to one destination" in known.last_error
    # What was not taken in cannot be withdrawn, and what was given up is there for others.
    room.say(PE0, withdraw(wire.path_id(50) + NLRI), withdraw(wire.path_id(1) + NLRI))
    room.say(PE0, announce(wire.path_id(50) + NLRI, hop=50))
    assert sorted(room.hops()) == [2, 50]


def test_what_a_guard_refuses_has_no_slot() -> None:
    room = Room(guard=GUARDED)
    room.say(PE0, announce(SEVEN + NLRI, EIGHT + NLRI, NINE + OTHER, hop=1))
    assert room.hops() == [1]
    room.say(PE0, withdraw(SEVEN + NLRI), announce(EIGHT + NLRI, hop=2))
    assert room.hops() == [2]


def test_a_malformed_announcement_withdraws_its_path_alone(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2))
    bad_origin = wire.attribute(0x40, 1, b"\x09")
    rest = wire.EMPTY_AS_PATH + wire.LOCAL_PREF + wire.targets(RT0)
    room.say(PE0, wire.update(wire.reach(VPNV4, EIGHT + NLRI), bad_origin, rest))
    assert room.hops() == [1]


def test_paths_that_share_attributes_go_out_together(room: Room) -> None:
    room.counted = 0
    room.say(PE0, announce(SEVEN + NLRI, NINE + OTHER, hop=1))
    # What a PE calls its paths does not keep them apart.
    assert len(room.read()) == 2
    assert room.counted == 1


def test_a_slow_reader_gets_each_path_as_it_is_in_the_end(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 1)
    room.say(PE0, announce(SEVEN + OTHER, hop=9))
    room.read(room=False)
    room.say(PE0, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2))
    room.say(PE0, withdraw(SEVEN + NLRI), announce(EIGHT + NLRI, hop=3), withdraw(SEVEN + OTHER))
    waiting = [row for row in rib_out(room.engine, "pe1") if row.status.startswith("waiting")]
    assert len(waiting) == 1
    assert room.hops() == [3]
    assert len(room.read()) == 1


def test_a_refresh_brings_all_paths_again(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2))
    room.read()
    room.held, before = {}, dict(room.held)
    room.engine.refresh(PE1, VPNV4)
    assert room.read() == before


def test_a_rule_takes_single_paths_back(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2))
    room.say(PE2, announce(NLRI, hop=3, target=RT2))
    assert room.hops() == [1, 2]
    # pe0 is heard no more: its place is taken by what came third.
    alone = replace(POLICY.vpns[1], sites=(("pe3",), ("pe1",), ("pe2",)))
    change = compile_rules(build(Policy({1: alone}), room.ruleset), room.engine.rules)
    previewed = room.engine.preview(change)
    assert {(move.old is None, move.new is None) for move in previewed if move.peer == "pe1"} == {
        (False, True),
        (True, False),
    }
    room.engine.apply(change)
    check(room.engine)
    assert room.hops() == [3]


def test_paths_of_a_restarting_pe_stay_until_it_has_said_all(room: Room) -> None:
    restartable = {"stale_time": 60, "restartable": frozenset((VPNV4,))}
    room.engine.session_up(replace(room.first, number=11, **restartable))  # type: ignore[arg-type]
    room.say(11, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2))
    before = dict(room.read())
    room.counted = 0
    room.engine.session_down(11, restarting=True)
    assert room.read() == before
    again = replace(
        room.first,
        number=12,
        preserved=frozenset((VPNV4,)),
        **restartable,  # type: ignore[arg-type]
    )
    room.engine.session_up(again)
    # It calls its paths otherwise now; of two the first is the same.
    room.say(12, announce(NINE + NLRI, hop=1))
    assert room.read() == before
    room.say(12, wire.update(wire.unreach(VPNV4)))
    assert room.hops() == [1]


def test_a_path_that_a_refresh_leaves_out_is_gone_and_its_slot_free(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2))
    room.engine.refresh_begins(PE0, VPNV4)
    room.say(PE0, announce(EIGHT + NLRI, hop=2))
    room.engine.refresh_ends(PE0, VPNV4)
    check(room.engine)
    assert room.hops() == [2]
    room.say(PE0, announce(NINE + NLRI, hop=3))
    assert sorted(room.hops()) == [2, 3]


def test_a_label_that_another_path_had_for_a_moment_reaches_everybody(room: Room) -> None:
    labelled = wire.vpnv4(10, b"\x0a\x01\x00", label=17)
    room.say(PE0, announce(SEVEN + NLRI, hop=1))
    assert room.plain(PE2) == [([NLRI], [])]
    passing = announce(EIGHT + labelled, hop=2), withdraw(EIGHT + labelled)
    room.say(PE0, *passing, withdraw(SEVEN + NLRI), announce(SEVEN + labelled, hop=1))
    assert room.plain(PE2) == [([labelled], [])]


def test_who_has_a_path_is_shown_with_identifiers(room: Room) -> None:
    room.say(PE0, announce(SEVEN + NLRI, hop=1), announce(EIGHT + NLRI, hop=2))
    assert sorted(row.path_id or 0 for row in rib_in(room.engine, "pe0")) == [7, 8]
    sent = {wire.path_id(row.path_id or 0) for row in rib_out(room.engine, "pe1")}
    assert sent == {path_id for path_id, _ in room.read()}
    assert [row.path_id for row in rib_out(room.engine, "pe2")] == [None]


def test_a_slot_is_given_up_and_taken_again() -> None:
    slots = Slots(2)
    assert [slots.take(b"k", each) for each in (SEVEN, EIGHT, NINE)] == [0, 1, None]
    assert slots.take(b"k", SEVEN) == 0
    slots.free(b"k", 0)
    assert slots.find(b"k", SEVEN) is None
    assert (slots.take(b"k", NINE), slots.path_id(b"k", 0)) == (0, NINE)
    slots.free(b"k", 1)
    slots.free(b"k", 0)
    slots.free(b"k", 0)
    assert slots.take(b"k", EIGHT) == 0


@pytest.mark.parametrize("field", [SEVEN, SEVEN + NLRI[:-1], SEVEN + NLRI + EIGHT[:2]])
def test_a_field_that_does_not_add_up_ends_the_session(room: Room, field: bytes) -> None:
    with pytest.raises(NlriFramingError):
        split(VPNV4, field)
    room.engine.updates(PE0, announce(field, hop=1))
    [(number, code, subcode, _)] = room.output.resets
    assert (number, code, subcode) == (PE0, 3, 10)


def test_other_families_have_no_identifiers(room: Room) -> None:
    known = room.engine.by_peer["pe1"]
    assert known.kind_for(VPNV4).path_ids
    assert not known.kind_for(VPLS).path_ids
