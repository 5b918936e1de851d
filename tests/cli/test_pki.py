"""``vpnctl pki``: an authority, certificates, and what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def made(vpnctl: Any, tmp_path: Path) -> Path:
    directory = tmp_path / "pki"
    result = vpnctl("pki", "init", str(directory), "--name", "Example sites")
    assert result.exit_code == 0
    assert result.stdout == f"{directory}/ca.pem\n{directory}/ca.key\n"
    assert "vpnctl pki issue NAME" in result.stderr
    return directory


def test_a_site_gets_a_certificate(vpnctl: Any, made: Path) -> None:
    result = vpnctl("pki", "issue", "cloud1.test", "--also", "192.0.2.7", "--dir", str(made))
    assert result.exit_code == 0
    assert result.stdout == f"{made}/cloud1.test.pem\n{made}/cloud1.test.key\n"
    shown = vpnctl("pki", "show", str(made))
    header, authority, site = shown.stdout.splitlines()
    assert header.split() == ["FILE", "NAME", "NAMES", "ISSUER", "UNTIL", "STATE"]
    assert "Example sites" in authority
    assert "cloud1.test, 192.0.2.7" in site
    assert site.endswith("valid")
    answer = json.loads(vpnctl("pki", "show", str(made), "-o", "json").stdout)
    assert answer["certificates"][1]["names"] == ["cloud1.test", "192.0.2.7"]
    assert answer["certificates"][1]["issuer"] == "Example sites"
    wide = vpnctl("pki", "show", str(made / "cloud1.test.pem"), "-o", "wide").stdout
    assert f"SHA-256 {answer['certificates'][1]['fingerprint']}" in wide


def test_nothing_is_written_over(vpnctl: Any, made: Path) -> None:
    before = (made / "ca.key").read_bytes()
    result = vpnctl("pki", "init", str(made))
    assert result.exit_code == 2
    assert "exists already, nothing was written" in result.stderr
    assert (made / "ca.key").read_bytes() == before


def test_a_certificate_of_another_authority_is_marked(
    vpnctl: Any, made: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    vpnctl("pki", "init", str(other))
    vpnctl("pki", "issue", "cloud2.test", "--dir", str(other))
    (other / "cloud2.test.pem").rename(made / "cloud2.test.pem")
    assert "valid, of another authority" in vpnctl("pki", "show", str(made)).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("issue", "../evil"), "neither a DNS name nor an IP address"),
        (("issue", "ca"), "the authority's own name"),
        (("issue", "a.test", "--days", "0"), "--days: 0 is not 1 to"),
        (("issue", "a.test", "--also", "a b"), "neither a DNS name nor an IP address"),
    ],
)
def test_a_senseless_request_is_refused(
    vpnctl: Any, made: Path, words: tuple[str, ...], said: str
) -> None:
    before = sorted(made.iterdir())
    result = vpnctl("pki", *words, "--dir", str(made))
    assert result.exit_code == 2
    assert said in result.stderr
    assert sorted(made.iterdir()) == before


def test_no_authority_is_said_with_what_to_do(vpnctl: Any, tmp_path: Path) -> None:
    result = vpnctl("pki", "issue", "a.test", "--dir", str(tmp_path))
    assert result.exit_code == 2
    assert "vpnctl pki init" in result.stderr
    assert vpnctl("pki", "show", str(tmp_path / "none")).exit_code == 2
    assert vpnctl("pki", "init", str(tmp_path / "x"), "--name", "").exit_code == 2
