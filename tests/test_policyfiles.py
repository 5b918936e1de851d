"""The policy directory on disk: what is read, what is refused, what a crash can leave behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vpnctl import policyfiles
from vpnctl.errors import PolicyError, UsageError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "policies"
    directory.mkdir()
    (directory / "network.yaml").write_bytes(b"controller:\n")
    (directory / "e1.yml").write_bytes(b"vpn: E1\r\n")
    return directory


def refused(directory: Path, previous: policyfiles.Snapshot | None = None) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        policyfiles.read(directory, previous)
    return [str(mistake).replace(f"{directory}/", "") for mistake in caught.value.mistakes]


def test_yaml_files_are_read_under_the_name_that_the_operator_gave(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "README.md").write_text("no policy")
    (directory / ".hidden.yaml").write_text("no policy")
    (directory / "old").mkdir()
    monkeypatch.chdir(directory.parent)
    snapshot = policyfiles.read(Path("policies"))
    assert snapshot.files == {
        "policies/network.yaml": b"controller:\n",
        "policies/e1.yml": b"vpn: E1\r\n",
    }


def test_the_present_directory_is_not_written_before_a_name(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory)
    snapshot = policyfiles.read(Path())
    assert sorted(snapshot.files) == ["e1.yml", "network.yaml"]
    # The name is the one that joining directory and name gives: revisions are compared by it.
    assert set(snapshot.files) == {str(snapshot.directory / "e1.yml"), "network.yaml"}


def test_an_unchanged_file_is_not_opened_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = policyfiles.read(directory)
    (directory / "e1.yml").write_bytes(b"vpn: E2\r\n")
    opened: list[str] = []
    original = os.open

    def recording(path: str, flags: int) -> int:
        opened.append(Path(path).name)
        return original(path, flags)

    monkeypatch.setattr(os, "open", recording)
    second = policyfiles.read(directory, first)
    assert opened == ["e1.yml"]
    network = str(directory / "network.yaml")
    assert second.files[network] is first.files[network]
    assert second.files[str(directory / "e1.yml")] == b"vpn: E2\r\n"


def test_new_bytes_under_the_old_time_and_size_are_noticed(directory: Path) -> None:
    path = directory / "e1.yml"
    first = policyfiles.read(directory)
    status = path.stat()
    (directory / "new").write_bytes(b"vpn: E2\r\n")
    os.utime(directory / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (directory / "new").replace(path)
    assert policyfiles.read(directory, first).files[str(path)] == b"vpn: E2\r\n"


def test_a_file_that_went_is_gone_from_the_next_snapshot(directory: Path) -> None:
    first = policyfiles.read(directory)
    (directory / "e1.yml").unlink()
    assert list(policyfiles.read(directory, first).files) == [str(directory / "network.yaml")]


def test_a_snapshot_of_another_directory_does_not_count(directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert policyfiles.read(other, policyfiles.read(directory)).files == {}


def test_every_file_that_cannot_be_read_is_reported(directory: Path, tmp_path: Path) -> None:
    with (directory / "big.yaml").open("wb") as stream:
        # Sparse: 100 MB that nobody shall read.
        stream.truncate(100_000_000)
    os.mkfifo(directory / "fifo.yaml")
    (directory / "nested.yaml").mkdir()
    (tmp_path / "outside").write_text("secret")
    (directory / "out.yaml").symlink_to(tmp_path / "outside")
    (directory / "dangling.yaml").symlink_to(directory / "nowhere")
    assert [message.splitlines()[0] for message in refused(directory)] == [
        "big.yaml:1:1  the file has 100000000 bytes; at most 1048576 are read",
        "dangling.yaml:1:1  cannot be read: no such directory or file",
        "fifo.yaml:1:1  is no regular file",
        "nested.yaml:1:1  is a directory",
        "out.yaml:1:1  is a symbolic link that leads out of the directory",
    ]


def test_a_link_within_the_directory_is_followed(directory: Path) -> None:
    # As a mounted ConfigMap has it.
    (directory / "..data").mkdir()
    (directory / "..data" / "e2.yaml").write_bytes(b"vpn: E2\n")
    (directory / "e2.yaml").symlink_to("..data/e2.yaml")
    assert policyfiles.read(directory).files[str(directory / "e2.yaml")] == b"vpn: E2\n"


def test_a_file_that_grows_while_it_is_looked_at_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.open

    def growing(path: str, flags: int) -> int:
        descriptor = original(path, flags)
        with Path(path).open("ab") as stream:
            stream.truncate(2_000_000)
        return descriptor

    monkeypatch.setattr(os, "open", growing)
    assert len(refused(directory)) == 2


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        policyfiles.read(tmp_path / "nowhere")
    assert caught.value.message == f"{tmp_path}/nowhere: no such directory or file"
    assert "vpnctl init" in caught.value.hint


def test_a_file_is_replaced_with_its_mode_and_line_endings(directory: Path) -> None:
    path = directory / "e1.yml"
    path.chmod(0o640)
    policyfiles.replace(path, "vpn: É1\r\nx\n")
    assert path.read_bytes() == "vpn: É1\r\nx\n".encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in directory.iterdir()) == ["e1.yml", "network.yaml"]


def test_replacing_a_link_replaces_what_it_points_to(directory: Path) -> None:
    (directory / "link.yaml").symlink_to("e1.yml")
    policyfiles.replace(directory / "link.yaml", "new")
    assert (directory / "link.yaml").is_symlink()
    assert (directory / "e1.yml").read_text() == "new"


def test_a_new_file_can_be_written_too(directory: Path) -> None:
    policyfiles.replace(directory / "e9.yaml", "vpn: E9\n")
    assert (directory / "e9.yaml").read_text() == "vpn: E9\n"


def test_a_failure_leaves_the_old_file_and_nothing_else(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, f"No space left on device for {descriptor}")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        policyfiles.replace(directory / "e1.yml", "vpn: E9\n")
    assert (directory / "e1.yml").read_bytes() == b"vpn: E1\r\n"
    assert sorted(entry.name for entry in directory.iterdir()) == ["e1.yml", "network.yaml"]
