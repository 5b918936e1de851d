"""From what is committed to what the lab's VPLS PE is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.junos.sample import tree
from vpnctl.lab.junos.__main__ import main
from vpnctl.lab.junos.vpls import Labels, UnfitError, pe_file
from vpnctl.lab.vplspe.config import read_config

UNIT = "logical-systems a interfaces ge-0/0/1 unit 100"


def test_an_instance_is_a_vpn_of_the_pe() -> None:
    content = pe_file(tree(), Labels(), tagged=True)
    assert content is not None
    config = read_config("pe.yaml", content.encode())
    (vpn,) = config.vpns
    assert (vpn.name, vpn.ve_id, vpn.vlan, vpn.interfaces) == ("E1", 1, 600, ("eth2",))
    assert {str(target) for target in vpn.imports} == {"65000:1", "65000:2"}
    assert [str(target) for target in vpn.exports] == ["65000:1"]
    assert [str(neighbor.address) for neighbor in config.neighbors] == ["10.0.0.100"]


def test_an_instance_keeps_its_labels() -> None:
    labels = Labels()
    first = pe_file(tree(), labels, tagged=True)
    pe_file(tree("set system host-name pe"), labels, tagged=True)
    assert pe_file(tree(), labels, tagged=True) == first
    assert labels.base("another", 16) == json.loads(first or "")["vpns"][0]["labels"]["base"] + 16


def test_without_a_session_there_is_nothing_to_run() -> None:
    assert pe_file({}, Labels(), tagged=True) is None


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        (f"delete {UNIT} vlan-id\nset {UNIT} vlan-tags outer 1 inner 2", "no Q-in-Q"),
        (
            "set logical-systems a routing-instances E1 protocols vpls site b site-identifier 2",
            "has 2 sites",
        ),
        ("delete logical-systems a protocols bgp group rs local-address", "local-address"),
    ],
)
def test_what_this_pe_has_not(commands: str, words: str) -> None:
    with pytest.raises(UnfitError, match=words):
        pe_file(tree(commands, of=tree()), Labels(), tagged=True)


def test_without_tags_a_port_has_one_vlan() -> None:
    other = (
        "set logical-systems a interfaces ge-0/0/1 unit 101 vlan-id 601\n"
        "set logical-systems a routing-instances E1 interface ge-0/0/1.101"
    )
    with pytest.raises(UnfitError, match="several VLANs"):
        pe_file(tree(other, of=tree()), Labels(), tagged=False)


def test_a_configuration_that_is_refused_ends_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, config = tmp_path / "keys", tmp_path / "config"
    keys.write_text("")
    config.write_text("set system host-nam x\n")
    assert main(["--authorized-keys", str(keys), "--config", str(config)]) == 2
    assert "host-nam" in capsys.readouterr().err
