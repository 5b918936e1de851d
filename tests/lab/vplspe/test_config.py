from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from vpnctl.errors import PolicyError
from vpnctl.lab.vplspe.__main__ import main
from vpnctl.lab.vplspe.config import read_config
from vpnctl.lab.vplspe.labels import LabelBlock
from vpnctl.lab.vplspe.speaker import configuration, program
from vpnctl.lab.vplspe.values import Neighbor
from vpnctl.model import RouteTarget

SMALL = """\
router_id: 10.0.0.1
asn: 65000
neighbors: [{address: 10.0.0.100, asn: 65000}]
vpns:
  - {vpn: E1, rd: "10.0.0.1:1", targets: "65000:101", ve_id: 1, labels: {base: 1000},
     interfaces: eth1}
"""
LARGE = """\
router_id: 10.0.0.1
address: 10.1.0.1
asn: 65000
hold_time: 9
neighbors:
  - {address: 10.0.0.100, asn: 65000, port: 1790}
  - {address: 10.0.0.101, asn: 65001, passive: true}
underlay: [10.1.0.0/16, 10.2.0.0/16]
vpns:
  - vpn: E1
    rd: 10.0.0.1:1
    targets: {import: [65000:101, 65000:102], export: 65000:103}
    ve_id: 3
    labels: {base: 1000, offset: 2, size: 16}
    bridge: lan-1
    interfaces: [eth1, eth2]
    vlan: 100
    mtu: 1400
  - {vpn: E2, rd: "10.0.0.1:2", targets: 65000:201, ve_id: 1, labels: {base: 1016},
     interfaces: [eth1], vlan: 200}
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        read_config("pe.yaml", text.encode())
    return [str(mistake) for mistake in caught.value.mistakes]


def test_a_small_file_says_all_that_is_needed() -> None:
    config = read_config("pe.yaml", SMALL.encode())
    assert config.address == config.router_id == IPv4Address("10.0.0.1")
    assert config.neighbors == (Neighbor(IPv4Address("10.0.0.100"), 65000, 179, False),)
    (vpn,) = config.vpns
    assert vpn.imports == {RouteTarget.parse("65000:101")}
    assert (vpn.block, vpn.bridge, vpn.vlan) == (LabelBlock(1000, 1, 8), "vpls-E1", None)
    assert (vpn.interfaces, vpn.mtu, config.hold_time) == (("eth1",), 1500, 90)


def test_a_large_file_is_understood() -> None:
    config = read_config("pe.yaml", LARGE.encode())
    assert config.address == IPv4Address("10.1.0.1")
    assert config.underlay == (IPv4Network("10.1.0.0/16"), IPv4Network("10.2.0.0/16"))
    assert [neighbor.passive for neighbor in config.neighbors] == [False, True]
    one, two = config.vpns
    assert (len(one.imports), len(one.exports), one.vlan, one.mtu) == (2, 1, 100, 1400)
    assert (one.block, one.bridge) == (LabelBlock(1000, 2, 16), "lan-1")
    assert (two.interfaces, two.vlan) == (("eth1",), 200)


def test_exabgp_is_told_what_the_file_says() -> None:
    said = configuration(read_config("pe.yaml", LARGE.encode()), Path("/run/pe/events.sh"))
    assert (
        "vpls E1 { endpoint 3; base 1000; offset 2; size 16; rd 10.0.0.1:1; next-hop 10.1.0.1; "
        "origin igp; local-preference 100; "
        "extended-community [ target:65000:103 l2info:19:0:1400:0 ]; }"
    ) in said
    assert said.count("vpls E2 {") == said.count("neighbor 10.0.0.10") == 2
    assert "connect 1790;" in said
    assert "passive true;\n  listen 179;" in said
    assert "graceful-restart" not in said


def test_exabgp_offers_restarts_where_the_file_says_so() -> None:
    config = read_config("pe.yaml", SMALL.encode())
    assert program(config) == ("exabgp", "server")
    both = SMALL + "graceful_restart: 60\nlong_lived_graceful_restart: 600\n"
    config = read_config("pe.yaml", both.encode())
    assert program(config) == ("vpnctl.lab.vplspe.exabgp_speaker", "600", "server")
    said = configuration(config, Path("/run/pe/events.sh"))
    assert "capability { route-refresh enable; graceful-restart 60; }" in said


def test_every_mistake_is_told_at_its_place() -> None:
    wrong = (
        SMALL.replace("asn: 65000\nn", "asn: many\nn")
        .replace("ve_id: 1,", "ve_id: 0,")
        .replace("base: 1000", "base: 5")
        .replace("eth1", "an-interface-with-a-long-name")
    )
    found = mistakes(wrong)
    assert [one.splitlines()[0] for one in found] == [
        "pe.yaml:2:6  asn: 'many' is no AS number",
        "pe.yaml:5:62  vpns[0].ve_id: VE-ID 0 is outside 1 to 65535",
        "pe.yaml:5:80  vpns[0].labels.base: label 5 is outside 16 to 1048575",
        "pe.yaml:6:18  vpns[0].interfaces: 'an-interface-with-a-long-name' is no device name",
    ]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "base: 1016",
            "base: 1015",
            "vpns[1].labels: labels 1015-1022 overlap with E1's 1000-1015",
        ),
        ("vlan: 200", "vlan: 100", "vpns[1].interfaces: interface eth1, VLAN 100 is taken by E1"),
        ("vpn: E2", "vpn: E1", "vpns[1].vpn: there is a VPN E1 already"),
        ("10.0.0.1:2", "10.0.0.1:1", "vpns[1].rd: route distinguisher 10.0.0.1:1 is taken by E1"),
        ("vpn: E2", "vpn: Extraordinary", "its bridge would be called vpls-Extraordinary"),
        ("vpn: E2", "bridge: lan-1, vpn: E2", "vpns[1].bridge: bridge lan-1 is taken by E1"),
        ("base: 1016", "base: 1048570", "its labels 1048570 to 1048577 are not within"),
        ("10.0.0.101", "10.0.0.100", "neighbors[1].address: 10.0.0.100 is a neighbor already"),
        ("10.2.0.0/16", "10.2.0.1/16", "'10.2.0.1/16' is no IPv4 prefix"),
        ("address: 10.1.0.1", "address: 2001:db8::1", "2001:db8::1 is no IPv4 address"),
        ("hold_time: 9", "hold_tim: 9", "unknown key 'hold_tim'; did you mean 'hold_time'?"),
        ("mtu: 1400", "mtu: 100", "MTU 100 is outside 576 to 9216"),
        (
            "hold_time: 9",
            "hold_time: 9\nlong_lived_graceful_restart: 60",
            "long_lived_graceful_restart: long-lived graceful restart begins after a graceful one",
        ),
    ],
)
def test_what_cannot_be_together_is_refused(old: str, new: str, complaint: str) -> None:
    assert old in LARGE
    (found,) = mistakes(LARGE.replace(old, new))
    assert complaint in found


def test_an_empty_file_and_one_that_is_no_yaml_are_refused() -> None:
    assert mistakes("")
    assert mistakes("vpns: [")


def test_the_program_says_what_is_wrong_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pe.yaml"
    file.write_text(SMALL)
    assert main(["--check", str(file)]) == 0
    file.write_text(SMALL.replace("65000:101", "a"))
    assert main([str(file)]) == PolicyError.exit_code
    said = capsys.readouterr().err
    assert "pe.yaml:5:" in said
    assert "vpns[0].targets: 'a' is no route target" in said
    assert "1 mistake, the PE was not started" in said
    assert main([str(tmp_path / "nowhere.yaml")]) == 2
    assert "nowhere.yaml cannot be read" in capsys.readouterr().err
