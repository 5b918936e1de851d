"""What is recorded of labs, and what is left alone because it is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpnctl.errors import LabError
from vpnctl.lab import state
from vpnctl.lab.state import LabRecord


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VPNCTL_LAB_DIR", str(tmp_path))
    return tmp_path


def record(name: str) -> LabRecord:
    return LabRecord(name, "net.clab.yml", "/", "", (f"vl-{name}-a",))


def test_a_lab_is_known_from_its_first_directory_to_its_last_file(base: Path) -> None:
    layout = state.layout_of("net")
    state.make_home(layout)
    assert state.names() == ("net",)
    state.write(layout, record("net"))
    (base / "net" / "nodes" / "a").mkdir(parents=True)
    assert (state.names(), state.read(layout)) == (("net",), record("net"))
    state.forget(layout)
    assert (state.names(), list(base.iterdir())) == ((), [])


def test_what_a_link_in_a_lab_leads_to_stays(
    base: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "kept").touch()
    layout = state.layout_of("net")
    state.make_home(layout)
    (base / "net" / "nodes").symlink_to(outside)
    state.forget(layout)
    assert (outside / "kept").exists()
    assert not (base / "net").exists()


def test_other_directories_are_no_labs(
    base: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (base / "photos").mkdir()
    (base / "photos" / "one").touch()
    (base / "linked").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    assert state.names() == ()
    for name in ("photos", "linked"):
        with pytest.raises(LabError, match="no directory of a lab of ours"):
            state.check_home(state.layout_of(name))
    assert (base / "photos" / "one").exists()


def test_a_record_of_somebody_else_is_not_followed(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = state.layout_of("net")
    state.make_home(layout)
    state.write(layout, record("net"))
    monkeypatch.setattr("os.getuid", lambda: (base / "net").stat().st_uid + 1)
    assert state.names() == ()
    with pytest.raises(LabError, match="no directory of a lab of ours"):
        state.check_home(layout)
    state.forget(layout)
    assert (base / "net" / "lab.json").exists()
