"""What a topology binds can be had in another place; nothing else is touched."""

from __future__ import annotations

from pathlib import Path

from vpnctl.lab.copying import copy_bound
from vpnctl.lab.reading import read_topology


def test_files_and_directories_that_are_bound_are_copied_and_no_others(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "node").mkdir(parents=True)
    (source / "node" / "frr.conf").write_text("router\n")
    (source / "policies").mkdir()
    (source / "policies" / "e1.yaml").write_text("vpn\n")
    (source / "unbound").write_text("private\n")
    (tmp_path / "outside").write_text("elsewhere\n")
    target.mkdir()
    topology = read_topology(
        "net.clab.yml",
        b"name: net\ntopology:\n  nodes:\n    a:\n      kind: linux\n      image: alpine\n"
        b"      binds: [node/frr.conf:/etc/frr/frr.conf, policies:/policies,"
        b" ../outside:/outside, gone:/gone]\n",
    )
    copy_bound(topology, source, target)
    assert sorted(str(path.relative_to(tmp_path)) for path in target.rglob("*")) == [
        "target/node",
        "target/node/frr.conf",
        "target/policies",
        "target/policies/e1.yaml",
    ]
    assert (target / "policies" / "e1.yaml").read_text() == "vpn\n"
