"""Route targets and distinguishers: text to octets and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.model import RouteDistinguisher, RouteTarget

WRITTEN = {
    "65000:100": "0002fde800000064",
    "0:4294967295": "00020000ffffffff",
    "65535:0": "0002ffff00000000",
    "10.0.0.1:100": "01020a0000010064",
    "65536:1": "0202000100000001",
    "4200000000:65535": "0202fa56ea00ffff",
    "65000L:100": "02020000fde80064",
}


@pytest.mark.parametrize(("text", "octets"), WRITTEN.items())
def test_a_route_target_is_encoded_by_type_and_read_back(text: str, octets: str) -> None:
    target = RouteTarget.parse(text)
    assert target.octets.hex() == octets
    assert str(target) == text


@pytest.mark.parametrize(("text", "octets"), WRITTEN.items())
def test_a_route_distinguisher_has_its_type_in_two_octets(text: str, octets: str) -> None:
    rd = RouteDistinguisher.parse(text)
    # RFC 4364 section 4.2: the type alone, where a route target has type and sub-type.
    assert rd.octets.hex() == f"00{octets[:2]}{octets[4:]}"
    assert str(rd) == text


def test_a_large_as_needs_no_mark_and_a_marked_one_reads_the_same() -> None:
    assert RouteTarget.parse("70000L:1") == RouteTarget.parse("70000:1")
    assert RouteTarget.parse("65000L:1") != RouteTarget.parse("65000:1")


def test_an_rd_of_unknown_type_is_shown_in_hexadecimal() -> None:
    assert str(RouteDistinguisher(bytes.fromhex("0007000102030405"))) == "type7:000102030405"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "write ASN:NUMBER or IPV4:NUMBER"),
        ("65000", "write ASN:NUMBER or IPV4:NUMBER"),
        ("65000:", "write ASN:NUMBER or IPV4:NUMBER"),
        ("65000:1:2", "write ASN:NUMBER or IPV4:NUMBER"),
        (" 65000:1", "write ASN:NUMBER or IPV4:NUMBER"),
        ("65000:1\n", "write ASN:NUMBER or IPV4:NUMBER"),
        ("٦٥:1", "write ASN:NUMBER or IPV4:NUMBER"),
        ("10.0.0:1", "10.0.0 is no IPv4 address"),
        ("10.0.0.256:1", "10.0.0.256 is no IPv4 address"),
        ("4294967296:1", "AS 4294967296 is above 4294967295"),
        ("65000:4294967296", "4294967296 is above 4294967295"),
        ("70000:65536", "65536 is above 65535"),
        ("10.0.0.1:65536", "65536 is above 65535"),
        ("65000L:65536", "65536 is above 65535"),
    ],
)
@pytest.mark.parametrize("kind", [RouteTarget, RouteDistinguisher])
def test_what_is_no_community_is_refused_with_the_reason(
    kind: type[RouteTarget | RouteDistinguisher], text: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=r"is no route (target|distinguisher)") as caught:
        kind.parse(text)
    assert str(caught.value).endswith(complaint)


@given(
    st.sampled_from([0, 1, 2]).flatmap(
        lambda kind: st.binary(min_size=6, max_size=6).map(lambda six: (kind, six))
    )
)
def test_every_value_survives_being_written_and_read(value: tuple[int, bytes]) -> None:
    kind, six = value
    target = RouteTarget(bytes((kind, 2)) + six)
    assert RouteTarget.parse(str(target)) == target
    rd = RouteDistinguisher(bytes((0, kind)) + six)
    assert RouteDistinguisher.parse(str(rd)) == rd


def test_non_transitive_bit_does_not_change_the_text() -> None:
    assert str(RouteTarget(bytes.fromhex("4002fde800000064"))) == "65000:100"
