from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with a server's and a client's certificate, see `make_certificates`."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
