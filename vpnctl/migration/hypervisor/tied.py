"""Processes that end with the agent that started them."""

from __future__ import annotations

import shutil

from vpnctl.errors import MigrationError


def tied(*words: str) -> list[str]:
    """A command line whose process gets SIGTERM when its parent ends; raises `MigrationError`."""
    tie = shutil.which("setpriv")
    if tie is None:
        raise MigrationError(
            f"setpriv is missing: without it {words[0]} would outlive its agent",
            hint="install util-linux",
        )
    return [tie, "--pdeathsig", "TERM", "--", *words]
