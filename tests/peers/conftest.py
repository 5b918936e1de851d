from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.world import World, running
from tests.support.daemons import FRR_BGPD, require


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    require("gobgpd", "gobgp", "vtysh", FRR_BGPD)
    with running(tmp_path_factory.mktemp("world")) as world:
        yield world
