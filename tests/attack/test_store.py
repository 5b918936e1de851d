"""Secrets in the store's URL, and links where the store makes files."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpnctl.errors import StoreError
from vpnctl.store import Store


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://vpn:hunter/p@ss2@127.0.0.1:1/x",
        "postgresql://vpn:hunter%2Fp%40ss2@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?password=ss2hunter",
        "postgresql://127.0.0.1:1/x?pasword=ss2hunter",
        "postgresql://127.0.0.1:1/x?options=-c%20a%3Dss2hunter",
        "mysql://vpn:ss2hunter@127.0.0.1/x",
    ],
)
def test_password_in_the_url_is_in_no_message(url: str) -> None:
    pytest.importorskip("psycopg", reason="not installed: psycopg")
    with pytest.raises(StoreError) as refused:
        Store.open(url)
    told = f"{refused.value.message} {refused.value.hint}"
    assert "hunter" not in told
    assert "ss2" not in told


def test_lock_that_is_a_link_leads_nowhere(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (tmp_path / "store.sqlite.lock").symlink_to(precious)
    with pytest.raises(StoreError, match=r"store\.sqlite"):
        Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}")
    assert precious.read_text() == "keep me"
