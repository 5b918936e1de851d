"""What a story's folder has, and that its files have no mistake; needs no root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.stage import CLOUDNET
from vpnctl.lab.layout import controllers
from vpnctl.lab.plan import plan
from vpnctl.lab.reading import read_topology
from vpnctl.lab.state import layout_of
from vpnctl.lab.vplspe.config import read_config
from vpnctl.policyfiles import read
from vpnctl.ruleset import load

HERE = Path(__file__).parent
FOLDERS = sorted({path.parent for path in HERE.glob("*/test_*.py")})
POLICIES = sorted(HERE.glob("*/policies"))
TOPOLOGIES = sorted(HERE.glob("*/topology.clab.yml"))
PES = sorted(HERE.glob("*/pes/*.yaml"))


def named(path: Path) -> str:
    return str(path.relative_to(HERE))


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_a_story_is_told_and_listed(folder: Path) -> None:
    assert (folder / "README.md").read_text().startswith("# ")
    assert f"({folder.name})" in (HERE / "README.md").read_text()
    # The lab's own topologies have their policies beside themselves.
    told = (folder / "README.md").read_text()
    shipped = [path.name for path in CLOUDNET.parent.glob("*.clab.yml")]
    assert (folder / "policies").is_dir() or any(name in told for name in shipped)


@pytest.mark.parametrize("policies", POLICIES, ids=named)
def test_its_policy_has_no_mistake(policies: Path) -> None:
    assert load(read(policies).files).ruleset.vpns


@pytest.mark.parametrize("file", TOPOLOGIES, ids=named)
def test_its_topology_has_no_mistake_and_one_controller(file: Path) -> None:
    topology = read_topology(str(file), file.read_bytes())
    layout = layout_of(topology.name)
    assert plan(topology, layout)
    assert len(controllers(topology, layout)) == 1
    for node in topology.nodes.values():
        for bind in node.binds:
            assert (file.parent / bind.source).exists(), f"{node.name} binds {bind.source}"


@pytest.mark.parametrize("file", PES, ids=named)
def test_its_vpls_pes_have_no_mistake(file: Path) -> None:
    assert read_config(str(file), file.read_bytes()).vpns
