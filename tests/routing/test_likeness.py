"""UPDATEs like the one before are taken in as if each were the first."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import permutations

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.routing import wire
from tests.routing.consistency import check
from tests.support.rulesets import Policy, VpnIntent, build
from vpnctl.model import EVPN, VPNV4, Family, Service
from vpnctl.routing import update
from vpnctl.routing.engine import Engine
from vpnctl.routing.rewrite import compile_rules

SITES = (("pe0",), ("pe1",), ("pe2",))
RULES = compile_rules(
    build(Policy({1: VpnIntent(Service.L3VPN, SITES), 3: VpnIntent(Service.EVPN, SITES)}))
).rules
SOURCE, INTERNAL, EXTERNAL = 1, 2, 3


class Room:
    """An engine with pe0, which speaks, and pe1 and pe2, which hear."""

    def __init__(self, asn: int = wire.LOCAL_ASN) -> None:
        self.output = wire.Peers()
        self.engine = Engine(RULES, self.output)
        self.asn = asn
        self.number = SOURCE
        self.engine.session_up(wire.opened(SOURCE, "pe0", asn=asn))
        self.engine.session_up(wire.opened(INTERNAL, "pe1"))
        self.engine.session_up(wire.opened(EXTERNAL, "pe2", asn=65002, asn4=False))
        for number in (SOURCE, INTERNAL, EXTERNAL):
            self.output.take(number)

    def say(self, message: bytes) -> tuple[object, ...]:
        """Everything that is to be seen of what a message did."""
        session = self.engine.sessions[self.number]
        self.engine.updates(self.number, message)
        seen = (
            self.output.take(INTERNAL),
            self.output.take(EXTERNAL),
            [reset[1:] for reset in self.output.resets],
            session.malformed,
            session.last_error,
            session.updates_heard,
        )
        for number in (INTERNAL, EXTERNAL):
            self.engine.written(number, self.engine.sessions[number].sent_octets)
        if self.output.resets:
            self.output.resets.clear()
            self.number += 3
            self.engine.session_up(wire.opened(self.number, "pe0", asn=self.asn))
            self.output.take(self.number)
        return seen


class Forgetful(Room):
    """The same, where every UPDATE is taken apart as if nothing had come before it."""

    def say(self, message: bytes) -> tuple[object, ...]:
        self.engine.sessions[self.number].template.size = -1
        self.engine._intake._alike.clear()
        return super().say(message)


@dataclass(frozen=True)
class Step:
    """How an UPDATE differs from the one before."""

    nlri: int
    field: int
    value: int
    flip: tuple[int, int] | None
    another: bool


def _nlris(family: Family) -> list[list[bytes]]:
    if family is VPNV4:
        single = [wire.vpnv4(10, bytes((10, 1, item))) for item in range(4)]
        return [[nlri] for nlri in single] + [single[:2], [wire.vpnv4(10, b"\x0a\x01")]]
    mac = [wire.evpn_mac(30, bytes((2, 0, 0, 0, 0, item))) for item in range(3)]
    segment = wire.evpn_segment(30, bytes(10), b"\x0a\0\0\1")
    return [*([nlri] for nlri in mac), [segment], [mac[0], segment], [segment, mac[1]]]


#: Values of the same lengths, mostly; some of them wrong.
FIELDS: list[list[bytes]] = [
    [wire.attribute(0x80, 4, struct.pack("!I", number)) for number in range(4)],
    [wire.attribute(0x40, 5, struct.pack("!I", number)) for number in range(4)],
    [wire.attribute(0xC0, 8, struct.pack("!HH", 65000, number)) for number in range(4)],
    [wire.attribute(0xC0, 32, struct.pack("!III", 1, 2, number)) for number in range(4)],
    [wire.attribute(0x40, 1, bytes((number,))) for number in range(4)],
    [wire.attribute(0x40, 2, wire.as_path(asn)) for asn in (64512, 0, 65000, 64513)],
    [wire.attribute(0x80, 9, bytes((10, 0, 0, number))) for number in (7, 100, 8, 9)],
    [wire.targets("65000:1001", target) for target in ("65000:3001", "1:1", "1:2", "1:3")],
    [wire.attribute(0xE0, 99, bytes((number,))) for number in range(4)],
    [wire.attribute(0x40, 3, bytes((10, 0, 0, number))) for number in range(4)],
]

STEPS = st.builds(
    Step,
    nlri=st.integers(0, 5),
    field=st.one_of(st.integers(0, 3), st.integers(0, len(FIELDS) - 1)),
    value=st.integers(0, 3),
    flip=st.one_of(
        st.none(), st.none(), st.none(), st.tuples(st.integers(0, 400), st.integers(0, 7))
    ),
    another=st.sampled_from((False, False, False, True)),
)


@st.composite
def near_copies(draw: st.DrawFn) -> list[bytes]:
    """UPDATEs each of which is the one before but for a little."""
    family = draw(st.sampled_from((VPNV4, EVPN)))
    nlris = _nlris(family)
    present = draw(st.sets(st.integers(2, len(FIELDS) - 1))) | {0, 1, 4, 5, 7}
    order = draw(st.permutations(sorted(present)))
    place = draw(st.integers(0, len(order)))
    values = dict.fromkeys(present, 0)
    steady = draw(st.sampled_from(sorted(present)))
    found = []
    for step in draw(st.lists(STEPS, min_size=4, max_size=25)):
        field = step.field if step.another and step.field in present else steady
        if field in present:
            values[field] = step.value
        parts = [FIELDS[at][values[at]] for at in order]
        parts.insert(place, wire.reach(family, *nlris[step.nlri]))
        body = bytearray(wire.update(*parts)[19:])
        if step.flip is not None:
            at, bit = step.flip
            body[at % len(body)] ^= 1 << bit
        found.append(wire.message(bytes(body)))
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(near_copies(), st.sampled_from((wire.LOCAL_ASN, 64512)))
def test_near_copies_end_like_messages_never_seen_before(copies: list[bytes], asn: int) -> None:
    remembering, forgetful = Room(asn), Forgetful(asn)
    for message in copies:
        assert remembering.say(message) == forgetful.say(message)
        event("a likeness" if remembering.engine._intake._alike else "none")
    check(remembering.engine)
    check(forgetful.engine)


def _with_med(item: int, *, last: bool = False, med: int | None = None) -> bytes:
    reach = wire.reach(VPNV4, wire.vpnv4(10, bytes((10, 1, item))))
    value = struct.pack("!I", item if med is None else med)
    others = wire.BASIC + wire.attribute(0x80, 4, value) + wire.targets("65000:1001")
    return wire.update(others, reach) if last else wire.update(reach, others)


@pytest.mark.parametrize("field", range(len(FIELDS)))
def test_every_value_is_judged(field: int) -> None:
    """Also one that comes third, whatever the two before it were."""
    for order in permutations(range(4)):
        room, fresh = Room(), Forgetful()
        for item, value in enumerate(order):
            fields = [FIELDS[at][value if at == field else 0] for at in {0, 1, 4, 5, 7, field}]
            reach = wire.reach(VPNV4, wire.vpnv4(10, bytes((10, 1, item))))
            message = wire.update(reach, *fields)
            assert room.say(message) == fresh.say(message)


@pytest.mark.parametrize("last", [False, True])
def test_no_octet_is_overlooked(last: bool) -> None:
    message = _with_med(3, last=last)
    for at in range(19, len(message)):
        for bit in (0, 3, 7):
            wrong = bytearray(message)
            wrong[at] ^= 1 << bit
            room, fresh = Room(), Forgetful()
            for item in range(3):
                assert room.say(_with_med(item, last=last)) == fresh.say(_with_med(item, last=last))
            assert room.say(bytes(wrong)) == fresh.say(bytes(wrong)), (at, bit)


@pytest.mark.parametrize("last", [False, True])
def test_a_route_like_the_two_before_is_not_taken_apart(
    last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room()
    apart: list[bytes] = []
    parse = update.parse

    def counted(body: bytes) -> update.Received:
        apart.append(body)
        return parse(body)

    monkeypatch.setattr(update, "parse", counted)
    for item in range(10):
        room.say(_with_med(item, last=last))
    assert len(apart) == 2
    check(room.engine)
    (session,) = (s for s in room.engine.sessions.values() if s.opened.peer == "pe0")
    assert sorted(path.attributes.med for path in session.paths.values()) == list(range(10))


def test_runs_of_routes_alike_are_known_among_routes_that_differ() -> None:
    room, plain = Room(), Forgetful()
    for item in range(60):
        message = _with_med(item, med=item // 5)
        assert room.say(message) == plain.say(message)
    assert len(room.engine.sessions[SOURCE].paths) == 12
    check(room.engine)


def test_a_likeness_outlives_the_routes_it_was_learned_from() -> None:
    room = Room()
    for item in range(2):
        room.say(_with_med(item))
    nlris = [wire.vpnv4(10, bytes((10, 1, item))) for item in range(2)]
    room.say(wire.update(wire.unreach(VPNV4, *nlris)))
    assert not room.engine.groups
    room.say(_with_med(7))
    check(room.engine)
    assert len(room.engine.groups) == 1


def test_two_nlri_of_two_kinds_are_never_taken_for_one() -> None:
    room, plain = Room(), Forgetful()
    for item in range(4):
        mac = wire.evpn_mac(30, bytes((2, 0, 0, 0, 0, item)))
        segment = wire.evpn_segment(30, bytes((item,)) * 10, b"\x0a\0\0\1")
        for some in ((segment, mac), (mac, segment)):
            message = wire.update(wire.reach(EVPN, *some), wire.BASIC, wire.targets("65000:3001"))
            assert room.say(message) == plain.say(message)
    check(room.engine)


def test_a_session_that_ends_leaves_no_likeness() -> None:
    room = Room()
    for item in range(3):
        room.say(_with_med(item))
    room.engine.session_down(SOURCE)
    assert not room.engine._intake._alike
    assert not room.engine._intake._last
