"""Short ways to say what a test of the store commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vpnctl.model import Allocation
from vpnctl.store import Revision, Store


def target(owner: str, number: int, *, released: bool = False) -> Allocation:
    return Allocation("route-target", owner, number, released)


def commit(
    store: Store,
    base: int | None,
    files: Mapping[str, bytes | None] | None = None,
    allocations: Iterable[Allocation] | None = None,
    **more: Any,
) -> Revision:
    """A commit that leaves alone what the test does not name."""
    arguments: dict[str, Any] = {"summary": "a change", "author": "ada", "kind": "apply"} | more
    return store.commit(
        base=base,
        files=files or {},
        allocations=store.allocations() if allocations is None else allocations,
        **arguments,
    )
