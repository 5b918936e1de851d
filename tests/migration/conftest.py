"""What the tests with real guests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.migration.world import World
from tests.support.guest_image import MissingError, build_image
from vpnctl.pki import store
from vpnctl.pki.authority import issue, new_authority


@pytest.fixture(scope="package")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build_image(tmp_path_factory.mktemp("image"))
    except MissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as ``vpnctl pki`` makes it: two sites and an operator."""
    directory = tmp_path_factory.mktemp("pki")
    now, day = datetime.now(UTC), timedelta(days=1)
    ours = new_authority("ours", now, day)
    store.save(directory, store.AUTHORITY, ours)
    for name in ("cloud1.test", "cloud2.test", "noc.test", "stranger.test"):
        store.save(directory, name, issue(ours, [name], now, day))
    return directory


@pytest.fixture
def world(image: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """With ``indirect`` and True, its agents talk over HTTPS."""
    secure = getattr(request, "param", False)
    authority = request.getfixturevalue("authority") if secure else None
    # Sockets want a short path.
    with tempfile.TemporaryDirectory(prefix="vm") as directory:
        try:
            there = World(Path(directory), image, authority)
        except MissingError as missing:
            pytest.skip(str(missing))
        try:
            yield there
        finally:
            there.close()
