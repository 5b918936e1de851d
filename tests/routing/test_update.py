"""UPDATE framing: what ends the session, what only its routes, and packing many into few."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing import wire
from tests.routing.wire import attribute
from vpnctl.model import EVPN, VPLS, VPNV4, VPNV6, Family
from vpnctl.routing import update
from vpnctl.routing.update import SessionResetError, parse

NLRI = wire.vpnv4(1, b"\x0a")
REACH = wire.reach(VPNV4, NLRI)
UNREACH = wire.unreach(VPNV4, NLRI)


def body(*attributes: bytes, withdrawn: bytes = b"", nlri: bytes = b"") -> bytes:
    joined = b"".join(attributes)
    head = struct.pack("!H", len(withdrawn)) + withdrawn + struct.pack("!H", len(joined))
    return head + joined + nlri


def test_the_parts() -> None:
    octets = body(wire.ORIGIN, REACH, wire.LOCAL_PREF, UNREACH)
    found = parse(octets)
    assert found.reach == (VPNV4.octets, wire.NEXT_HOP[VPNV4], NLRI)
    assert found.unreach == (VPNV4.octets, NLRI)
    assert found.attributes == [wire.ORIGIN, wire.LOCAL_PREF]
    assert octets[slice(*found.nlri_at)] == NLRI
    assert found.announces
    assert not found.malformed


def test_extended_length() -> None:
    found = parse(body(attribute(0x90, 14, REACH[3:]), attribute(0x50, 1, b"\0")))
    assert found.reach == (VPNV4.octets, wire.NEXT_HOP[VPNV4], NLRI)
    assert found.attributes == [b"\x50\1\0\1\0"]


def test_ipv4_routes_are_passed_over() -> None:
    found = parse(body(wire.BASIC, REACH, withdrawn=b"\x08\x0a", nlri=b"\x08\x0b"))
    assert found.reach is not None


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        pytest.param(b"\0\0\0", (3, 1), id="too short"),
        pytest.param(b"\0\5\0\0", (3, 1), id="withdrawn routes beyond the message"),
        pytest.param(b"\0\0\0\1", (3, 1), id="attributes beyond the message"),
        pytest.param(body(REACH, REACH), (3, 1), id="two MP_REACH_NLRI"),
        pytest.param(body(UNREACH, UNREACH), (3, 1), id="two MP_UNREACH_NLRI"),
        pytest.param(body(attribute(0x80, 14, b"\0\1\x80\0")), (3, 9), id="short MP_REACH_NLRI"),
        pytest.param(body(attribute(0x80, 14, b"\0\1\x80\x0c\0")), (3, 9), id="next hop over"),
        pytest.param(body(attribute(0x80, 15, b"\0\1")), (3, 9), id="short MP_UNREACH_NLRI"),
        pytest.param(body(REACH[:-1]), (3, 1), id="MP_REACH_NLRI runs over"),
        pytest.param(body(REACH, UNREACH[:-1]), (3, 1), id="MP_UNREACH_NLRI runs over"),
        pytest.param(body(b"\x40\1\2\0"), (3, 1), id="nothing but an overrun (5.2)"),
        pytest.param(body(UNREACH, b"\x40\1\2\0"), (3, 1), id="overrun beside withdrawals (5.2)"),
        pytest.param(body(UNREACH, b"\x40"), (3, 1), id="a header cut beside withdrawals"),
    ],
)
def test_what_ends_the_session(octets: bytes, code: tuple[int, int]) -> None:
    with pytest.raises(SessionResetError) as caught:
        parse(octets)
    assert (caught.value.code, caught.value.subcode) == code
    assert caught.value.message


@pytest.mark.parametrize(
    ("family", "size"),
    [(VPNV4, 4), (VPNV4, 16), (VPNV6, 12), (VPNV6, 16), (VPLS, 12), (EVPN, 24), (EVPN, 0)],
)
def test_a_next_hop_of_another_length_ends_the_session(family: Family, size: int) -> None:
    with pytest.raises(SessionResetError, match="next hop"):
        parse(body(wire.reach(family, NLRI, next_hop=bytes(size))))


@pytest.mark.parametrize(
    ("family", "size"),
    [(VPNV4, 12), (VPNV4, 24), (VPNV4, 48), (VPNV6, 24), (VPNV6, 48), (VPLS, 4), (VPLS, 16),
     (EVPN, 4), (EVPN, 16)],
)  # fmt: skip
def test_legal_next_hops(family: Family, size: int) -> None:
    found = parse(body(wire.reach(family, NLRI, next_hop=bytes(size))))
    assert found.reach == (family.octets, bytes(size), NLRI)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(body(REACH, b"\x40\1\2\0"), id="an attribute over (section 4)"),
        pytest.param(body(REACH, b"\x40\1"), id="a header over"),
        pytest.param(body(b"\xc0" + REACH[1:]), id="flags of MP_REACH_NLRI"),
        pytest.param(body(REACH, b"\xc0" + UNREACH[1:]), id="flags of MP_UNREACH_NLRI"),
    ],
)
def test_what_costs_the_routes_only(octets: bytes) -> None:
    found = parse(octets)
    assert found.malformed
    assert found.reach is not None


def test_wrong_flags_of_a_lone_withdrawal_change_nothing() -> None:
    assert parse(body(b"\xc0" + UNREACH[1:])).unreach == (VPNV4.octets, NLRI)


def test_another_family_is_not_there_but_announces() -> None:
    ipv6 = attribute(0x80, 14, b"\0\2\1\x10" + bytes(16) + b"\0" + b"\x10\x20\x01")
    found = parse(body(ipv6, wire.BASIC))
    assert found.reach is None
    assert found.announces


@pytest.mark.parametrize("family", [VPNV4, VPNV6, VPLS, EVPN])
def test_end_of_rib(family: Family) -> None:
    assert update.end_of_rib(family) == wire.update(wire.unreach(family))


def test_route_refresh() -> None:
    [(kind, octets)] = wire.messages(update.route_refresh(EVPN, update.END_OF_REFRESH))
    assert (kind, octets) == (5, b"\0\x19\2\x46")


def test_announcing() -> None:
    head = update.announcing(VPNV4.octets, wire.NEXT_HOP[VPNV4], NLRI, len(wire.BASIC))
    [(kind, octets)] = wire.messages(head + wire.BASIC)
    found = wire.decode(octets)
    assert kind == 2
    assert (found.family, found.next_hop) == (VPNV4, wire.NEXT_HOP[VPNV4])
    assert found.announced == [NLRI]
    assert sorted(found.attributes) == [1, 2, 5]


_ITEMS = st.lists(st.binary(min_size=1, max_size=40), max_size=40)


@given(_ITEMS, st.integers(1, 100))
def test_chunks(items: list[bytes], room: int) -> None:
    fields = list(update.chunks(items, room))
    assert b"".join(fields) == b"".join(items)
    assert all(len(field) <= room or field in items for field in fields)
    # Each field is full: the first item of the next one did not fit any more.
    at = 0
    for field in fields[:-1]:
        taken = b""
        while taken != field:
            taken += items[at]
            at += 1
        assert len(field) + len(items[at]) > room


@pytest.mark.parametrize("size", [4096, 65535])
def test_withdrawals_are_split(size: int) -> None:
    nlris = [wire.vpnv4(1, struct.pack("!I", item)) for item in range(9000)]
    found = list(update.withdraw(VPNV4, nlris, size))
    assert all(len(message) <= size for message in found)
    assert len(found) == -(-len(nlris) // ((size - 30) // len(nlris[0])))
    again = [
        wire.decode(octets).withdrawn for message in found for _, octets in wire.messages(message)
    ]
    assert [nlri for withdrawn in again for nlri in withdrawn] == nlris
