"""A program at a node sees the node's network, files and name, and the host sees nothing of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.lab.small import NAME
from tests.support.lab import require_lab
from vpnctl.errors import LabError
from vpnctl.lab import namespaces
from vpnctl.lab.enter import Shell
from vpnctl.lab.layout import Mount

pytestmark = pytest.mark.daemon

NAMESPACE = f"vl-{NAME}-enter"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("of the node\n")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "entry").write_text("an entry\n")
    return tmp_path


@pytest.fixture
def namespace() -> Iterator[str]:
    require_lab()
    namespaces.create(NAMESPACE)
    yield NAMESPACE
    namespaces.remove(NAMESPACE)


def shell(namespace: str, files: Path, *mounts: tuple[str, str, bool]) -> Shell:
    root = files / "root"
    root.mkdir(exist_ok=True)
    return Shell(
        "node1",
        namespace,
        tuple(
            Mount(PurePosixPath(files / source), PurePosixPath(target), read_only)
            for source, target, read_only in mounts
        ),
        root,
        {"COLOUR": "green"},
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_network_name_and_environment_are_the_nodes(namespace: str, files: Path) -> None:
    node = shell(namespace, files)
    assert said(node.run(["ls", "/sys/class/net"])).split() == ["lo"]
    assert said(node.run(["sh", "-c", "hostname; echo $COLOUR; pwd"])) == "node1\ngreen\n/\n"


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/etc/hostname", id="over a file"),
        pytest.param("/etc/not-on-the-host/deeper/file", id="below a directory"),
        pytest.param("/not-on-the-host/file", id="below the root"),
    ],
)
def test_files_are_seen_wherever_they_belong(namespace: str, files: Path, target: str) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    node = shell(namespace, files, ("file", target, False), ("directory", "/mnt", False))
    assert said(node.run(["cat", target, "/mnt/entry"])) == "of the node\nan entry\n"
    # What was there besides is there still.
    assert said(node.run(["sh", "-c", "test -e /etc/passwd && test -d /usr/bin && echo yes"]))
    assert said(node.run(["sh", "-c", f"echo changed > {target}"])) == ""
    assert (files / "file").read_text() == "changed\n"
    assert not Path("/not-on-the-host").exists()
    assert not Path("/etc/not-on-the-host").exists()
    assert not list((files / "root").iterdir())
    assert Path("/proc/self/mountinfo").read_text() == before


def test_what_is_read_only_cannot_be_written(namespace: str, files: Path) -> None:
    node = shell(namespace, files, ("directory", "/srv", True))
    done = node.run(["touch", "/srv/new"])
    assert "Read-only file system" in done.stderr
    assert said(node.run(["cat", "/srv/entry"])) == "an entry\n"


def test_a_mount_that_hides_where_the_next_comes_from(namespace: str, files: Path) -> None:
    (files / "other").mkdir()
    node = shell(
        namespace,
        files,
        ("directory", str(files), False),
        ("file", "/not-on-the-host/file", False),
        ("other", "/srv", False),
    )
    assert said(node.run(["cat", f"{files}/entry", "/not-on-the-host/file"])) == (
        "an entry\nof the node\n"
    )


def test_a_place_in_run_stays_when_somebody_removes_it_from_the_host(
    namespace: str, files: Path
) -> None:
    place = Path("/run", f"{NAMESPACE}-place")
    place.mkdir()
    node = shell(namespace, files, ("directory", str(place), False))
    # It says that it runs, and looks when it is told to.
    command = ("sh", "-c", f"echo ready; read word; cat {place}/entry; ls -d /run/netns")
    with node.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        place.rmdir()
        assert process.communicate("now\n")[0] == "an entry\n/run/netns\n"


def test_what_cannot_be_run_is_named(namespace: str, files: Path) -> None:
    with pytest.raises(LabError, match="'no-such-program' is not on this machine"):
        shell(namespace, files).run(["no-such-program"])
    with pytest.raises(LabError, match=r"cannot be started in vl-small-enter: .*gone"):
        shell(namespace, files, ("gone", "/srv", False)).run(["true"])
    with pytest.raises(LabError, match=r"No such file or directory.*vl-nowhere"):
        shell("vl-nowhere", files).run(["true"])
