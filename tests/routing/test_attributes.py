"""Reading path attributes: RFC 7606 section 7 row by row, RFC 6793, and what is taken out."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from tests.routing import wire
from tests.routing.wire import attribute
from vpnctl.model import RouteTarget
from vpnctl.routing import as_path as as_path_module
from vpnctl.routing import attributes as attributes_module
from vpnctl.routing.attributes import (
    AGGREGATOR,
    AS_PATH,
    Attributes,
    Origin,
    TreatAsWithdrawError,
    is_route_target,
    parse,
)

INTERNAL = Origin(False, True, wire.LOCAL_ASN, wire.ROUTER_ID, b"\x0a\0\0\1")
EXTERNAL = replace(INTERNAL, external=True)
OLD = replace(INTERNAL, asn4=False)

MANDATORY = [wire.ORIGIN, wire.EMPTY_AS_PATH]


def read(*attributes: bytes, origin: Origin = INTERNAL) -> Attributes:
    return parse([*MANDATORY, *attributes], origin)


def codes(found: Attributes) -> list[int]:
    return [octets[1] for octets in found.kept]


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param([attribute(0x40, 1, b"\0\0"), wire.EMPTY_AS_PATH], id="7.1 ORIGIN length"),
        pytest.param([attribute(0x40, 1, b"\3"), wire.EMPTY_AS_PATH], id="7.1 ORIGIN value"),
        pytest.param(
            [wire.ORIGIN, attribute(0x40, 2, b"\5\1\0\0\0\1")], id="7.2 AS_PATH segment type"
        ),
        pytest.param(
            [wire.ORIGIN, attribute(0x40, 2, b"\2\2\0\0\0\1")], id="7.2 AS_PATH segment overrun"
        ),
        pytest.param(
            [wire.ORIGIN, attribute(0x40, 2, b"\2\1\0\0\0\1\2")], id="7.2 AS_PATH segment underrun"
        ),
        pytest.param([wire.ORIGIN, attribute(0x40, 2, b"\2\0")], id="7.2 AS_PATH empty segment"),
        pytest.param([wire.ORIGIN, attribute(0x40, 2, wire.as_path(64512, 0))], id="RFC 7607 AS 0"),
        pytest.param([*MANDATORY, attribute(0x40, 3, b"\0\0\0")], id="7.3 NEXT_HOP"),
        pytest.param([*MANDATORY, attribute(0x80, 4, b"\0\0\0")], id="7.4 MULTI_EXIT_DISC"),
        pytest.param([*MANDATORY, attribute(0x40, 5, b"\0\0\0\0\0")], id="7.5 LOCAL_PREF"),
        pytest.param([*MANDATORY, attribute(0xC0, 8, b"\0\0\0\0\0")], id="7.8 COMMUNITIES"),
        pytest.param([*MANDATORY, attribute(0xC0, 8, b"")], id="7.8 COMMUNITIES, none"),
        pytest.param([*MANDATORY, attribute(0x80, 9, b"\0\0\0")], id="7.9 ORIGINATOR_ID"),
        pytest.param([*MANDATORY, attribute(0x80, 10, b"\0\0\0")], id="7.10 CLUSTER_LIST"),
        pytest.param([*MANDATORY, attribute(0x80, 10, b"")], id="7.10 CLUSTER_LIST, none"),
        pytest.param([*MANDATORY, attribute(0xC0, 16, bytes(9))], id="7.14 EXTENDED COMMUNITIES"),
        pytest.param([*MANDATORY, attribute(0xC0, 16, b"")], id="7.14 EXTENDED COMMUNITIES, none"),
        pytest.param(
            [*MANDATORY, attribute(0xC0, 25, bytes(8))], id="7.15 IPV6 EXTENDED COMMUNITIES"
        ),
        pytest.param([*MANDATORY, attribute(0xC0, 32, bytes(8))], id="RFC 8092 LARGE_COMMUNITIES"),
        pytest.param([*MANDATORY, attribute(0xC0, 22, bytes(4))], id="RFC 6514 PMSI_TUNNEL"),
        pytest.param([wire.EMPTY_AS_PATH], id="3 d no ORIGIN"),
        pytest.param([wire.ORIGIN], id="3 d no AS_PATH"),
        pytest.param([*MANDATORY, attribute(0x40, 99, b"")], id="RFC 4271 6.3 unknown well-known"),
    ],
)
def test_treated_as_withdraw(attributes: list[bytes]) -> None:
    with pytest.raises(TreatAsWithdrawError):
        parse(attributes, INTERNAL)


@pytest.mark.parametrize(
    "octets",
    [
        attribute(0xC0, 1, b"\0"),
        attribute(0x80, 2, b""),
        attribute(0xC0, 4, bytes(4)),
        attribute(0x40, 8, bytes(4)),
        attribute(0x80, 16, bytes(8)),
        attribute(0xC0, 9, bytes(4)),
    ],
)
def test_wrong_flags_are_treated_as_withdraw(octets: bytes) -> None:
    others = [each for each in MANDATORY if each[1] != octets[1]]
    with pytest.raises(TreatAsWithdrawError, match="flags"):
        parse([*others, octets], INTERNAL)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(attribute(0x40, 6, b"\0"), id="7.6 ATOMIC_AGGREGATE"),
        pytest.param(attribute(0xC0, 7, bytes(7)), id="7.7 AGGREGATOR"),
        pytest.param(attribute(0xC0, 7, bytes(6)), id="7.7 AGGREGATOR of two octets"),
        pytest.param(attribute(0xC0, 40, b"\0"), id="RFC 8669 PREFIX_SID"),
        pytest.param(attribute(0xC0, 17, b"\2\1"), id="RFC 6793 AS4_PATH"),
        pytest.param(attribute(0xC0, 18, bytes(7)), id="RFC 6793 AS4_AGGREGATOR"),
    ],
)
def test_attribute_discard(octets: bytes) -> None:
    found = read(octets)
    assert codes(found) == [1, 2]
    assert len(found.discarded) == 1


def test_internal_attributes_of_an_external_peer_are_discarded() -> None:
    # Whatever their length: sections 7.5, 7.9 and 7.10.
    spoiled = [attribute(0x40, 5, b"\0"), attribute(0x80, 9, b"\0"), attribute(0x80, 10, b"\0")]
    found = read(*spoiled, origin=EXTERNAL)
    assert codes(found) == [1, 2]
    assert len(found.discarded) == 3


def test_confederation_segments_of_an_external_peer_are_malformed() -> None:
    path = attribute(0x40, 2, b"\3\1" + struct.pack("!I", 64512))
    assert parse([wire.ORIGIN, path], INTERNAL).as_path_length == 0
    with pytest.raises(TreatAsWithdrawError, match="confederation"):
        parse([wire.ORIGIN, path], EXTERNAL)


def test_all_but_the_first_of_a_kind_are_discarded() -> None:
    found = read(attribute(0x80, 4, b"\0\0\0\1"), attribute(0x80, 4, b"\0\0\0\2"))
    assert found.med == 1
    assert found.discarded == ("a second attribute of type 4",)


def test_a_second_one_does_not_replace_a_discarded_first() -> None:
    found = read(attribute(0x40, 6, b"\0"), attribute(0x40, 6, b""))
    assert codes(found) == [1, 2]


def test_a_malformed_second_one_is_discarded_like_any_other() -> None:
    assert read(attribute(0x80, 4, b"\0\0\0\1"), attribute(0x80, 4, b"\0")).med == 1


def test_unknown_attributes() -> None:
    found = read(attribute(0xC0, 99, b"passes"), attribute(0x80, 98, b"does not"))
    assert found.kept[-1] == attribute(0xE0, 99, b"passes")
    assert codes(found) == [1, 2, 99]


def test_unused_flag_bits_are_not_passed_on() -> None:
    found = read(b"\x9f\x04\x00\x04\0\0\0\7")
    assert found.kept[-1] == attribute(0x80, 4, b"\0\0\0\7")


def test_attributes_are_kept_as_received_and_in_order() -> None:
    large, communities = attribute(0xE0, 32, bytes(12)), attribute(0xE0, 8, bytes(4))
    found = read(large, communities)
    assert found.kept == (wire.ORIGIN, wire.EMPTY_AS_PATH, communities, large)


def test_next_hop_beside_mp_reach_is_ignored() -> None:
    assert codes(read(attribute(0x40, 3, bytes(4)))) == [1, 2]


def test_route_targets_are_split_from_other_communities() -> None:
    encapsulation, site = bytes.fromhex("030c000000000008"), bytes.fromhex("0003fde800000001")
    texts = ("65000:1", "10.0.0.1:2", "4200000000:3")
    octets = [RouteTarget.parse(text).octets for text in texts]
    value = octets[0] + encapsulation + octets[1] + site + octets[2]
    found = read(attribute(0xE0, 16, value))
    assert found.targets == frozenset(octets)
    assert found.communities == encapsulation + site
    assert found.communities_flags == 0xE0


def test_what_may_make_a_vrf_import_is_a_route_target() -> None:
    assert all(is_route_target(bytes((kind, 2)) + bytes(6)) for kind in (0, 1, 2, 0x40, 0x41, 0x42))
    # Route origin, and the ES-Import target of RFC 7432 section 7.6.
    assert not any(is_route_target(bytes(pair) + bytes(6)) for pair in ((0, 3), (6, 2), (0x80, 2)))


def test_ipv6_route_targets_are_taken_out() -> None:
    target, other = bytes((0, 2)) + bytes(18), bytes((0, 3)) + bytes(18)
    assert read(attribute(0xC0, 25, target + other)).kept[-1] == attribute(0xC0, 25, other)
    assert codes(read(attribute(0xC0, 25, target))) == [1, 2]


@pytest.mark.parametrize(
    ("attributes", "loop"),
    [
        ([attribute(0x80, 9, b"\x0a\0\0\7")], ""),
        ([attribute(0x80, 9, wire.ROUTER_ID)], "ORIGINATOR_ID"),
        ([attribute(0x80, 10, b"\x0a\0\0\7" + wire.ROUTER_ID)], "CLUSTER_LIST"),
        ([attribute(0x80, 10, b"\0" + wire.ROUTER_ID + bytes(3))], ""),
    ],
)
def test_reflection_loops(attributes: list[bytes], loop: str) -> None:
    found = read(*attributes).loop
    assert loop in found
    assert bool(loop) is bool(found)


def test_as_loop() -> None:
    path = attribute(0x40, 2, b"\1\2" + struct.pack("!II", 64512, wire.LOCAL_ASN))
    assert "AS loop" in parse([wire.ORIGIN, path], INTERNAL).loop


# -- two-octet speakers (RFC 6793 section 4.2.3) ---------------------------------------------------


def old(path: bytes, *others: bytes) -> Attributes:
    return parse([wire.ORIGIN, attribute(0x40, 2, path), *others], OLD)


def numbers(found: Attributes) -> bytes:
    assert found.value(AS_PATH) == found.as_path
    return found.as_path


def test_the_as4_path_replaces_the_tail() -> None:
    as4 = attribute(0xC0, 17, wire.as_path(70000, 64514))
    found = old(wire.as_path(64512, 23456, 64514, width=2), as4)
    # RFC 6793 section 4.2.3: leading numbers of AS_PATH, then all of AS4_PATH.
    assert numbers(found) == wire.as_path(64512) + wire.as_path(70000, 64514)
    assert found.as_path_length == 3
    assert found.neighbor_as == 64512
    assert codes(found) == [1, 2]


def test_a_longer_as4_path_is_ignored() -> None:
    as4 = attribute(0xC0, 17, wire.as_path(70000, 64514))
    assert numbers(old(wire.as_path(23456, width=2), as4)) == wire.as_path(23456)


def test_a_malformed_as4_path_is_discarded() -> None:
    as4 = attribute(0xC0, 17, b"\2\2" + bytes(4))
    found = old(wire.as_path(23456, width=2), as4)
    assert numbers(found) == wire.as_path(23456)
    assert len(found.discarded) == 1


def test_the_aggregator_of_a_two_octet_speaker() -> None:
    aggregator = attribute(0xC0, 7, struct.pack("!H", 23456) + b"\x0a\0\0\1")
    as4 = attribute(0xC0, 18, struct.pack("!I", 70000) + b"\x0a\0\0\1")
    assert old(b"", aggregator, as4).value(AGGREGATOR) == struct.pack("!I", 70000) + b"\x0a\0\0\1"
    assert old(b"", aggregator).value(AGGREGATOR) == struct.pack("!I", 23456) + b"\x0a\0\0\1"


def test_another_aggregator_makes_the_as4_companions_stale() -> None:
    aggregator = attribute(0xC0, 7, struct.pack("!H", 64512) + b"\x0a\0\0\1")
    as4_aggregator = attribute(0xC0, 18, struct.pack("!I", 70000) + b"\x0a\0\0\1")
    as4_path = attribute(0xC0, 17, wire.as_path(70000))
    found = old(wire.as_path(23456, width=2), aggregator, as4_aggregator, as4_path)
    assert numbers(found) == wire.as_path(23456)
    assert found.value(AGGREGATOR) == struct.pack("!I", 64512) + b"\x0a\0\0\1"


def test_as4_companions_of_a_four_octet_speaker_do_not_pass() -> None:
    found = read(attribute(0xC0, 17, wire.as_path(70000)), attribute(0xC0, 18, bytes(8)))
    assert codes(found) == [1, 2]


@pytest.mark.parametrize(
    ("code", "value", "fits"),
    [
        (22, b"\x00\x06\x00\x00\x10\x0a\x00\x00\x01", True),
        (35, b"\x00\x00\xfd\xe8", True),
        (23, b"\x00\x08\x00\x02\xab\xcd", True),
        (40, b"\x01\x00\x07" + bytes(7), True),
        (22, b"\x00\xff\x00\x00\x10", False),
        (35, b"\x00\x00\xfd", False),
        (23, b"", None),
        (23, b"\x00\x08\x00\x05\xab", None),
        (40, b"\x01\x00\x09" + bytes(7), None),
        (40, b"\x05\x00\x01\x00", None),
    ],
)
def test_what_would_cost_a_router_its_session_goes_no_further(
    code: int, value: bytes, fits: bool | None
) -> None:
    """``fits``: kept; False: the route counts as withdrawn; None: the attribute is discarded."""
    octets = wire.attribute(0xC0, code, value)
    raw = [*MANDATORY, octets]
    if fits is False:
        with pytest.raises(TreatAsWithdrawError):
            parse(raw, INTERNAL)
        return
    parsed = parse(raw, INTERNAL)
    assert (octets in parsed.kept) is bool(fits)
    assert bool(parsed.discarded) is not bool(fits)


def test_long_values_are_not_remembered() -> None:
    """A hostile PE must not fill the memory with what it sends once."""
    long_path = attribute(0x50, AS_PATH, wire.as_path(*range(1, 200)))
    before = as_path_module._remembered.cache_info().currsize
    parse([wire.ORIGIN, long_path], INTERNAL)
    assert as_path_module._remembered.cache_info().currsize == before
    assert long_path not in attributes_module._IN_ORDER[False]
