"""What a certificate says, and whom OpenSSL believes."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from vpnctl.errors import UsageError
from vpnctl.pki.authority import (
    Pair,
    fingerprint,
    general_name,
    is_signed_by,
    issue,
    names_of,
    new_authority,
)

NOW = datetime(2030, 5, 17, 12, 0, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def ours() -> Pair:
    return new_authority("Example sites", NOW, 10 * YEAR)


def extension(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.ExtensionType:
    return certificate.extensions.get_extension_for_class(kind).value


def test_an_authority_signs_and_does_nothing_else(ours: Pair) -> None:
    certificate = ours.certificate
    constraints = extension(certificate, x509.BasicConstraints)
    usage = extension(certificate, x509.KeyUsage)
    assert isinstance(constraints, x509.BasicConstraints)
    assert isinstance(usage, x509.KeyUsage)
    assert (constraints.ca, constraints.path_length) == (True, 0)
    assert usage.key_cert_sign
    assert not usage.digital_signature
    assert is_signed_by(certificate, certificate)
    assert ours.key.curve.name == "secp256r1"


def test_a_machine_may_dial_and_listen_under_all_its_names(ours: Pair) -> None:
    pair = issue(ours, ["cloud1.example.net", "192.0.2.7", "2001:db8::7"], NOW, YEAR)
    usage = extension(pair.certificate, x509.ExtendedKeyUsage)
    constraints = extension(pair.certificate, x509.BasicConstraints)
    assert isinstance(usage, x509.ExtendedKeyUsage)
    assert isinstance(constraints, x509.BasicConstraints)
    assert {use._name for use in usage} == {"serverAuth", "clientAuth"}
    assert not constraints.ca
    assert names_of(pair.certificate) == ("cloud1.example.net", "192.0.2.7", "2001:db8::7")
    assert is_signed_by(pair.certificate, ours.certificate)
    assert len(fingerprint(pair.certificate)) == 95


def test_a_certificate_ends_with_its_authority_at_the_latest(ours: Pair) -> None:
    pair = issue(ours, ["a.test"], NOW + 9 * YEAR, 5 * YEAR)
    assert pair.certificate.not_valid_after_utc == ours.certificate.not_valid_after_utc
    with pytest.raises(UsageError, match="the authority's certificate ended on 2040"):
        issue(ours, ["a.test"], NOW + 10 * YEAR, YEAR)


def test_clocks_may_differ_a_little(ours: Pair) -> None:
    assert issue(ours, ["a.test"], NOW, YEAR).certificate.not_valid_before_utc < NOW


def test_another_authority_of_the_same_name_is_another(ours: Pair) -> None:
    other = new_authority("Example sites", NOW, YEAR)
    pair = issue(other, ["a.test"], NOW, YEAR)
    assert not is_signed_by(pair.certificate, ours.certificate)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "-a",
        "a-",
        "a..b",
        "*.test",
        "10.0.0.256",
        "1.2.3",
        "a/b",
        "../a",
        "é.test",
        "a" * 64,
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="neither a DNS name nor an IP address"):
        general_name(name)


def test_python_loads_what_was_made(ours: Pair) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ours.certificate_pem.decode())
    assert b"PRIVATE KEY" in ours.key_pem
    (loaded,) = context.get_ca_certs()
    assert loaded["notAfter"].endswith("2040 GMT")
