"""Writing path attributes for each kind of peer."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing import wire
from tests.routing.wire import attribute
from vpnctl.model import RouteTarget
from vpnctl.routing import rendering
from vpnctl.routing.attributes import Origin, parse
from vpnctl.routing.rendering import Kind, render

INTERNAL_ORIGIN = Origin(False, True, wire.LOCAL_ASN, wire.ROUTER_ID, b"\x0a\0\0\1")
EXTERNAL_ORIGIN = replace(INTERNAL_ORIGIN, external=True)
INTERNAL, EXTERNAL = Kind(False, True, 4096), Kind(True, True, 4096)
OLD = Kind(False, False, 4096)
TARGET = RouteTarget.parse("65000:7").octets
LOCAL_PREF = attribute(0x40, 5, struct.pack("!I", 100))


def written(raw: list[bytes], kind: Kind, origin: Origin = INTERNAL_ORIGIN) -> dict[int, bytes]:
    """Attributes as sent with one target, by code; ascending, as RFC 4271 section 5 wants."""
    before, after = render(parse(raw, origin), kind).around(8)
    octets = before + TARGET + after
    update = wire.decode(b"\0\0" + struct.pack("!H", len(octets)) + octets)
    assert list(update.attributes) == sorted(update.attributes)
    return {
        code: attribute(flags, code, value) for code, (flags, value) in update.attributes.items()
    }


def path(*asns: int) -> bytes:
    return attribute(0x40, 2, wire.as_path(*asns))


def test_reflection() -> None:
    found = written([wire.ORIGIN, path(), LOCAL_PREF], INTERNAL)
    assert found == {
        1: wire.ORIGIN,
        2: path(),
        5: LOCAL_PREF,
        9: attribute(0x80, 9, b"\x0a\0\0\1"),
        10: attribute(0x80, 10, wire.ROUTER_ID),
        16: attribute(0xC0, 16, TARGET),
    }


def test_reflection_of_a_reflected_route() -> None:
    raw = [
        wire.ORIGIN,
        path(),
        LOCAL_PREF,
        attribute(0x80, 9, b"orig"),
        attribute(0x80, 10, b"hop1"),
    ]
    found = written(raw, INTERNAL)
    assert found[9] == attribute(0x80, 9, b"orig")
    assert found[10] == attribute(0x80, 10, wire.ROUTER_ID + b"hop1")


def test_internal_to_external() -> None:
    raw = [
        wire.ORIGIN,
        path(64512),
        attribute(0x80, 4, bytes(4)),
        LOCAL_PREF,
        attribute(0x80, 9, b"orig"),
        attribute(0x80, 10, b"hop1"),
    ]
    found = written(raw, EXTERNAL)
    assert sorted(found) == [1, 2, 16]
    assert found[2] == path(wire.LOCAL_ASN, 64512)


def test_our_own_med_goes_to_an_external_peer() -> None:
    med = attribute(0x80, 4, b"\0\0\0\7")
    assert written([wire.ORIGIN, path(), med], EXTERNAL)[4] == med


def test_external_to_internal() -> None:
    med = attribute(0x80, 4, b"\0\0\0\7")
    found = written([wire.ORIGIN, path(65002), med], INTERNAL, EXTERNAL_ORIGIN)
    assert sorted(found) == [1, 2, 4, 5, 16]
    assert found[2] == path(65002)
    assert found[5] == LOCAL_PREF


def test_external_to_external_loses_the_med() -> None:
    med = attribute(0x80, 4, b"\0\0\0\7")
    found = written([wire.ORIGIN, path(65002), med], EXTERNAL, EXTERNAL_ORIGIN)
    assert sorted(found) == [1, 2, 16]
    assert found[2] == path(wire.LOCAL_ASN, 65002)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", wire.as_path(wire.LOCAL_ASN)),
        (wire.as_path(64512), wire.as_path(wire.LOCAL_ASN, 64512)),
        (b"\1\1\0\0\xfc\0", wire.as_path(wire.LOCAL_ASN) + b"\1\1\0\0\xfc\0"),
        (wire.as_path(*[64512] * 255), wire.as_path(wire.LOCAL_ASN) + wire.as_path(*[64512] * 255)),
    ],
)
def test_prepending(before: bytes, after: bytes) -> None:
    found = written([wire.ORIGIN, attribute(0x40, 2, before)], EXTERNAL)
    assert found[2] == attribute(0x40, 2, after)


def test_non_transitive_communities_stay_at_home() -> None:
    here, there = bytes.fromhex("4300000000000007"), bytes.fromhex("030c000000000008")
    raw = [wire.ORIGIN, path(), attribute(0xE0, 16, TARGET + here + there)]
    assert written(raw, EXTERNAL)[16] == attribute(0xE0, 16, TARGET + there)
    assert written(raw, INTERNAL)[16] == attribute(0xE0, 16, TARGET + here + there)


def test_two_octet_peers() -> None:
    aggregator = attribute(0xC0, 7, struct.pack("!I", 70000) + b"\x0a\0\0\1")
    found = written([wire.ORIGIN, path(64512, 70000), LOCAL_PREF, aggregator], OLD)
    assert found[2] == attribute(0x40, 2, wire.as_path(64512, 23456, width=2))
    assert found[7] == attribute(0xC0, 7, struct.pack("!H", 23456) + b"\x0a\0\0\1")
    assert found[17] == attribute(0xC0, 17, wire.as_path(64512, 70000))
    assert found[18] == attribute(0xC0, 18, struct.pack("!I", 70000) + b"\x0a\0\0\1")


def test_two_octet_peers_need_no_companions_for_small_numbers() -> None:
    aggregator = attribute(0xC0, 7, struct.pack("!I", 64513) + b"\x0a\0\0\1")
    found = written([wire.ORIGIN, path(64512), LOCAL_PREF, aggregator], OLD)
    assert sorted(found) == [1, 2, 5, 7, 9, 10, 16]
    assert found[7] == attribute(0xC0, 7, struct.pack("!H", 64513) + b"\x0a\0\0\1")


def test_the_as4_companions_round_trip() -> None:
    aggregator = attribute(0xC0, 7, struct.pack("!I", 70000) + b"\x0a\0\0\1")
    raw = [wire.ORIGIN, path(64512, 70000, 64513), LOCAL_PREF, aggregator]
    old_origin = replace(INTERNAL_ORIGIN, asn4=False)
    again = parse(list(written(raw, OLD).values()), old_origin)
    assert again.as_path == wire.as_path(64512, 70000, 64513)
    assert again.value(7) == struct.pack("!I", 70000) + b"\x0a\0\0\1"


def test_many_targets_need_a_length_of_two_octets() -> None:
    attributes = parse([wire.ORIGIN, path(), LOCAL_PREF], INTERNAL_ORIGIN)
    before, after = render(attributes, INTERNAL).around(8 * 40)
    octets = before + TARGET * 40 + after
    update = wire.decode(b"\0\0" + struct.pack("!H", len(octets)) + octets)
    assert update.targets == (TARGET,) * 40


_SOME = st.lists(
    st.sampled_from(
        [
            attribute(0x80, 4, b"\0\0\0\7"),
            attribute(0x40, 5, struct.pack("!I", 200)),
            attribute(0x40, 6, b""),
            attribute(0xC0, 8, b"\xff\xff\0\1"),
            attribute(0x80, 9, b"orig"),
            attribute(0x80, 10, b"hop1"),
            attribute(0xC0, 13, b"x"),
            attribute(0xC0, 16, TARGET),
            attribute(0xC0, 32, bytes(12)),
            attribute(0xC0, 99, b"x"),
        ]
    ),
    unique=True,
)


@given(_SOME)
def test_the_short_way_of_reflecting_equals_the_long_one(some: list[bytes]) -> None:
    attributes = parse([wire.ORIGIN, path(64512), *some], INTERNAL_ORIGIN)
    short = render(attributes, INTERNAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "_reflected", lambda _: None)
        assert render(attributes, INTERNAL) == short
