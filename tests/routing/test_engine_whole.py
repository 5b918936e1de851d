"""Whatever happens, peers hold what a computation from scratch says they must."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.routing import wire
from tests.routing.consistency import check
from tests.routing.reference import Announcement, Reference, RouteId
from tests.support.effort import examples
from tests.support.rulesets import (
    PES,
    Policy,
    build,
    edited,
    policies,
    vpn_intents,
    without_dangling,
)
from vpnctl.model import EVPN, FAMILIES, VPLS, VPNV4, VPNV6, Family, Service
from vpnctl.routing import delivery, session
from vpnctl.routing.communities import LLGR_STALE, NO_LLGR
from vpnctl.routing.engine import Engine
from vpnctl.routing.inspect import counts, explain, rib_out
from vpnctl.routing.long_lived import LongLived
from vpnctl.routing.nlri import KEY_OF
from vpnctl.routing.path_ids import SLOTS
from vpnctl.routing.rewrite import compile_rules
from vpnctl.routing.session import Opened

_ENCAPSULATION = bytes.fromhex("030c000000000008")
_LOCAL_COMMUNITY = bytes.fromhex("4300000000000007")
_FAMILIES = tuple(FAMILIES.values())
_COMMUNITIES = (b"", b"", b"", b"\xff\xff\0\1", NO_LLGR, LLGR_STALE)


def _opened(number: int, pe: str) -> Opened:
    """Each PE speaks in a way of its own."""
    if pe == "pe2":
        address = bytes.fromhex("20010db8000000000000000000000003")
        taken = {VPNV4: 2}
        return wire.opened(number, pe, asn=65002, address=address, paths_taken=taken)
    if pe == "pe3":
        families = frozenset((VPNV4, VPNV6, VPLS))
        return wire.opened(number, pe, asn4=False, families=families, paths_sent={VPNV4: 2})
    if pe == "pe1":
        paths = {VPNV4: 2, EVPN: 3}
        return wire.opened(
            number, pe, enhanced_refresh=True, paths_sent={VPNV4: 3, VPLS: 2}, paths_taken=paths
        )
    return wire.opened(number, pe)


def _with_restarts(opened: Opened) -> Opened:
    """Most routes of pe0 and pe1 stay when they are lost; the last two know nothing of that."""
    if opened.peer not in ("pe0", "pe1"):
        return replace(opened, long_lived=LongLived(offered=True, despite=opened.peer == "pe3"))
    every = frozenset(_FAMILIES)
    times = dict.fromkeys((VPNV4, VPLS, EVPN), 3600)
    return replace(
        opened,
        stale_time=60,
        restartable=every - {VPLS},
        preserved=every - {EVPN},
        long_lived=LongLived(True, True, False, times, every - {EVPN}),
    )


def _nlri(family: Family, rd: int, item: int, label: int) -> bytes:
    if family == VPNV4:
        return wire.vpnv4(rd, bytes((10, item))[: 1 + item % 2], label)
    if family == VPNV6:
        return wire.vpnv6(rd, bytes((32, 1, item)), label)
    if family == VPLS:
        return wire.vpls(rd, item, label)
    if item == 0:
        return wire.evpn_mac(rd, bytes((2, 0, 0, 0, 0, item)), label)
    if item == 1:
        return wire.evpn_prefix(rd, 24, bytes((10, 0, 0, 0)), label)
    return wire.evpn_multicast(rd, bytes((10, 0, 0, item)))


@st.composite
def _routes(draw: st.DrawFn, family: Family) -> list[bytes]:
    """One or a few NLRI of one family; few enough in all that PEs meet at them."""
    one = st.builds(
        lambda rd, item, label: _nlri(family, rd, item, label),
        st.sampled_from((10, 11, 99)),
        st.integers(0, 1),
        st.sampled_from((16, 17)),
    )
    return draw(st.lists(one, min_size=1, max_size=3))


@st.composite
def _crowded(draw: st.DrawFn) -> Policy:
    """A policy whose first VPNs are everywhere, so that much is heard by many."""
    policy = draw(policies())
    everywhere = (("pe0",), ("pe1",), ("pe2", "pe3"))
    for number in (1, 2):
        intent = draw(vpn_intents())
        policy.vpns[number] = replace(intent, sites=everywhere)
    return without_dangling(policy)


@st.composite
def _announcements(draw: st.DrawFn, targets: list[bytes], external: bool) -> Announcement:
    chosen = draw(st.lists(st.sampled_from(targets), min_size=1, max_size=3, unique=True))
    spoiled = [""] * 12 + ["withdraw-origin", "withdraw-communities", "discard-aggregate"]
    spoiled += ["loop-as", "loop-cluster"]
    first = (65002,) if external else ()
    return Announcement(
        targets=tuple(chosen),
        origin=draw(st.sampled_from((0, 0, 2))),
        path=first + draw(st.sampled_from(((), (), (64512,), (64513,)))),
        med=draw(st.sampled_from((None, None, 10, 20))),
        local_pref=draw(st.sampled_from((None, 100, 200))),
        communities=draw(st.sampled_from(_COMMUNITIES)),
        others=draw(st.sampled_from((b"", _ENCAPSULATION, _ENCAPSULATION + _LOCAL_COMMUNITY))),
        originator=draw(st.sampled_from((None, None, b"\x0a\0\0\x09"))),
        clusters=draw(st.sampled_from(((), (), (b"\x0a\0\0\x08",)))),
        unknown=draw(st.sampled_from((None, None, b"x"))),
        private=draw(st.sampled_from((None, None, b"y"))),
        spoiled=draw(st.sampled_from(spoiled)),
    )


class Whole(RuleBasedStateMachine):
    """An engine, its peers' RIBs replayed from octets, and the reference.

    ``families``: those that PEs speak of; ``opened``: how a PE does.
    """

    families = _FAMILIES
    opened = staticmethod(_opened)

    def __init__(self) -> None:
        super().__init__()
        self.lost: dict[str, Opened] = {}
        self.numbers: Iterator[int] = iter(range(1, 10**6))
        self.output = wire.Peers()
        self.up: dict[str, Opened] = {}
        self.slow: set[str] = set()
        self.ribs: dict[str, dict[RouteId, object]] = {}
        self.told: list[tuple[str, RouteId, tuple[bytes, ...] | None]] = []

    @initialize(policy=_crowded())
    def begin(self, policy: Policy) -> None:
        self.policy = policy
        self.ruleset = build(policy)
        self.engine = Engine(compile_rules(self.ruleset).rules, self.output)
        self.reference = Reference(self.ruleset)
        for pe in PES:
            self.session_up(pe)

    # -- what happens --

    @rule(pe=st.sampled_from(PES))
    def session_up(self, pe: str) -> None:
        opened = _with_restarts(self.opened(next(self.numbers), pe))
        if pe in self.up:
            self.lost[pe] = self.up[pe]
            self.reference.session_lost(self.up[pe])
        self.ribs[pe], self.up[pe] = {}, opened
        self.slow.discard(pe)
        self.reference.session_up(opened)
        self.engine.session_up(opened)
        self.settle()

    @rule(pe=st.sampled_from(PES))
    def session_down(self, pe: str) -> None:
        opened = self.up.pop(pe, None)
        if opened is not None:
            self.slow.discard(pe)
            self.reference.session_down(opened)
            self.engine.session_down(opened.number)
            self.settle()

    @rule(pe=st.sampled_from(PES))
    def session_lost(self, pe: str) -> None:
        opened = self.up.pop(pe, None)
        if opened is not None:
            self.slow.discard(pe)
            self.lost[pe] = opened
            self.reference.session_lost(opened)
            self.engine.session_down(opened.number, restarting=True)
            self.settle()

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def restart_takes_too_long(self, data: st.DataObject) -> None:
        opened = self.lost[data.draw(st.sampled_from(sorted(self.lost)))]
        self.reference.restart_takes_too_long(opened, back=opened.peer in self.up)
        self.engine.stale_expired(opened.peer, opened.number)
        self.settle()

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def is_away_for_too_long(self, data: st.DataObject) -> None:
        pe = data.draw(st.sampled_from(sorted(self.lost)))
        family = data.draw(st.sampled_from(self.families))
        self.reference.outlived_expired(pe, family)
        self.engine.outlived_expired(pe, family)
        self.settle()

    @precondition(lambda self: self.up.keys() & self.lost.keys())
    @rule(data=st.data())
    def has_said_what_it_has(self, data: st.DataObject) -> None:
        pe = data.draw(st.sampled_from(sorted(self.up.keys() & self.lost.keys())))
        family = data.draw(st.sampled_from(self.families))
        if family in self.up[pe].families:
            self.reference.end_of_rib(pe, family)
            self.engine.updates(self.up[pe].number, wire.update(wire.unreach(family)))
            self.settle()

    def _draw(self, data: st.DataObject, pe: str) -> tuple[bytes, list[object]]:
        """One UPDATE as octets, and what it means as calls on the reference."""
        opened = self.up[pe]
        everywhere = list(self.ruleset.endpoints())
        spoken = opened.families & set(self.families)
        here = [
            endpoint
            for endpoint in everywhere
            if endpoint.pe == pe and endpoint.service.families & spoken
        ]
        if here and data.draw(st.integers(0, 9)):
            endpoint = data.draw(st.sampled_from(here))
            family = data.draw(st.sampled_from(sorted(endpoint.service.families & spoken)))
            pool = [target.octets for target in endpoint.export_targets]
        else:
            family = data.draw(st.sampled_from(self.families))
            pool = [target.octets for each in everywhere for target in each.export_targets]
            pool.append(bytes.fromhex("0002000100000001"))
        nlris = data.draw(_routes(family))
        announce, withdraw = self.reference.announce, self.reference.withdraw
        told, routes = nlris, nlris
        if family in opened.paths_taken:
            announce, withdraw = self.reference.announce_paths, self.reference.withdraw_paths
            ids = [wire.path_id(data.draw(st.integers(7, 9))) for _ in nlris]
            routes = list(zip(ids, nlris, strict=True))
            told = [path_id + nlri for path_id, nlri in routes]
        if data.draw(st.integers(0, 3)) == 0:
            octets = wire.update(wire.unreach(family, *told))
            return octets, [(withdraw, (family, routes))]
        external = opened.peer_asn != wire.LOCAL_ASN
        announcement = data.draw(_announcements(pool, external))
        hop = wire.NEXT_HOP[family][:-1] + bytes((data.draw(st.integers(1, 2)),))
        head = wire.reach(family, *told, next_hop=hop)
        octets = wire.update(head, announcement.octets(opened))
        return octets, [(announce, (family, routes, hop, announcement))]

    @precondition(lambda self: self.up)
    @rule(data=st.data(), count=st.sampled_from((1, 2, 5)))
    def updates(self, data: st.DataObject, count: int) -> None:
        pe = data.draw(st.sampled_from(sorted(self.up)))
        octets = b""
        for _ in range(count):
            message, calls = self._draw(data, pe)
            octets += message
            for call, arguments in calls:  # type: ignore[misc]
                family = arguments[0]
                if family in self.up[pe].families:
                    call(self.up[pe], *arguments)
        self.engine.updates(self.up[pe].number, octets)
        assert not self.output.resets
        self.settle()

    @precondition(lambda self: self.up)
    @rule(data=st.data(), count=st.sampled_from((1, 3)))
    def more_updates(self, data: st.DataObject, count: int) -> None:
        # Rules are drawn alike; routes are what it is about.
        for _ in range(3):
            self.updates(data, count)

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def becomes_slow(self, data: st.DataObject) -> None:
        self.slow.add(data.draw(st.sampled_from(sorted(self.up))))

    @precondition(lambda self: self.slow)
    @rule(data=st.data())
    def catches_up(self, data: st.DataObject) -> None:
        pe = data.draw(st.sampled_from(sorted(self.slow)))
        self.slow.discard(pe)
        self.settle()

    @precondition(lambda self: self.up)
    @rule(data=st.data(), family=st.sampled_from(_FAMILIES))
    def refresh(self, data: st.DataObject, family: Family) -> None:
        pe = data.draw(st.sampled_from(sorted(self.up)))
        self.told.clear()
        self.engine.refresh(self.up[pe].number, family)
        self.settle()
        if pe not in self.slow and family in self.up[pe].families:
            told = {route for peer, route, targets in self.told if peer == pe and targets}
            assert told >= {r for r in self.expected(self.up[pe]) if r[0] == family}

    @rule(data=st.data())
    def rules_change(self, data: st.DataObject) -> None:
        self.policy = data.draw(edited(self.policy))
        self.ruleset = build(self.policy, self.ruleset)
        change = compile_rules(self.ruleset, self.engine.rules)
        previewed = self.engine.preview(change)
        assert previewed == self.engine.preview(change)
        promised = sorted(
            (
                move.peer,
                self.told_route(self.up[move.peer], move.family, path.nlris[key], path.path_id),
                None if move.new is None else move.new[1],
            )
            for move in previewed
            for path in [(move.new or move.old)[0]]  # type: ignore[index]
            for key in move.keys
            if move.peer in self.up and move.family in self.up[move.peer].families
        )
        self.reference.ruleset = self.ruleset
        self.told.clear()
        told_peers = {move.peer for move in self.engine.apply(change)}
        assert told_peers == {peer for peer, _, _ in promised}
        self.settle()
        # Those who read are sent what was promised, once each, and nothing else.
        sent = [told for told in self.told if told[0] not in self.slow]
        promised = [told for told in promised if told[0] not in self.slow]
        assert sorted(sent, key=repr) == sorted(promised, key=repr)

    # -- what must be so --

    def expected(self, opened: Opened) -> dict[RouteId, object]:
        """What a peer must hold."""
        numbers = self.engine._tables._numbers

        def path_id(peer: str, slot: int) -> bytes:
            return wire.path_id(SLOTS * numbers[peer] + slot + 1)

        return self.reference.expected(opened, path_id)  # type: ignore[return-value]

    @staticmethod
    def told_route(opened: Opened, family: Family, nlri: bytes, path_id: bytes) -> RouteId:
        called = (path_id,) if family in opened.paths_sent else ()
        return *wire.route_id(family, nlri), *called

    def heard_route(self, opened: Opened, family: Family, nlri: bytes) -> tuple[RouteId, bytes]:
        """A route as a peer reads it, and its NLRI without a path identifier."""
        at = 4 if family in opened.paths_sent else 0
        return self.told_route(opened, family, nlri[at:], nlri[:at]), nlri[at:]

    def replay(self) -> None:
        """Read what every peer was sent into its RIB; each route must be right when it is sent."""
        for pe, opened in self.up.items():
            expected = None
            for kind, body in self.output.take(opened.number):
                if kind != 2:
                    assert kind == 5
                    assert opened.enhanced_refresh
                    continue
                assert len(body) + 19 <= opened.message_size
                update = wire.decode(body, opened.paths_sent)
                for each in update.withdrawn:
                    assert update.withdrawn_family is not None
                    route, _ = self.heard_route(opened, update.withdrawn_family, each)
                    self.ribs[pe].pop(route, None)
                    self.told.append((pe, route, None))
                for each in update.announced:
                    assert update.family is not None
                    route, nlri = self.heard_route(opened, update.family, each)
                    value = update[16]
                    parts = sorted(value[at : at + 8] for at in range(0, len(value), 8))
                    update.attributes[16] = update.attributes[16][0], b"".join(parts)
                    held = nlri, update.next_hop, update.attributes
                    if expected is None:
                        expected = self.expected(opened)
                    assert expected.get(route) == held, f"{pe} was sent what it must not have"
                    self.ribs[pe][route] = held
                    self.told.append((pe, route, tuple(sorted(update.targets))))

    def settle(self) -> None:
        """Let everybody but the slow read until nothing more comes."""
        self.replay()
        for _ in range(1000):
            behind = [
                session
                for pe, session in self.engine.by_peer.items()
                if pe not in self.slow and session.written_octets < session.sent_octets
            ]
            for each in behind:
                self.engine.written(each.opened.number, each.sent_octets)
            if not behind:
                return
            self.replay()
        pytest.fail("the engine never stops sending")

    @invariant()
    def peers_hold_what_they_must(self) -> None:
        if not hasattr(self, "engine"):
            return
        check(self.engine)
        for pe, opened in self.up.items():
            if pe in self.slow:
                continue
            expected = self.expected(opened)
            assert self.ribs[pe] == expected
            assert not self.engine.by_peer[pe].waiting
            shown = {
                self.told_route(
                    opened, row.family, row.path.nlris[row.key], wire.path_id(row.path_id or 0)
                ): row
                for row in rib_out(self.engine, pe)
            }
            assert shown.keys() == expected.keys()
            assert {row.status for row in shown.values()} <= {"sent"}

    @invariant()
    def counts_are_exact(self) -> None:
        if not hasattr(self, "engine"):
            return
        found = counts(self.engine)
        for pe, opened in self.up.items():
            expected = self.expected(opened)
            for family in opened.families:
                heard = [h for h in self.reference.all_of(pe) if h.family == family]
                assert found.heard[pe, family] == len(heard)
                assert found.sent[pe, family] == sum(r[0] == family for r in expected)

    @precondition(lambda self: self.up)
    @rule(data=st.data(), peer=st.sampled_from(PES))
    def explanations_agree(self, data: st.DataObject, peer: str) -> None:
        family = data.draw(st.sampled_from(_FAMILIES))
        nlris = data.draw(_routes(family))
        key = KEY_OF[family](nlris[0])
        sent, lines = explain(self.engine, family, key, peer)
        assert lines
        if peer not in self.slow:
            opened = self.up.get(peer)
            expected = self.expected(opened) if opened else {}
            route = wire.route_id(family, nlris[0])
            assert sent is any(each[: len(route)] == route for each in expected)


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make peers slow after one message and full tables long after two routes."""
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 150)
    monkeypatch.setattr(delivery, "_BACKLOG_STEP", 2)
    monkeypatch.setattr(delivery, "_FULL_TABLE_OCTETS", 1)
    monkeypatch.setattr(delivery, "_STEP", 2)


def _with_paths(number: int, pe: str) -> Opened:
    """All but the last tell several paths, and all but the first are told some."""
    paths = {"pe1": 2, "pe2": 64, "pe3": 3}
    return wire.opened(
        number,
        pe,
        asn=65002 if pe == "pe2" else wire.LOCAL_ASN,
        families=frozenset((VPNV4,)),
        paths_sent={VPNV4: paths[pe]} if pe in paths else {},
        paths_taken={VPNV4: 3} if pe != "pe3" else {},
    )


class Paths(Whole):
    """The same of few routes to which there are many paths (RFC 7911)."""

    families = (VPNV4,)
    opened = staticmethod(_with_paths)

    @initialize(policy=_crowded())
    def begin(self, policy: Policy) -> None:
        for number in (1, 2):
            intent = policy.vpns[number]
            policy.vpns[number] = replace(intent, service=Service.L3VPN, topology="full-mesh")
        super().begin(without_dangling(policy))


_SETTINGS = settings(
    max_examples=examples(50),
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestWhole = Whole.TestCase
TestWhole.settings = _SETTINGS
TestPaths = Paths.TestCase
TestPaths.settings = settings(_SETTINGS, max_examples=examples(40))
