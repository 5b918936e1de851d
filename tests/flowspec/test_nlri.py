"""Flows as octets and as text: the RFCs' own examples, and everything there and back."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.flowspec.draws import flows
from vpnctl.flowspec.components import (
    DESTINATION,
    DONT_FRAGMENT,
    EQUAL,
    FIRST_FRAGMENT,
    FRAGMENT,
    PORT,
    PROTOCOL,
    SOURCE,
    MalformedFlowError,
    Prefix,
    Term,
    Terms,
    decode,
    encode,
    prefix,
    spans,
)
from vpnctl.flowspec.nlri import end_of, flow_family, frame, from_text, key_of, make_key, to_text
from vpnctl.model import RouteDistinguisher
from vpnctl.model.family import FLOW4, FLOW6, FLOW_VPN4, FLOW_VPN6

RD = RouteDistinguisher.parse("10.0.0.1:100")
TO = prefix(DESTINATION, ip_network("192.0.2.0/24"))
FROM = prefix(SOURCE, ip_network("203.0.113.0/24"))


@pytest.mark.parametrize(
    ("flow", "octets"),
    [
        # RFC 8955 section 4.3.
        pytest.param(
            (TO, spans(PROTOCOL, [(6, 6)]), spans(PORT, [(25, 25)])),
            "0b 01 18 c00002 03 8106 04 8119",
            id="TCP port 25",
        ),
        pytest.param(
            (TO, FROM, spans(PORT, [(137, 139), (8080, 8080)])),
            "12 01 18 c00002 02 18 cb0071 04 0389 458b 911f90",
            id="a range or a port",
        ),
        pytest.param(
            (
                prefix(DESTINATION, ip_network("192.0.2.1/32")),
                Terms(FRAGMENT, (Term(0, DONT_FRAGMENT | FIRST_FRAGMENT),)),
            ),
            "09 01 20 c0000201 0c 8005",
            id="fragments",
        ),
    ],
)
def test_the_examples_of_rfc_8955(flow: tuple[Terms, ...], octets: str) -> None:
    nlri = bytes.fromhex(octets)
    assert frame(make_key(None, 4, flow)) == nlri
    assert decode(4, key_of(FLOW4, nlri)) == flow


def test_an_ipv6_prefix_has_an_offset() -> None:
    """RFC 8956 section 3.1: bits 64 to 104 of ::1234:5678:9a00:0."""
    flow = (Prefix(DESTINATION, 104, 64, bytes.fromhex("123456789a")), spans(PROTOCOL, [(6, 6)]))
    assert encode(6, flow).hex() == "016840123456789a038106"
    assert decode(6, encode(6, flow)) == flow


@given(st.data())
def test_octets_and_back(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from((4, 6)))
    flow = data.draw(flows(version))
    assert decode(version, encode(version, flow)) == flow


@given(st.data())
def test_text_and_back(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from((4, 6)))
    rd = data.draw(st.sampled_from((None, RD)))
    family = flow_family(version, vpn=rd is not None)
    key = make_key(rd, version, data.draw(flows(version)))
    assert from_text(to_text(family, key)) == (family, key)


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("flow4/destination=10.1.0.0/16,protocol=6,destination-port=22+8000-8080", FLOW4),
        ("flow4/10.0.0.1:100/source=10.0.0.0/8,tcp-flags==syn&!rst|ack", FLOW_VPN4),
        ("flow6/destination=2001:db8::/32,length=<100+>1400&!1500", FLOW6),
        ("flow6/65000:1/destination=123456789a/64-104,flow-label=77", FLOW_VPN6),
        ("flow4/protocol=any:0+none:3", FLOW4),
    ],
)
def test_as_an_operator_writes_it(text: str, family: object) -> None:
    found, key = from_text(text)
    assert found == family
    assert to_text(found, key) == text


def test_what_words_cannot_say_is_hexadecimal() -> None:
    """A value in more octets than it needs is another NLRI, though it means the same."""
    key = bytes.fromhex("0591000a")
    assert to_text(FLOW4, key) == "flow4/x0591000a"
    assert from_text("flow4/x0591000a") == (FLOW4, key)


@pytest.mark.parametrize("size", [1, 0xEF, 0xF0, 0xFFF])
def test_the_length_takes_one_octet_or_two(size: int) -> None:
    nlri = frame(bytes(size))
    assert len(nlri) == size + (1 if size < 0xF0 else 2)
    assert end_of(nlri + b"x", 0) == len(nlri)


def test_what_is_too_long_is_no_nlri() -> None:
    with pytest.raises(MalformedFlowError, match="4096 octets"):
        frame(bytes(4096))


def test_trailing_bits_of_a_prefix_make_no_other_flow() -> None:
    assert key_of(FLOW4, bytes.fromhex("04 01 0a 0aff")) == bytes.fromhex("01 0a 0ac0")


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("", "without components"),
        ("00 00", "type 0"),
        ("0d 81 01", "type 13"),
        ("03 81 06 01 08 0a", "stands behind"),
        ("03 81 06 03 81 06", "stands behind"),
        ("01 21 0a000000 00", "bits 0 to 33"),
        ("01 18 0a00", "cut short"),
        ("01", "cut short"),
        ("03 01 06", "no end"),
        ("03", "no end"),
        ("04 a1 00", "cut short"),
        ("03 91 0006", "2 octets in component type 3"),
        ("05 b1 0000000000000016", "8 octets"),
    ],
)
def test_malformed_flows_are_refused(octets: str, why: str) -> None:
    with pytest.raises(MalformedFlowError, match=why):
        decode(4, bytes.fromhex(octets))


def test_a_vpn_flow_has_a_route_distinguisher() -> None:
    with pytest.raises(MalformedFlowError, match="route distinguisher"):
        key_of(FLOW_VPN4, bytes.fromhex("03 038106"))


@given(st.sampled_from((FLOW4, FLOW6, FLOW_VPN4, FLOW_VPN6)), st.binary(min_size=1, max_size=60))
def test_any_octets_are_a_flow_or_refused(family: object, octets: bytes) -> None:
    assert family in (FLOW4, FLOW6, FLOW_VPN4, FLOW_VPN6)
    nlri = frame(octets)
    try:
        key = key_of(family, nlri)  # type: ignore[arg-type]  # sampled from families
    except MalformedFlowError:
        return
    assert key_of(family, frame(key)) == key  # type: ignore[arg-type]  # as above


def test_reserved_bits_are_ignored() -> None:
    """RFC 8955 section 4.2.1: the first operator has no AND, and some bits mean nothing."""
    (plain,) = decode(4, bytes.fromhex("03 81 06"))
    (reserved,) = decode(4, bytes.fromhex("03 c9 06"))
    assert plain == reserved == Terms(PROTOCOL, (Term(EQUAL, 6),))
