"""NLRI: where one ends, what identifies it, how it is written."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing import wire
from vpnctl.model import EVPN, FAMILIES, VPLS, VPNV4, VPNV6, Family
from vpnctl.routing.nlri import (
    KEY_OF,
    MalformedNlriError,
    NlriFramingError,
    distinguisher,
    from_text,
    split,
    to_text,
)

MAC = b"\2\0\0\0\0\1"


def key(family: Family, nlri: bytes) -> bytes:
    return KEY_OF[family](nlri)


@pytest.mark.parametrize(
    ("family", "one", "again"),
    [
        pytest.param(
            VPNV4, wire.vpnv4(1, b"\x0a", 16), wire.vpnv4(1, b"\x0a", 17), id="vpnv4 label"
        ),
        pytest.param(
            VPNV4,
            wire.vpnv4(1, b"\x0a"),
            b"\x60\x80\x00\x00" + wire.rd(1) + b"\x0a",
            id="vpnv4 withdrawal (RFC 8277 2.4)",
        ),
        pytest.param(
            VPNV4,
            wire.vpnv4(1, b"\x0a"),
            b"\x60\x00\x00\x10" + wire.rd(1) + b"\x0a",
            id="bottom of stack is ignored (RFC 8277 2.2)",
        ),
        pytest.param(
            VPNV4,
            b"\x5c\0\1\1" + wire.rd(1) + b"\xa0",
            b"\x5c\0\1\1" + wire.rd(1) + b"\xaf",
            id="trailing bits",
        ),
        pytest.param(VPLS, wire.vpls(1, 7, 16), wire.vpls(1, 7, 800), id="vpls label base"),
        pytest.param(EVPN, wire.evpn_mac(1, MAC, 16), wire.evpn_mac(1, MAC, 17), id="mac label"),
        pytest.param(
            EVPN,
            wire.evpn_mac(1, MAC, 16),
            wire.evpn_mac(1, MAC, 16)[:10] + b"esi" + wire.evpn_mac(1, MAC, 16)[13:],
            id="mac ESI",
        ),
        pytest.param(
            EVPN,
            wire.evpn_mac(1, MAC),
            b"\2\x24" + wire.evpn_mac(1, MAC)[2:] + b"\0\0\1",
            id="mac with two labels",
        ),
        pytest.param(
            EVPN,
            wire.evpn_prefix(1, 24, b"\x0a\0\0\0", 16),
            wire.evpn_prefix(1, 24, b"\x0a\0\0\0", 17),
            id="prefix label",
        ),
    ],
)
def test_not_part_of_the_key(family: Family, one: bytes, again: bytes) -> None:
    assert one != again
    assert key(family, one) == key(family, again)


@pytest.mark.parametrize(
    ("family", "nlris"),
    [
        (VPNV4, [wire.vpnv4(1, b"\x0a"), wire.vpnv4(2, b"\x0a"), wire.vpnv4(1, b"\x0a\0")]),
        (VPLS, [wire.vpls(1, 1), wire.vpls(1, 2), wire.vpls(2, 1)]),
        (
            EVPN,
            [
                wire.evpn_mac(1, MAC),
                wire.evpn_mac(2, MAC),
                wire.evpn_mac(1, MAC[::-1]),
                wire.evpn_mac(1, MAC, address=b"\x0a\0\0\1"),
                wire.evpn_mac(1, MAC, address=bytes(16)),
                wire.evpn_multicast(1, b"\x0a\0\0\1"),
                wire.evpn_multicast(1, b"\x0a\0\0\2"),
                wire.evpn_prefix(1, 24, b"\x0a\0\0\0"),
                wire.evpn_prefix(1, 16, b"\x0a\0\0\0"),
                b"\x01\x19" + wire.rd(1) + bytes(17),
                b"\x01\x19" + wire.rd(1) + bytes(9) + b"\1" + bytes(7),
                b"\x04\x17" + wire.rd(1) + bytes(10) + b"\x20\x0a\0\0\1",
                b"\x63\x03abc",
                b"\x63\x03abd",
            ],
        ),
    ],
)
def test_different_routes_have_different_keys(family: Family, nlris: list[bytes]) -> None:
    assert len({key(family, nlri) for nlri in nlris}) == len(nlris)
    assert split(family, b"".join(nlris)) == nlris


def test_bgp_ad_and_vpls_do_not_meet() -> None:
    discovery = b"\0\x0c" + wire.rd(1) + b"\0\1\0\1"
    assert key(VPLS, discovery) != key(VPLS, wire.vpls(1, 1))
    assert to_text(VPLS, key(VPLS, discovery)) == "65000:1:pe0.1.0.1"


@pytest.mark.parametrize(
    ("family", "nlri"),
    [
        (VPLS, b"\0\x10" + bytes(16)),
        (VPLS, b"\0\0"),
        (EVPN, b"\2\x20" + bytes(32)),
        (EVPN, b"\2\x21" + bytes(22) + b"\x31" + bytes(10)),
        (EVPN, b"\1\x18" + bytes(24)),
        (EVPN, b"\3\x11" + bytes(12) + b"\x21" + bytes(4)),
        (EVPN, b"\5\x22" + bytes(22) + b"\x21" + bytes(11)),
        (EVPN, b"\4\0"),
    ],
)
def test_an_nlri_of_an_impossible_length_is_skipped(family: Family, nlri: bytes) -> None:
    assert split(family, nlri) == [nlri]
    with pytest.raises(MalformedNlriError):
        key(family, nlri)


@pytest.mark.parametrize(
    ("family", "bits"), [(VPNV4, 0), (VPNV4, 87), (VPNV4, 121), (VPNV6, 80), (VPNV6, 217)]
)
def test_a_vpn_prefix_of_impossible_length_ends_the_session(family: Family, bits: int) -> None:
    with pytest.raises(NlriFramingError):
        key(family, bytes((bits,)) + bytes(-(-bits // 8)))


@given(st.sampled_from(list(FAMILIES.values())), st.binary(max_size=60))
def test_any_octets_have_a_key_or_are_malformed(family: Family, field: bytes) -> None:
    try:
        nlris = split(family, field)
    except NlriFramingError:
        return
    assert b"".join(nlris) == field
    for nlri in nlris:
        try:
            found = key(family, nlri)
        except (MalformedNlriError, NlriFramingError):
            continue
        assert isinstance(to_text(family, found), str)
        distinguisher(family, found)


@pytest.mark.parametrize(
    ("family", "field", "over"),
    [(VPNV4, b"\x70", 14), (VPLS, b"\0\x11" + bytes(16), 1), (VPLS, b"\0", 1), (EVPN, b"\2", 1)],
)
def test_a_field_that_does_not_add_up(family: Family, field: bytes, over: int) -> None:
    with pytest.raises(NlriFramingError, match=f"runs {over} octets over"):
        split(family, field)


_RDS = st.integers(0, 2**32 - 1).map(wire.rd)
_MACS = st.binary(min_size=6, max_size=6)
_ADDRESSES = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))


@st.composite
def _nlris(draw: st.DrawFn) -> tuple[Family, bytes]:
    rd = draw(st.integers(0, 2**32 - 1))
    match draw(st.integers(0, 8)):
        case 0:
            return VPNV4, wire.vpnv4(rd, draw(st.binary(max_size=4)))
        case 1:
            return VPNV6, wire.vpnv6(rd, draw(st.binary(max_size=16)))
        case 2:
            return VPLS, wire.vpls(rd, draw(st.integers(0, 65535)))
        case 3:
            address = draw(st.one_of(st.just(b""), _ADDRESSES))
            return EVPN, wire.evpn_mac(rd, draw(_MACS), address=address)
        case 4:
            return EVPN, wire.evpn_multicast(rd, draw(_ADDRESSES))
        case 5:
            address = draw(_ADDRESSES)
            bits = draw(st.integers(0, 8 * len(address)))
            return EVPN, wire.evpn_prefix(rd, bits, address)
        case 6:
            return EVPN, b"\1\x19" + wire.rd(rd) + draw(st.binary(min_size=17, max_size=17))
        case 7:
            address = draw(_ADDRESSES)
            value = wire.rd(rd) + draw(st.binary(min_size=10, max_size=10))
            value += bytes((8 * len(address),)) + address
            return EVPN, bytes((4, len(value))) + value
        case _:
            value = draw(st.binary(max_size=30))
            return EVPN, bytes((draw(st.integers(6, 255)), len(value))) + value


@given(_nlris())
def test_text_round_trip(nlri: tuple[Family, bytes]) -> None:
    family, octets = nlri
    found = key(family, octets)
    assert from_text(to_text(family, found)) == (family, found)


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("65000:1:10.1.0.0/16", VPNV4),
        ("10.0.0.1:100:10.1.0.0/32", VPNV4),
        ("65000:1:2001:db8::/32", VPNV6),
        ("65000L:1:0.0.0.0/0", VPNV4),
        ("10.0.0.1:100:ve1@1", VPLS),
        ("evpn/2/10.0.0.1:100/0/00:11:22:33:44:55/10.1.0.5", EVPN),
        ("evpn/3/65000:1/0/10.0.0.1", EVPN),
        ("evpn/5/65000:1/0/10.1.0.0/16", EVPN),
    ],
)
def test_text_as_operators_write_it(text: str, family: Family) -> None:
    found, octets = from_text(text)
    assert found == family
    assert to_text(found, octets) == text


def test_the_block_offset_may_be_left_out() -> None:
    assert from_text("65000:1:ve7") == from_text("65000:1:ve7@1")


def test_host_bits_are_not_another_route() -> None:
    assert from_text("65000:1:10.1.3.9/23") == from_text("65000:1:10.1.2.0/23")


@pytest.mark.parametrize(
    "text",
    ["", "x", "65000:1", "65000:1:10.0.0.0", "65000:1:10.0.0.0/33", "1:2:ve", "1:2:ve70000",
     "evpn/", "evpn/2/1:2", "evpn/300/00", "evpn/7/zz", "70000:70000:10.0.0.0/8",
     "evpn/5/1:2/0/10.0.0.0/64", "evpn/2/1:2/0/0011/10.0.0.1", "evpn/2/1:2/0/00:11:22:33:44:55/"],
)  # fmt: skip
def test_what_is_no_nlri_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no NLRI: write"):
        from_text(text)


def test_the_distinguisher_of_every_kind() -> None:
    for family, nlri in (
        (VPNV4, wire.vpnv4(5, b"\x0a")),
        (VPNV6, wire.vpnv6(5, b"\x20")),
        (VPLS, wire.vpls(5, 1)),
        (EVPN, wire.evpn_mac(5, MAC)),
        (EVPN, wire.evpn_prefix(5, 8, ip_address("10.0.0.0").packed)),
        (EVPN, wire.evpn_multicast(5, b"\x0a\0\0\1")),
        (EVPN, b"\1\x19" + wire.rd(5) + bytes(17)),
    ):
        assert distinguisher(family, key(family, nlri)) == wire.rd(5)


@pytest.mark.parametrize("bits", [1, 7, 31, 33, 39, 129, 135])
def test_an_evpn_address_has_no_odd_length(bits: int) -> None:
    octets = 4 if 32 <= bits < 40 else 16 if bits >= 128 else 0
    nlri = bytearray(wire.evpn_mac(1, bytes(6), address=bytes(octets)))
    nlri[31] = bits
    with pytest.raises(MalformedNlriError):
        KEY_OF[EVPN](bytes(nlri))
