"""Who a peer says it is, where it is, and whether its certificate agrees."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sidecar.wan.ends import tls
from vpnctl.errors import SidecarError, SidecarProtocolError, UsageError
from vpnctl.sidecar.wan.acquaintance import DestinationAcquaintance, SourceAcquaintance
from vpnctl.sidecar.wan.address import Address, check_plain
from vpnctl.sidecar.wan.greeting import Greeting, Role
from vpnctl.sidecar.wan.tls import Tls, check_name

ONE, OTHER = "1" * 16, "2" * 16


def source(name: str = "m1", incarnation: str = ONE) -> Greeting:
    return Greeting(name, Role.SOURCE, incarnation, {"stages": 1})


def test_a_greeting_comes_out_as_it_went_in() -> None:
    assert Greeting.from_json(source().to_json()) == source()


@pytest.mark.parametrize(
    "change",
    [
        {"migration": ""},
        {"migration": "a b"},
        {"migration": "../x"},
        {"migration": 7},
        {"migration": "a" * 65},
        {"role": "observer"},
        {"role": None},
        {"incarnation": "xyz"},
        {"incarnation": ["1"]},
        {"codec": []},
        {"more": 1},
    ],
)
def test_a_greeting_of_another_shape_is_refused(change: dict[str, object]) -> None:
    text = json.dumps(json.loads(source().to_json()) | change).encode()
    with pytest.raises(SidecarProtocolError, match="greeting makes no sense"):
        Greeting.from_json(text)


@given(st.one_of(st.binary(max_size=200), st.just(b"[" * 100_000), st.just(b'{"migration":1}')))
def test_any_octets_are_no_greeting(octets: bytes) -> None:
    with pytest.raises(SidecarProtocolError):
        Greeting.from_json(octets)


def test_the_codecs_agree_once_and_greetings_are_short_afterwards() -> None:
    asked: list[object] = []

    def answer(offer: object) -> dict[str, object]:
        asked.append(offer)
        return {"taken": offer}

    here = SourceAcquaintance("m1", ONE, {"stages": 1}, asked.append)
    there = DestinationAcquaintance(OTHER, answer)
    assert there.migration == ""
    # The first answer is lost with its connection.
    there.answer(here.ours)
    here.accept(there.answer(here.ours))
    assert asked == [{"stages": 1}, {"taken": {"stages": 1}}]
    assert there.migration == "m1"
    assert here.ours.codec == {}
    assert there.answer(here.ours).codec == {}
    here.accept(there.answer(here.ours))
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("visitor", "said"),
    [
        (source("m2"), "busy with the migration 'm1'"),
        (source("m1", OTHER), "started again"),
        (Greeting("m1", Role.DESTINATION, ONE, {}), "both ends are a destination"),
    ],
)
def test_a_destination_goes_on_with_its_first_visitor_alone(visitor: Greeting, said: str) -> None:
    there = DestinationAcquaintance(OTHER, dict)
    there.answer(source())
    with pytest.raises(SidecarError, match=said):
        there.answer(visitor)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Greeting("m2", Role.DESTINATION, OTHER, {}), "answered for the migration 'm2'"),
        (Greeting("m1", Role.DESTINATION, ONE, {}), "started again"),
        (Greeting("m1", Role.SOURCE, OTHER, {}), "both ends are a source"),
    ],
)
def test_a_source_goes_on_with_its_first_destination_alone(answer: Greeting, said: str) -> None:
    here = SourceAcquaintance("m1", ONE, {}, lambda _: None)
    here.accept(Greeting("m1", Role.DESTINATION, OTHER, {}))
    with pytest.raises(SidecarProtocolError, match=said):
        here.accept(answer)


def test_codecs_that_cannot_work_together_are_asked_again_by_the_next() -> None:
    def refuse(_: object) -> dict[str, object]:
        raise SidecarError("too much memory")

    there = DestinationAcquaintance(OTHER, refuse)
    for _ in range(2):
        with pytest.raises(SidecarError, match="too much memory"):
            there.answer(source())
    assert there.migration == ""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7:4789", Address("192.0.2.7", 4789)),
        ("[2001:db8::7]:1", Address("2001:db8::7", 1)),
        ("cloud2.example.net:65535", Address("cloud2.example.net", 65535)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
    ],
)
def test_an_address_is_read_and_shown(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "cloud2", ":1", "cloud2:", "a:65536", "a:-1", "a:٣", "2001:db8::7:1", "[a]:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no HOST:PORT"):
        Address.parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_may_be_plain(host: str) -> None:
    check_plain(Address(host, 1))


@pytest.mark.parametrize("host", ["192.0.2.7", "0.0.0.0", "::", "localhost.example.net"])
def test_nothing_else_may(host: str) -> None:
    with pytest.raises(UsageError, match="without TLS"):
        check_plain(Address(host, 1))


CERTIFICATE = {
    "subject": ((("commonName", "other.test"),),),
    "subjectAltName": (("DNS", "Cloud1.test"), ("IP Address", "2001:DB8:0:0:0:0:0:7")),
}


@pytest.mark.parametrize("name", ["cloud1.test", "CLOUD1.TEST", "2001:db8::7"])
def test_a_peer_has_the_names_of_its_certificate(name: str) -> None:
    check_name(CERTIFICATE, name)


@pytest.mark.parametrize("name", ["other.test", "cloud1", "test", "192.0.2.7", "", "*"])
def test_a_peer_has_no_other_name(name: str) -> None:
    with pytest.raises(SidecarError, match=r"the peer's certificate is for Cloud1\.test"):
        check_name(CERTIFICATE, name)
    with pytest.raises(SidecarError, match="is for nobody"):
        check_name({}, name)


def test_only_tls_1_3_and_only_with_a_certificate(authority: Path) -> None:
    ours = tls(authority, "cloud1.test", "cloud2.test")
    for context in (ours.client_context(), ours.server_context()):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
    assert ours.client_context().check_hostname
    assert ours.server_context().num_tickets == 0


@pytest.mark.parametrize(
    ("certificate", "key", "ca", "said"),
    [
        ("none.pem", "cloud1.test.key", "ca.pem", "the certificate .*none.pem cannot be read"),
        ("cloud1.test.pem", "none.key", "ca.pem", "the key .*none.key cannot be read"),
        ("cloud1.test.pem", "cloud1.test.key", "none.pem", "the CA .*none.pem cannot be read"),
        ("cloud1.test.pem", "cloud2.test.key", "ca.pem", "cannot be used: .*mismatch"),
        ("cloud1.test.key", "cloud1.test.key", "ca.pem", "cannot be used"),
        ("cloud1.test.pem", "cloud1.test.key", "ca.key", "holds no CA certificate"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    authority: Path, certificate: str, key: str, ca: str, said: str
) -> None:
    ours = Tls(authority / certificate, authority / key, authority / ca, "cloud2.test")
    with pytest.raises(UsageError, match=said):
        ours.client_context()
