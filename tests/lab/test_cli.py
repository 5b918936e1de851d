"""``vpnctl lab`` where nothing is built: pictures, and what it says when something is missing."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.lab.small import POLICY, small
from tests.support.lab import ROOT, write_lab
from vpnctl.cli.main import app
from vpnctl.lab import frr, preflight


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["lab", *words], prog_name="vpnctl")


@pytest.fixture(autouse=True)
def no_labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPNCTL_LAB_DIR", str(tmp_path / "labs"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    source, _ = write_lab(tmp_path, small(), POLICY)
    return tmp_path / source.file


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root in name: nothing in these tests gets as far as using it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(frr, "installed", lambda: True)
    monkeypatch.setattr(preflight, "missing", lambda _: [])


def test_a_topology_is_drawn_as_a_tree_from_its_middle(file: Path) -> None:
    done = run("graph", str(file))
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        "switch  (bridge)\n"
        "├── controller  (vpnctl:latest)\n"
        "├── pe-c1  (c1, frr:8.4.4)\n"
        "│   └── vm1  (alpine:3)\n"
        "└── pe-c2  (c2, frr:8.4.4)  ~ cloud2: 2 ms\n"
        "    └── vm2  (alpine:3)\n"
    )


@pytest.mark.parametrize(
    "shipped", sorted((ROOT / "lab").glob("*.clab.yml")), ids=lambda path: path.name
)
def test_every_node_and_link_is_in_the_picture(shipped: Path, tmp_path: Path) -> None:
    out = tmp_path / "lab.svg"
    assert run("graph", str(shipped), "--out", str(out)).exit_code == 0
    picture = ElementTree.fromstring(out.read_text())
    svg = "{http://www.w3.org/2000/svg}"
    titles = [text.text for text in picture.iter(f"{svg}text") if text.get("class") == "box-title"]
    topology = yaml.safe_load(shipped.read_text())["topology"]
    assert sorted(map(str, titles)) == sorted(topology["nodes"])
    arrows = [path for path in picture.iter(f"{svg}path") if "arrow" in str(path.get("class"))]
    assert len(arrows) == len(topology["links"])


def test_loops_and_islands_are_drawn(tmp_path: Path) -> None:
    links = [["a:e1", "b:e1"], ["b:e2", "c:e1"], ["c:e2", "a:e2"], ["d:e1", "e:e1"]]
    nodes = {name: {"kind": "linux", "image": "alpine"} for name in "abcde"}
    path = tmp_path / "net.clab.yml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "net",
                "topology": {"nodes": nodes, "links": [{"endpoints": each} for each in links]},
            }
        )
    )
    done = run("graph", str(path))
    assert done.stdout.count("alpine") == 5
    assert "also linked: b:e2 -- c:e1" in done.stdout


def test_without_root_it_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for words in (("up", str(file)), ("down",), ("inspect",), ("exec", "a", "--", "b")):
        done = run(*words)
        assert done.exit_code == 20
        assert "network namespaces need root" in done.stderr
        assert "sudo vpnctl lab" in done.stderr


@pytest.mark.usefixtures("as_root")
def test_missing_packages_are_named_together(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frr, "installed", lambda: False)
    monkeypatch.setattr(preflight, "missing", lambda _: ["bridge", "ip"])
    done = run("up", str(file))
    assert done.exit_code == 20
    assert "not installed: frr, iproute2" in done.stderr
    assert "apt-get install frr iproute2" in done.stderr


@pytest.mark.usefixtures("as_root")
def test_missing_files_are_named_together(file: Path) -> None:
    (file.parent / "cloudnet" / "daemons").unlink()
    (file.parent / "cloudnet" / "pe-c2" / "frr.conf").unlink()
    done = run("up", str(file))
    assert done.exit_code == 3
    assert done.stderr.count("there is no 'cloudnet/daemons'") == 2
    assert done.stderr.count("there is no 'cloudnet/pe-c2/frr.conf'") == 1
    assert "3 mistakes, nothing was started" in done.stderr


@pytest.mark.usefixtures("as_root")
def test_what_needs_containerlab_is_refused_by_name() -> None:
    done = run("up", str(ROOT / "lab" / "junos.clab.yml"))
    assert done.exit_code == 3
    assert "topology.nodes.mx-e1: a node of kind juniper_vjunosrouter" in done.stderr
    assert "topology.nodes.mx-c1: a node of kind juniper_vjunosrouter" in done.stderr
    assert "containerlab deploy -t" in done.stderr


@pytest.mark.usefixtures("as_root")
def test_labs_that_are_not_there() -> None:
    for words in (("down",), ("down", "x"), ("inspect",), ("exec", "-l", "x", "a", "--", "b")):
        done = run(*words)
        assert done.exit_code == 4, done.stderr
        assert "is there" in done.stderr


def test_the_topology_must_be_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    none = run("graph")
    assert none.exit_code == 2
    assert "has none of *.clab.yml" in none.stderr
    for name in ("a", "b"):
        (tmp_path / f"{name}.clab.yml").write_text("name: x\ntopology: {nodes: {}}\n")
    two = run("graph")
    assert two.exit_code == 2
    assert "a.clab.yml, b.clab.yml" in two.stderr
    assert run("graph", "c.clab.yml").exit_code == 2


@pytest.mark.usefixtures("as_root")
def test_wan_figures_that_make_no_sense() -> None:
    for words in (
        ("--rate", "fast"),
        ("--loss", "120%"),
        ("--cut", "soon"),
        ("--cut", "1s", "--heal"),
    ):
        done = run("wan", "e1", *words)
        assert done.exit_code == 2, done.stderr


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "net.clab.yml"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero")):
        done = run("graph", str(path))
        assert done.exit_code == 2
        assert f"{path} is no regular file" in done.stderr


def test_of_several_topologies_one_is_to_be_named() -> None:
    done = run("graph", str(ROOT / "lab"))
    assert done.exit_code == 2
    assert f"name one, such as {ROOT / 'lab' / 'cloudnet.clab.yml'}" in done.stderr


def test_every_wrong_figure_of_a_wan_link_is_named() -> None:
    done = run("wan", "e1", "--rate", "fast", "--delay", "-5ms", "--loss", "200%", "--cut", "x")
    assert done.exit_code == 2
    for name in ("--rate", "--delay", "--loss", "--cut"):
        assert f"{name}: " in done.stderr
