"""The operator's files: theirs are never overwritten, ours are never torn."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vpnctl.controller.directory import PolicyDirectory
from vpnctl.errors import UsageError


@pytest.fixture
def directory(tmp_path: Path) -> PolicyDirectory:
    (tmp_path / "a.yaml").write_bytes(b"a")
    (tmp_path / "b.yaml").write_bytes(b"b")
    return PolicyDirectory(tmp_path)


def test_names_shown_and_stored(directory: PolicyDirectory) -> None:
    shown = directory.shown({"a.yaml": 1})
    assert shown == {str(directory.path / "a.yaml"): 1}
    assert directory.stored(shown) == {"a.yaml": 1}
    assert directory.stored(directory.read()) == {"a.yaml": b"a", "b.yaml": b"b"}


def test_files_are_written_deleted_and_created(directory: PolicyDirectory) -> None:
    a, b, c = (str(directory.path / f"{name}.yaml") for name in "abc")
    known = {a: (b"a",), b: (b"b",), c: (None,)}
    assert directory.write({a: b"new", b: None, c: b"c"}, known) == ()
    assert directory.stored(directory.read()) == {"a.yaml": b"new", "c.yaml": b"c"}
    # Once more changes nothing, though the contents are not the known ones any more.
    assert directory.write({a: b"new", b: None, c: b"c"}, known) == ()


def test_files_with_other_contents_are_left_alone(directory: PolicyDirectory) -> None:
    a, b, c = (str(directory.path / f"{name}.yaml") for name in "abc")
    known = {a: (b"x", b"y"), b: (b"x", b"b"), c: (b"c",)}
    assert directory.write({a: b"1", b: b"2", c: b"3"}, known) == (a, c)
    assert directory.stored(directory.read()) == {"a.yaml": b"a", "b.yaml": b"2"}


def test_what_is_no_file_is_not_waited_for(directory: PolicyDirectory) -> None:
    fifo = directory.path / "f.yaml"
    os.mkfifo(fifo)
    for path in (fifo, directory.path):
        with pytest.raises(OSError, match="not a regular file"):
            directory.content(str(path))
    assert directory.content(str(directory.path / "none.yaml")) is None
    assert directory.content(str(directory.path / "a.yaml")) == b"a"


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        PolicyDirectory(tmp_path / "none").read()
