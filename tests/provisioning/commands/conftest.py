from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.provisioning.commands.bed import Bed
from tests.support.junos import Fleet, Keys, fleet, make_keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def routers(keys: Keys) -> Iterator[Fleet]:
    with fleet(keys) as found:
        yield found


@pytest.fixture
async def beds(tmp_path: Path, routers: Fleet, keys: Keys) -> AsyncIterator[Callable[[int], Bed]]:
    """Makes a bed with so many managed routers; nothing runs there yet."""
    made: list[Bed] = []

    def make(count: int) -> Bed:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(Bed(directory, routers, keys, count))
        return made[-1]

    try:
        yield make
    finally:
        for bed in made:
            await bed.stop()
