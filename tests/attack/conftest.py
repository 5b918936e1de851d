from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.field import Field


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    with Field(tmp_path_factory.mktemp("field")) as found:
        yield found
