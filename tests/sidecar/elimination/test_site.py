"""The site's cache: agreed on, shared, lost, damaged, full."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from vpnctl.errors import SidecarError, SidecarProtocolError
from vpnctl.sidecar.elimination import SiteCache
from vpnctl.sidecar.elimination.site import segment
from vpnctl.sidecar.elimination.site.view import SiteIndex

MIB = 1 << 20
SIZE = 1024


def blocks(seed: int, count: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE), np.uint8)


def migrate(*caches: SiteCache, store: np.ndarray) -> None:
    """One migration after which each of ``caches`` has stored the same."""
    for cache in caches:
        with cache.offer(SIZE).agree([]) as view:
            view.store(store)
            view.finish()


@pytest.fixture
def here(tmp_path: Path) -> SiteCache:
    return SiteCache(tmp_path / "here", 64 * MIB)


@pytest.fixture
def there(tmp_path: Path) -> SiteCache:
    return SiteCache(tmp_path / "there", 64 * MIB)


def test_both_ends_come_to_the_same_list(here: SiteCache, there: SiteCache) -> None:
    migrate(here, there, store=blocks(1))
    migrate(here, there, store=blocks(2))
    migrate(here, store=blocks(3))
    migrate(there, store=blocks(4))
    ours, theirs = here.offer(SIZE), there.offer(SIZE)
    one, other = ours.agree(theirs.names), theirs.agree(ours.names)
    assert len(ours.names) == len(theirs.names) == 3
    assert (one.count, one.epoch) == (other.count, other.epoch)
    assert one.count == 80
    numbers = np.array([79, 0, 41, 0])
    np.testing.assert_array_equal(one.fetch(numbers), other.fetch(numbers))


def test_a_block_is_found_by_its_content(here: SiteCache) -> None:
    migrate(here, store=blocks(1))
    view = here.offer(SIZE).agree(here.offer(SIZE).names)
    asked = np.concatenate((blocks(2, 3), blocks(1)[7:9]))
    wanted = np.array([True, True, True, True, False])
    numbers = SiteIndex(view).find(asked, segment.kernel.fingerprints(asked), wanted)
    assert numbers.tolist() == [-1, -1, -1, 7, -1]


def test_other_sizes_of_blocks_are_another_agreement(here: SiteCache, there: SiteCache) -> None:
    migrate(here, there, store=blocks(1))
    assert here.offer(4096).names == []
    view = here.offer(4096).agree(there.offer(SIZE).names)
    assert view.count == 0
    assert view.epoch != here.offer(SIZE).agree([]).epoch


def test_a_lost_segment_is_done_without(here: SiteCache, there: SiteCache) -> None:
    migrate(here, there, store=blocks(1))
    migrate(here, there, store=blocks(2))
    next(there.directory.glob("*.segment")).unlink()
    assert here.offer(SIZE).agree(there.offer(SIZE).names).count == 40


def test_a_segment_dropped_meanwhile_stays_readable(here: SiteCache) -> None:
    migrate(here, store=blocks(1))
    offer = here.offer(SIZE)
    for path in here.directory.iterdir():
        path.unlink()
    view = offer.agree(offer.names)
    np.testing.assert_array_equal(view.fetch(np.arange(40)), blocks(1))


def test_a_damaged_segment_ends_the_migration_before_it_harms_it(here: SiteCache) -> None:
    migrate(here, store=blocks(1))
    path = next(here.directory.glob("*.segment"))
    with path.open("r+b") as file:
        file.seek(5 * SIZE)
        file.write(b"damaged")
    offer = here.offer(SIZE)
    view = offer.agree(offer.names)
    with pytest.raises(SidecarError, match="the site cache is damaged") as error:
        view.fetch(np.array([30]))
    assert "start the migration again" in error.value.hint
    assert not path.exists()
    assert here.offer(SIZE).names == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[SIZE:]),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.rename(path.with_name(f"{SIZE}-{'0' * 64}.segment")),
    ],
    ids=["empty", "cut at the end", "cut at the begin", "zeros", "misnamed"],
)
def test_what_is_no_segment_is_not_offered(here: SiteCache, harm: object) -> None:
    migrate(here, store=blocks(1))
    harm(next(here.directory.glob("*.segment")))
    assert here.offer(SIZE).names == []
    assert list(here.directory.iterdir()) == []


def test_full_segments_are_sealed_on_the_way(
    here: SiteCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "SIZE", 16 * SIZE)
    with here.offer(SIZE).agree([]) as view:
        assert view.store(blocks(1, 40)) == 40
        assert len(here.offer(SIZE).names) == 2
    # The third one was not finished, as its migration was not.
    assert len(list(here.directory.iterdir())) == 2


def test_the_least_used_go_first(tmp_path: Path) -> None:
    cache = SiteCache(tmp_path / "cache", 64 * MIB)
    for seed in range(3):
        migrate(cache, store=blocks(seed))
        for path in cache.directory.iterdir():
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
    paths = sorted(cache.directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    oldest = paths[0].name.removesuffix(".segment")
    cache.offer(SIZE).agree([oldest])
    cache.limit = 2 * paths[0].stat().st_size
    cache.trim()
    assert {path.name for path in cache.directory.iterdir()} == {paths[0].name, paths[2].name}


def test_a_full_disk_ends_the_storing_not_the_migration(
    here: SiteCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with here.offer(SIZE).agree([]) as view:
        monkeypatch.setattr(os, "write", full)
        assert view.store(blocks(1)) == 0
        assert "No space left" in view.trouble
        assert view.store(blocks(2)) == 0
        view.finish()
    assert list(here.directory.iterdir()) == []


def test_what_a_dead_writer_left_is_removed_and_what_a_live_one_writes_is_not(
    here: SiteCache,
) -> None:
    (here.directory / "dead.part").write_bytes(b"half a segment")
    with here.offer(SIZE).agree([]) as view:
        view.store(blocks(1))
        SiteCache(here.directory, 64 * MIB)
        assert len(list(here.directory.glob("*.part"))) == 1
        view.finish()
    assert len(here.offer(SIZE).names) == 1


@pytest.mark.parametrize("names", [["../../etc/passwd"], [7], [None], ["1024-" + "g" * 64]])
def test_names_that_are_none_are_refused(here: SiteCache, names: list[object]) -> None:
    with pytest.raises(SidecarProtocolError):
        here.offer(SIZE).agree(names)


def test_memory_of_guests_is_for_its_owner_alone(tmp_path: Path, here: SiteCache) -> None:
    migrate(here, store=blocks(1))
    modes = {path.stat().st_mode & 0o777 for path in here.directory.iterdir()}
    assert (here.directory.stat().st_mode & 0o777, modes) == (0o700, {0o600})
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(SidecarError, match="others may enter"):
        SiteCache(tmp_path / "open", MIB)


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SidecarError, match=r"file/cache cannot be used: Not a directory"):
        SiteCache(tmp_path / "file" / "cache", MIB)
