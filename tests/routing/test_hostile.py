"""What a hostile or broken PE sends costs at most its own session."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.routing import wire
from tests.routing.consistency import check
from tests.support.rulesets import Policy, VpnIntent, build
from vpnctl.model import EVPN, FAMILIES, VPLS, VPNV4, VPNV6, Family, Service
from vpnctl.routing import intake, session
from vpnctl.routing.engine import Engine
from vpnctl.routing.inspect import RibRow, rib_out
from vpnctl.routing.nlri import KEY_OF
from vpnctl.routing.rewrite import compile_rules

SITES = (("pe0",), ("pe1",), ("pe2",))
POLICY = Policy(
    {
        1: VpnIntent(Service.L3VPN, SITES),
        2: VpnIntent(Service.VPLS, SITES),
        3: VpnIntent(Service.EVPN, SITES),
    }
)
#: Export targets of pe0.
TARGETS = {VPNV4: "65000:1001", VPNV6: "65000:1001", VPLS: "65000:2001", EVPN: "65000:3001"}

_RICH = (
    wire.attribute(0xC0, 7, bytes.fromhex("0000fde80a000001"))
    + wire.attribute(0xC0, 8, b"\xff\xff\0\1")
    + wire.attribute(0x80, 9, b"\x0a\0\0\x09")
    + wire.attribute(0x80, 10, b"\x0a\0\0\x08")
)
_TAIL = (
    wire.attribute(0xC0, 22, bytes.fromhex("0600000110") + b"\x0a\0\0\x01")
    + wire.attribute(0xC0, 25, bytes.fromhex("0002") + bytes(18))
    + wire.attribute(0xC0, 32, bytes(12))
    + wire.attribute(0xC0, 99, b"unknown")
)


def _nlris(family: Family) -> list[bytes]:
    if family in (VPNV4, VPNV6):
        return [wire.vpnv4(10, b"\x0a\x01\x02"), wire.vpnv4(10, b"\x0a\x02")]
    if family == VPLS:
        return [wire.vpls(20, 1), wire.vpls(20, 2)]
    return [
        wire.evpn_mac(30, b"\2\0\0\0\0\1", address=b"\x0a\0\0\1"),
        wire.evpn_multicast(30, b"\x0a\0\0\1"),
        wire.evpn_prefix(30, 24, b"\x0a\0\0\0"),
    ]


def _seeds(with_ids: Collection[Family] = ()) -> list[bytes]:
    """Well-formed UPDATEs of every family, short and long, announcing and withdrawing.

    In the families ``with_ids`` there are path identifiers, and two paths to one destination.
    """
    found = []
    for family in FAMILIES.values():
        nlris = _nlris(family)
        if family in with_ids:
            nlris = [wire.path_id(at) + nlri for at, nlri in enumerate([*nlris, nlris[0]])]
        targets = wire.targets(TARGETS[family], others=bytes.fromhex("030c000000000008"))
        rich = wire.ORIGIN + wire.attribute(0x40, 2, wire.as_path(64512)) + wire.LOCAL_PREF
        found.append(wire.update(wire.reach(family, nlris[0]), wire.BASIC, targets))
        found.append(wire.update(wire.reach(family, *nlris), rich, _RICH, targets, _TAIL))
        found.append(wire.update(rich, targets, wire.reach(family, *nlris)))
        found.append(wire.update(wire.unreach(family, nlris[0])))
        found.append(
            wire.update(wire.unreach(family, nlris[1]), wire.reach(family, nlris[0]), rich, targets)
        )
    return found


#: Families in which path identifiers are agreed on, and how many paths to a destination.
PATHS = {VPNV4: 2, VPNV6: 2}
SEEDS, SEEDS_WITH_IDS = _seeds(), _seeds(PATHS)


def mutated(message: bytes, chance: random.Random) -> bytes:
    """Some octets changed, cut out or doubled; the header's length made true again."""
    body = bytearray(message[19:])
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(body))
        match chance.randrange(5):
            case 0:
                body[at] = chance.choice((0, 1, 0x10, 0x7F, 0x80, 0xFF))
            case 1:
                body[at] ^= 1 << chance.randrange(8)
            case 2 if len(body) > 8:
                del body[at : at + chance.randint(1, 4)]
            case 3:
                body[at:at] = body[at : at + chance.randint(1, 8)]
            case _:
                body[at] = (body[at] + chance.choice((1, -1))) & 0xFF
        if chance.randrange(2):
            # Keep the first two lengths true, so that what lies deeper is reached.
            body[:4] = b"\0\0" + max(len(body) - 4, 0).to_bytes(2, "big")
    return wire.message(bytes(body))


def _engine(paths: Mapping[Family, int] | None = None) -> tuple[Engine, wire.Peers]:
    """pe0 is hostile; ``paths``: it sends path identifiers, and pe1 is sent some."""
    output = wire.Peers()
    engine = Engine(compile_rules(build(POLICY)).rules, output)
    engine.session_up(wire.opened(1, "pe0", paths_taken=paths))
    engine.session_up(wire.opened(2, "pe1", paths_sent=paths))
    engine.session_up(wire.opened(3, "pe2", asn=65002, asn4=False))
    return engine, output


def _replay(
    held: dict[tuple[str, bytes], bytes],
    octets: list[tuple[int, bytes]],
    with_ids: Collection[Family],
) -> None:
    """Keep what is announced, as octets of the NLRI's own key and its targets."""
    for _, body in octets:
        update = wire.decode(body, with_ids)
        for family, nlris in (
            (update.withdrawn_family, update.withdrawn),
            (update.family, update.announced),
        ):
            for nlri in nlris:
                assert family is not None
                at = 4 if family in with_ids else 0
                key = family.name, nlri[:at] + _key(family, nlri[at:])
                if nlris is update.withdrawn:
                    held.pop(key, None)
                else:
                    held[key] = b"".join(update.targets)


def _key(family: Family, nlri: bytes) -> bytes:
    return KEY_OF[family](nlri)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.integers(0, 2**32), st.integers(60, 100), st.sampled_from(({}, {}, PATHS)))
def test_mutated_updates_end_in_one_of_the_ways_of_rfc_7606(
    seed: int, count: int, paths: dict[Family, int]
) -> None:
    chance = random.Random(seed)
    engine, output = _engine(paths)
    seeds = SEEDS_WITH_IDS if paths else SEEDS
    held: dict[int, dict[tuple[str, bytes], bytes]] = {2: {}, 3: {}}
    number = 1
    for _ in range(count):
        engine.updates(number, mutated(chance.choice(seeds), chance))
        for _, code, subcode, reason in output.resets:
            assert (code, subcode) in {(3, 1), (3, 9), (3, 10)}, reason
            number += 3
            engine.session_up(wire.opened(number, "pe0", paths_taken=paths))
        output.resets.clear()
        for peer in (2, 3):
            engine.written(peer, engine.sessions[peer].sent_octets)
            _replay(held[peer], output.take(peer), paths if peer == 2 else ())
    check(engine)
    for peer, name in ((2, "pe1"), (3, "pe2")):
        shown = {
            (row.family.name, _called(row) + row.key): b"".join(row.targets)
            for row in rib_out(engine, name)
        }
        assert held[peer] == shown


def _called(row: RibRow) -> bytes:
    return b"" if row.path_id is None else wire.path_id(row.path_id)


def test_mutations_reach_every_outcome() -> None:
    """The test above would be worth little if all its messages ended alike."""
    chance = random.Random(7)
    outcomes: Counter[str] = Counter()
    for _ in range(3000):
        engine, output = _engine()
        engine.updates(1, mutated(chance.choice(SEEDS), chance))
        if output.resets:
            outcomes["reset"] += 1
            continue
        error = engine.sessions[1].last_error
        for outcome in ("taken as withdrawn", "discarded", "skipped"):
            outcomes[outcome] += outcome in error
        outcomes["accepted"] += not error
    assert all(
        outcomes[outcome] > 15
        for outcome in ("reset", "taken as withdrawn", "discarded", "skipped", "accepted")
    ), outcomes


def test_a_defect_costs_the_session_that_met_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, output = _engine()
    engine.updates(1, SEEDS[0])
    output.take(2)
    monkeypatch.setattr(intake, "parse", lambda *_: 1 // 0)
    engine.updates(1, SEEDS[1])
    assert [(s, c, sub) for s, c, sub, _ in output.resets] == [(1, 3, 0)]
    assert sorted(engine.sessions) == [2, 3]
    assert [update.withdrawn for update in output.updates(2)] == [[_nlris(VPNV4)[0]]]
    check(engine)


def test_flapping_before_a_peer_that_never_reads_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 4096)
    engine, output = _engine()
    for peer in (2, 3):
        engine.written(peer, engine.sessions[peer].sent_octets)
    deaf = engine.sessions[2]
    targets = wire.targets(TARGETS[VPNV4])
    for turn in range(200):
        nlris = [wire.vpnv4(10, bytes((10, item)), label=16 + turn) for item in range(50)]
        engine.updates(1, wire.update(wire.reach(VPNV4, *nlris), wire.BASIC, targets))
        if turn % 2:
            engine.updates(1, wire.update(wire.unreach(VPNV4, *nlris)))
        engine.refresh(2, VPNV4)
    assert len(output.sent[2]) < 4 * 4096
    assert deaf.waiting <= 50 + 2 * len(FAMILIES)
    output.take(2)
    engine.written(2, deaf.sent_octets)
    assert not deaf.waiting


def test_a_route_that_came_and_went_unseen_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 1)
    engine, output = _engine()
    nlri = wire.vpnv4(10, b"\x0a\x01")
    announce = wire.update(wire.reach(VPNV4, nlri), wire.BASIC, wire.targets(TARGETS[VPNV4]))
    engine.written(3, 0)
    output.take(2)
    engine.updates(1, announce)
    assert engine.sessions[2].backlog_size == 1
    engine.updates(1, wire.update(wire.unreach(VPNV4, nlri)))
    assert engine.sessions[2].backlog_size == 0
    assert 2 not in output.sent
