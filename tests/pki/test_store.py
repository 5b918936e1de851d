"""Files of an authority: who may read them, and that none is ever written over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vpnctl.errors import UsageError
from vpnctl.pki import store
from vpnctl.pki.authority import Pair, new_authority


@pytest.fixture(scope="module")
def pair() -> Pair:
    return new_authority("ours", datetime.now(UTC), timedelta(days=1))


def test_keys_are_for_their_owner_alone(tmp_path: Path, pair: Pair) -> None:
    directory = tmp_path / "deep" / "pki"
    store.make_directory(directory)
    certificate, key = store.save(directory, "ca", pair)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert key.stat().st_mode & 0o777 == 0o600
    assert certificate.stat().st_mode & 0o777 == 0o644
    loaded = store.load(directory, "ca")
    assert loaded.certificate == pair.certificate
    assert loaded.key_pem == pair.key_pem


@pytest.mark.parametrize("there", ["ca.pem", "ca.key"])
def test_nothing_is_written_over(tmp_path: Path, pair: Pair, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(UsageError, match=f"{there} exists already, nothing was written"):
        store.save(tmp_path, "ca", pair)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_a_dangling_link_is_not_followed(tmp_path: Path, pair: Pair) -> None:
    (tmp_path / "ca.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="exists already"):
        store.save(tmp_path, "ca", pair)
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_pair_is_not_left(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store._write

    def full(path: Path, *rest: object) -> None:
        if path.suffix == ".pem":
            raise UsageError("the disk is full")
        write(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_write", full)
    with pytest.raises(UsageError, match="disk is full"):
        store.save(tmp_path, "ca", pair)
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_another_certificate_is_noticed(tmp_path: Path, pair: Pair) -> None:
    store.save(tmp_path, "ca", pair)
    other = new_authority("theirs", datetime.now(UTC), timedelta(days=1))
    (tmp_path / "ca.key").write_bytes(other.key_pem)
    with pytest.raises(UsageError, match=r"ca\.key is not the key of .*ca\.pem"):
        store.load(tmp_path, "ca")


@pytest.mark.parametrize(
    ("file", "said"), [("ca.pem", "holds no certificate"), ("ca.key", "holds no key")]
)
def test_a_damaged_file_is_named(tmp_path: Path, pair: Pair, file: str, said: str) -> None:
    store.save(tmp_path, "ca", pair)
    (tmp_path / file).write_text("-----BEGIN NONSENSE-----")
    with pytest.raises(UsageError, match=said):
        store.load(tmp_path, "ca")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ca\.pem cannot be read: No such file"):
        store.load(tmp_path, "ca")
    with pytest.raises(UsageError, match="is no directory"):
        store.certificate_files(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"):
        store.make_directory(tmp_path / "file" / "below")


def test_the_authority_comes_first(tmp_path: Path, pair: Pair) -> None:
    for name in ("a.test", "ca", "b.test"):
        store.save(tmp_path, name, pair)
    assert [path.stem for path in store.certificate_files(tmp_path)] == ["ca", "a.test", "b.test"]
