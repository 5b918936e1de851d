"""What the tests of the sidecar share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.guest_image import MissingError, build_image, kernel
from vpnctl.pki import store
from vpnctl.pki.authority import issue, new_authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as ``vpnctl pki`` makes it: two sites, and one pair of a foreign authority."""
    directory = tmp_path_factory.mktemp("pki")
    now, day = datetime.now(UTC), timedelta(days=1)
    ours, foreign = new_authority("ours", now, day), new_authority("theirs", now, day)
    store.save(directory, store.AUTHORITY, ours)
    for name in ("cloud1.test", "cloud2.test"):
        store.save(directory, name, issue(ours, [name], now, day))
    store.save(directory, "foreign", issue(foreign, ["cloud1.test"], now, day))
    return directory


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What test guests boot beside the kernel."""
    try:
        kernel()
        return build_image(tmp_path_factory.mktemp("image"))
    except MissingError as missing:
        pytest.skip(str(missing))
