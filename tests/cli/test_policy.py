"""init and check: a network to start from, and every mistake of one, without a controller."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest


def test_init_writes_a_network_that_has_no_mistakes(vpnctl: Any, tmp_path: Path) -> None:
    directory = tmp_path / "policies"
    result = vpnctl("init", str(directory))
    assert result.exit_code == 0
    assert {Path(line) for line in result.stdout.splitlines()} == set(directory.iterdir())
    assert f"vpnctl check {directory}" in result.stderr
    checked = vpnctl("check", str(directory))
    assert checked.exit_code == 0
    assert checked.stdout.startswith(f"{directory}: no mistakes in 3 files, 2 VPNs")
    assert json.loads(vpnctl("check", str(directory), "-o", "json").stdout)["problems"] == []


def test_init_overwrites_nothing(vpnctl: Any, tmp_path: Path) -> None:
    (tmp_path / "network.yaml").write_text("precious")
    result = vpnctl("init", str(tmp_path))
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_check_tells_every_mistake_with_its_place(vpnctl: Any, tmp_path: Path) -> None:
    vpnctl("init", str(tmp_path))
    file = tmp_path / "e9.yaml"
    file.write_text("vpn: E9\nservice: vpsl\nsites: [nowhere]\n")
    result = vpnctl("check", str(tmp_path))
    assert result.exit_code == 3
    assert f"{file}:2:" in result.stdout
    assert "service: " in result.stdout
    document = json.loads(vpnctl("check", str(tmp_path), "-o", "json").stdout)
    problems = document["problems"]
    assert result.stderr.startswith(f"{len(problems)} mistake")
    assert "nothing was applied" in result.stderr
    assert {problem["file"] for problem in problems} == {str(file)}


def test_check_of_no_directory(vpnctl: Any, tmp_path: Path) -> None:
    result = vpnctl("check", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "no such directory" in result.stderr


def test_check_finds_the_directory_below_or_the_one_it_stands_in(
    vpnctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = tmp_path / "policies"
    vpnctl("init", str(policies))
    monkeypatch.chdir(policies)
    assert vpnctl("check").stdout.startswith(".: no mistakes in 3 files")
    monkeypatch.chdir(tmp_path)
    assert vpnctl("check").stdout.startswith("policies: no mistakes in 3 files")
    (policies / "network.yaml").rename(tmp_path / "network.yaml")
    assert vpnctl("check").exit_code == 3


def test_init_where_nothing_may_be_seen(
    vpnctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", forbidden)
    result = vpnctl("init", str(tmp_path / "policies"))
    assert result.exit_code == 2
    assert "network.yaml cannot be written: Permission denied" in result.stderr
