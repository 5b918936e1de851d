"""A hostile PE of E2 tries to put a route into E1's VRFs, to change one there, or to see one."""

from __future__ import annotations

import contextlib
import struct

import pytest

from tests.attack.field import HOSTILE_TARGET, SHARED_IMPORTS, Field, announce
from tests.routing import wire
from tests.support.rawbgp import message
from vpnctl.model import EVPN, VPLS, VPNV4, Family, RouteTarget

pytestmark = pytest.mark.daemon

OWN = RouteTarget.parse("65000:1200").octets
FOREIGN = RouteTarget.parse("65000:1101").octets
BEST = wire.ORIGIN + wire.EMPTY_AS_PATH + wire.attribute(0x40, 5, b"\xff" * 4)
#: MAC mobility with the highest sequence number there is (RFC 7432 section 7.7).
MOBILITY = bytes.fromhex("06000000ffffffff")
MINE = wire.vpnv4(1200, b"\x0a\x63\1")
THEIRS: dict[Family, list[bytes]] = {
    VPNV4: [wire.vpnv4(1100, b"\x0a\1\1", label=99)],
    EVPN: [wire.evpn_mac(2100, b"\2\0\0\0\0\1", label=99, address=b"\x0a\0\0\1")],
    VPLS: [wire.vpls(3100, 1, label=99)],
}


def _with(*communities: bytes, more: bytes = b"", flags: int = 0xC0) -> bytes:
    value = wire.attribute(flags, 16, b"".join(communities))
    return wire.update(wire.reach(VPNV4, MINE), wire.BASIC, value, more)


FORGED_TARGETS = {
    "E1's target": _with(FOREIGN),
    "E1's target between own ones": _with(OWN, FOREIGN, OWN),
    "as a four-octet AS": _with(OWN, struct.pack("!BBIH", 2, 2, 65000, 1101)),
    "as an IPv4 address": _with(OWN, struct.pack("!BBIH", 1, 2, 65000, 1101)),
    "not transitive": _with(OWN, b"\x40" + FOREIGN[1:], b"\x42\x02\0\0\xfd\xe8\4\x4d"),
    "of an experimental type": _with(OWN, b"\x80" + FOREIGN[1:], b"\xc0" + FOREIGN[1:]),
    "in IPv6 communities": _with(
        OWN, more=wire.attribute(0xC0, 25, b"\0\2" + bytes(12) + FOREIGN[2:])
    ),
    "in ATTR_SET": _with(
        OWN, more=wire.attribute(0xC0, 128, bytes(4) + wire.targets("65000:1101"))
    ),
    "in large communities": _with(
        OWN, more=wire.attribute(0xC0, 32, struct.pack("!III", 65000, 2, 1101))
    ),
    "in a second attribute": _with(OWN, more=wire.targets("65000:1101")),
    "in a first attribute": _with(FOREIGN, more=wire.attribute(0xC0, 16, OWN)),
    "with partial bit and unused flags": _with(OWN, FOREIGN, flags=0xEF & ~0x10),
}


def _attack(field: Field, *updates: bytes) -> None:
    """E1's PEs hold afterwards what they held before; the shared one hears E2 for E2 only."""
    before = {name: field.held(name) for name in ("pe-1", "pe-2", "pe-s")}
    seen = field.held("pe-x")
    for octets in updates:
        field.hostile.send(octets)
    field.converge("pe-x")
    field.converge("pe-1")
    field.converge("pe-s")
    for name in ("pe-1", "pe-2"):
        assert field.held(name) == before[name]
    now = field.held("pe-s")
    assert {key: now.get(key) for key in before["pe-s"]} == before["pe-s"]
    for key in now.keys() - before["pe-s"].keys():
        assert set(now[key][0]) <= SHARED_IMPORTS
    assert field.held("pe-x") == seen
    for family, nlris in THEIRS.items():
        field.hostile.send(wire.update(wire.unreach(family, *nlris)))
    field.hostile.send(wire.update(wire.unreach(VPNV4, MINE)))
    field.converge("pe-x")
    assert field.held("pe-s") == before["pe-s"]


@pytest.mark.parametrize("octets", FORGED_TARGETS.values(), ids=FORGED_TARGETS)
def test_forged_target(field: Field, octets: bytes) -> None:
    _attack(field, octets)


@pytest.mark.parametrize("family", [VPNV4, EVPN, VPLS], ids=str)
def test_e1_nlri_with_better_attributes(field: Field, family: Family) -> None:
    own = RouteTarget.parse(HOSTILE_TARGET[family]).octets
    communities = wire.attribute(0xC0, 16, own + MOBILITY)
    _attack(field, wire.update(wire.reach(family, *THEIRS[family]), BEST, communities))


@pytest.mark.parametrize("family", [VPNV4, EVPN, VPLS], ids=str)
def test_withdrawal_of_e1_nlri(field: Field, family: Family) -> None:
    _attack(field, wire.update(wire.unreach(family, *THEIRS[family])))


def test_replay_of_what_others_said_and_heard(field: Field) -> None:
    said = [announce(family, nlris, HOSTILE_TARGET[family]) for family, nlris in THEIRS.items()]
    said += [
        announce(VPNV4, [wire.vpnv4(1100, b"\x0a\1\1")], "65000:1100"),
        announce(VPLS, [wire.vpls(3100, 1)], "65000:3100"),
    ]
    # Octet for octet what a PE of E1 was told, route targets and all.
    heard = [octets for octets in field.pes["pe-2"].updates if len(octets) > 40]
    assert heard
    _attack(field, *said, *heard)


def test_mac_mobility_that_jumps(field: Field) -> None:
    own = RouteTarget.parse(HOSTILE_TARGET[EVPN]).octets
    foreign = RouteTarget.parse("65000:2100").octets
    jumps = (0, 1, 1 << 31, (1 << 32) - 1, 0, (1 << 32) - 2)
    _attack(
        field,
        *(
            wire.update(
                wire.reach(EVPN, *THEIRS[EVPN]),
                BEST,
                wire.attribute(0xC0, 16, target + struct.pack("!HBBI", 0x0600, sticky, 0, jump)),
            )
            for target in (own, foreign)
            for sticky in (0, 1)
            for jump in jumps
        ),
    )


def test_originator_and_cluster_list_of_others(field: Field) -> None:
    loop = wire.attribute(0x80, 9, bytes((10, 255, 1, 2)))
    loop += wire.attribute(0x80, 10, bytes((10, 255, 0, 1)))
    _attack(field, announce(VPNV4, THEIRS[VPNV4], "65000:1200", more=loop))


def test_evpn_of_unknown_types_under_e1_distinguisher(field: Field) -> None:
    types = [bytes((kind, 12)) + wire.rd(2100) + b"abcd" for kind in (0, 12, 255)]
    _attack(field, announce(EVPN, types, "65000:2100", "65000:2101"))


def test_routes_of_a_family_that_nobody_negotiated(field: Field) -> None:
    unicast = wire.attribute(0x80, 14, b"\0\1\1\4\x0a\0\0\1\0\x18\x0a\1\1")
    _attack(field, wire.update(unicast, wire.BASIC, wire.targets("65000:1101")))


def test_route_refresh_shows_nothing_of_e1(field: Field) -> None:
    families = ((1, 128), (2, 128), (25, 65), (25, 70), (1, 1), (1, 132), (99, 99))
    _attack(
        field,
        *(
            message(5, struct.pack("!HBB", afi, subtype, safi))
            for afi, safi in families
            for subtype in (0, 1, 2, 255)
        ),
    )


def test_nlri_of_one_family_in_another_costs_the_own_session_only(field: Field) -> None:
    before = {name: field.held(name) for name in ("pe-1", "pe-2", "pe-s")}
    field.hostile.send(announce(EVPN, [MINE], "65000:2200"))
    assert field.hostile.wait_closed() == (3, 10)
    field.connect("pe-x")
    for name in ("pe-x", "pe-1", "pe-s"):
        field.converge(name)
    assert {name: field.held(name) for name in before} == before


@pytest.mark.parametrize("order", ["ou", "u", "ouk"])
def test_update_before_the_session_is_established(field: Field, order: str) -> None:
    before = len(field.pes["pe-s"].updates)
    field.hostile.close()
    octets = {"o": field.hostile.open, "u": announce(VPNV4, [MINE], "65000:1200"), "k": message(4)}
    with field.raw("pe-x") as early:
        early.connect(quiet=True)
        early.sock.sendall(b"".join(octets[each] for each in order))
        with contextlib.suppress(ConnectionResetError):  # closed with octets of ours unread
            while early.sock.recv(65536):
                pass
    assert not any(MINE in update for update in field.pes["pe-s"].updates[before:])
    field.connect("pe-x")
    field.converge("pe-x")


def test_second_session_does_not_displace_the_first(field: Field) -> None:
    with field.raw("pe-1") as second:
        second.connect()
        assert second.wait_closed() == (6, 7)
    field.converge("pe-1")
