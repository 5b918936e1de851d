from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.controller.stage import Stage
from tests.support.postgres import postgres_server  # noqa: F401 - a fixture


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A policy directory on disk and addresses on loopback; nothing runs yet."""
    stage = Stage(tmp_path)
    try:
        yield stage
    finally:
        await stage.close()


@pytest.fixture
async def running(stage: Stage) -> Stage:
    """A controller with three PEs that have announced their routes."""
    await stage.start()
    await stage.connect_all()
    return stage
